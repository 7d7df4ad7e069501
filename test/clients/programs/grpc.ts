/**
 * @grpc/grpc-js, with nothing said about a proxy: a call of each kind, one that fails and one that runs out of time.
 * Arguments: target, `tls` or `clear`, a file.
 */
import { readFileSync } from "node:fs";
import { Client, credentials, type ServiceError } from "@grpc/grpc-js";
import { MESSAGE_BYTES, methodPath } from "../grpc-server.ts";
import { report } from "./report.ts";

const [target, kind, file] = process.argv.slice(2) as [string, string, string];
const content = readFileSync(file);
const client = new Client(target, kind === "tls" ? credentials.createSsl() : credentials.createInsecure());
const same = (bytes: Buffer): Buffer => bytes;

/** Deadline of calls that are to succeed; only a guard. */
const GUARD_MS = 40_000;
/** Deadline of the call that nobody answers: long enough for it to arrive. */
const SHORT_MS = 2000;

const within = (ms: number) => ({ deadline: Date.now() + ms });

function unary(name: string, ms = GUARD_MS): Promise<Buffer | ServiceError> {
  return new Promise((resolve) =>
    client.makeUnaryRequest(methodPath(name), same, same, content, within(ms), (error, value) =>
      resolve(error ?? value!),
    ),
  );
}

async function reportUnary(): Promise<void> {
  const answer = await unary("Unary");
  if (answer instanceof Error) throw answer;
  report("unary", 0, answer);
}

async function reportUpload(): Promise<void> {
  const answer = await new Promise<Buffer>((resolve, reject) => {
    const call = client.makeClientStreamRequest(
      methodPath("Upload"),
      same,
      same,
      within(GUARD_MS),
      (error, value) => (error === null ? resolve(value!) : reject(error)),
    );
    for (let at = 0; at < content.length; at += MESSAGE_BYTES)
      call.write(content.subarray(at, at + MESSAGE_BYTES));
    call.end();
  });
  report("upload", 0, answer);
}

async function reportDownload(): Promise<void> {
  const messages: Buffer[] = [];
  const call = client.makeServerStreamRequest(methodPath("Download"), same, same, content, within(GUARD_MS));
  for await (const message of call as AsyncIterable<Buffer>) messages.push(message);
  report("download", messages.length, Buffer.concat(messages));
}

/** Sends the next message only when the one before has come back: nobody on the way may wait for the end. */
async function reportDuplex(): Promise<void> {
  const messages: Buffer[] = [];
  const call = client.makeBidiStreamRequest(methodPath("Duplex"), same, same, within(GUARD_MS));
  const sendNext = (): void => {
    const at = messages.length * MESSAGE_BYTES;
    if (at < content.length) call.write(content.subarray(at, at + MESSAGE_BYTES));
    else call.end();
  };
  sendNext();
  for await (const message of call as AsyncIterable<Buffer>) {
    messages.push(message);
    sendNext();
  }
  report("duplex", messages.length, Buffer.concat(messages));
}

async function reportError(what: string, name: string, ms?: number): Promise<void> {
  const { code, details, metadata } = (await unary(name, ms)) as ServiceError;
  const trailer = metadata.get("outrider-test").join();
  process.stdout.write(`${what} ${code} ${what === "fail" ? `${details} ${trailer}` : ""}\n`);
}

await reportUnary();
await reportUpload();
await reportDownload();
await reportDuplex();
await reportError("fail", "Fail");
await reportError("wait", "Wait", SHORT_MS);
client.close();
