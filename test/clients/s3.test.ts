/**
 * S3 clients, as real programs behind the wrapper, against a server that verifies signatures as S3 does: of requests, of chunks, of
 * trailers. A proxy that changes what is signed is refused by it.
 */
import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { GOVERNED_HOST, isOf, program, type Scene, startScene } from "./kit.ts";
import { missingModule, PYTHON, skipWithout } from "./needs.ts";
import { CREDENTIALS, type S3Server, startS3Server } from "./s3-server.ts";
import { BODY, UPSTREAM_ADDRESS } from "./upstream.ts";

let scene: Scene;
let s3: S3Server;
let plainS3: S3Server;
beforeAll(async () => {
  scene = await startScene();
  [s3, plainS3] = await Promise.all([startS3Server("tls"), startS3Server("clear")]);
});
afterAll(async () => {
  for (const part of [scene, s3, plainS3]) await part[Symbol.asyncDispose]();
});

const ENV = {
  AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
  AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
};

const hash = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const HASH = hash(BODY);

const endpoint = (): string => `https://${GOVERNED_HOST}:${s3.port}`;

/** Calls as the server saw them. */
const callsOf = (server: S3Server, client: string) => server.calls.filter(isOf(`bucket/${client}`));

/** And its uploads. */
const puts = (server: S3Server, client: string) =>
  callsOf(server, client).filter(({ method }) => method === "PUT");

const GOVERNED = { status: 200, refused: "", traceparent: expect.stringMatching(/^00-/) };
const UNSIGNED_CHUNKS = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

const OBJECTS = ["buffer", "stream", "large"];

/** What the AWS SDK for JavaScript prints when all three objects came back as they were sent. */
const SDK_PRINTED = `buffer 200 ${HASH}\nstream 200 ${HASH}\nlarge 200 ${hash(Buffer.concat([BODY, BODY, BODY]))}\n`;

describe.concurrent("the AWS SDK for JavaScript", () => {
  const sdk = (url: string, prefix: string, agent: "proxied" | "bare", objects = OBJECTS, env = ENV) =>
    scene.run([process.execPath, program("s3.ts"), url, prefix, scene.bodyFile, agent, ...objects], env);

  test("with an agent that reads the environment is governed: hashes, aws-chunked with a trailer, 100-continue", async () => {
    const { code, stdout, stderr } = await sdk(endpoint(), "sdk", "proxied");
    expect([code, stdout, stderr]).toEqual([0, SDK_PRINTED, ""]);
    expect(puts(s3, "sdk")).toMatchObject([
      { ...GOVERNED, payload: "SHA-256", expected: false, checksums: ["x-amz-checksum-crc32"] },
      { ...GOVERNED, payload: UNSIGNED_CHUNKS, chunks: 16, checksums: ["x-amz-checksum-crc32"] },
      { ...GOVERNED, payload: "SHA-256", expected: true, bodyBytes: 3 * BODY.length },
    ]);
    expect(callsOf(s3, "sdk")).toHaveLength(6);
    expect(callsOf(s3, "sdk").filter(({ traceparent }) => traceparent === undefined)).toEqual([]);
  });

  // With an agent that is not its own it does not wait for the word that it asks for.
  test("hears of a refusal in the middle of its upload", async () => {
    const forged = { ...ENV, AWS_SECRET_ACCESS_KEY: "wrong" };
    const { stdout } = await sdk(endpoint(), "forged", "proxied", ["large"], forged);
    expect(stdout).toBe("refused 403 SignatureDoesNotMatch\n");
    expect(puts(s3, "forged")).toMatchObject([{ status: 403, expected: true }]);
  });

  test("with the agent that it makes itself goes around the proxy", async () => {
    const { code, stdout } = await sdk(`http://${UPSTREAM_ADDRESS}:${plainS3.port}`, "bare", "bare");
    expect([code, stdout]).toEqual([0, SDK_PRINTED]);
    expect(callsOf(plainS3, "bare").map(({ status, traceparent }) => [status, traceparent])).toEqual(
      Array.from({ length: 6 }, () => [200, undefined]),
    );
  });
});

describe.concurrent("an upload in signed chunks with a signed trailer", () => {
  const upload = (key: string, env: Readonly<Record<string, string>>) =>
    scene.run([process.execPath, program("s3-signed-chunks.ts"), endpoint(), key, scene.bodyFile], env);
  const PAYLOAD = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";

  test("arrives as it was signed, after a word of the server's own", async () => {
    const { code, stdout, stderr } = await upload("signed/object", ENV);
    expect([code, stdout, stderr]).toEqual([0, `continue\nsigned 200 ${hash(Buffer.alloc(0))}\n`, ""]);
    expect(callsOf(s3, "signed")).toMatchObject([
      { ...GOVERNED, payload: PAYLOAD, expected: true, chunks: 16, checksums: ["x-amz-checksum-crc32"] },
    ]);
  });

  test("is refused before it has begun", async () => {
    const { code, stdout } = await upload("forged-chunks/object", { ...ENV, AWS_SECRET_ACCESS_KEY: "wrong" });
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^signed 403 .+\n$/)]);
    await scene.settled();
    expect(callsOf(s3, "forged-chunks")).toMatchObject([{ status: 403, expected: true, bodyBytes: 0 }]);
  });
});

test("boto3 is governed: 100-continue, and aws-chunked with a trailer", async (context) => {
  skipWithout(context, missingModule("boto3"));
  const { code, stdout, stderr } = await scene.run(
    [...PYTHON, program("with_boto3.py"), endpoint(), "boto3", scene.bodyFile],
    ENV,
  );
  expect([code, stdout, stderr]).toEqual([0, `bytes 200 ${HASH}\nchunked 200 ${HASH}\n`, ""]);
  expect(puts(s3, "boto3")).toMatchObject([
    { ...GOVERNED, payload: "UNSIGNED-PAYLOAD", expected: true, bodyBytes: BODY.length },
    // This client signs Transfer-Encoding: the field has to reach S3 with the value that it had.
    {
      ...GOVERNED,
      payload: UNSIGNED_CHUNKS,
      expected: true,
      checksums: ["x-amz-checksum-sha256"],
      signedHeaders: expect.arrayContaining(["transfer-encoding"]),
    },
  ]);
  expect(callsOf(s3, "boto3")).toHaveLength(4);
});
