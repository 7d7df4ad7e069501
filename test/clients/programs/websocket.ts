/**
 * WebSocket, with nothing said about a proxy. Arguments: how, the URL, a file. How: `built-in` for Node's own, `ws` for the package,
 * `ws-agent` for the package with Node's global agent, which reads the environment.
 * Sends the file in messages and waits for each to come back.
 */
import { readFileSync } from "node:fs";
import { globalAgent } from "node:https";
import { WebSocket as PackageWebSocket } from "ws";
import { report } from "./report.ts";

const [how, url, file] = process.argv.slice(2) as [string, string, string];
const content = readFileSync(file);
const MESSAGE_BYTES = 65_536;

function open(): WebSocket {
  if (how === "built-in") return new WebSocket(url);
  // What both have in common is all that is used here.
  return new PackageWebSocket(url, how === "ws-agent" ? { agent: globalAgent } : {}) as unknown as WebSocket;
}

const socket = open();
socket.binaryType = "arraybuffer";
const messages: Buffer[] = [];

const sendNext = (): void => {
  const at = messages.length * MESSAGE_BYTES;
  if (at < content.length) socket.send(content.subarray(at, at + MESSAGE_BYTES));
  else socket.close(1000, "done");
};

socket.onopen = sendNext;
socket.onmessage = ({ data }) => {
  messages.push(Buffer.from(data as ArrayBuffer));
  sendNext();
};
socket.onerror = (event) =>
  process.stderr.write(`error: ${(event as Event & { message?: string }).message}\n`);
socket.onclose = ({ code, reason }) => {
  report("echo", messages.length, Buffer.concat(messages));
  process.stdout.write(`close ${code} ${reason}\n`);
};
