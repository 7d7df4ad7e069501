/**
 * The origin, a process of its own: answers each request head on a connection with one fixed response.
 * It reads GET requests without a body only, which is all that the bench sends, so that it costs next to nothing
 * and is not what a run measures. The parent starts it with `startOrigin` of `load.ts` and speaks over IPC.
 */

import { type AddressInfo, createServer, type Socket } from "node:net";

/** What the parent asks: begin with this response, or report what arrived since the last report. */
export type OriginCommand =
  | { readonly kind: "listen"; readonly response: string }
  | { readonly kind: "report" };

/** What the origin answers to a command, one answer each and in order. */
export type OriginAnswer =
  | { readonly kind: "listening"; readonly port: number }
  | { readonly kind: "report"; readonly answered: number; readonly lastHead: string };

const headEnd = "\r\n\r\n";
/** The bench's heads have 300 to 400 bytes; a connection that sends more without an end is closed. */
const headBytesMax = 16 * 1024;

let answered = 0;
let lastHead = "";

process.on("message", (command: OriginCommand) => {
  if (command.kind === "listen") return listen(Buffer.from(command.response, "latin1"));
  send({ kind: "report", answered, lastHead });
  answered = 0;
});
process.on("disconnect", () => process.exit(0));

function listen(response: Buffer): void {
  const server = createServer({ noDelay: true }, (socket) => answerAll(socket, response));
  server.listen(0, "127.0.0.1", () => {
    send({ kind: "listening", port: (server.address() as AddressInfo).port });
  });
}

function answerAll(socket: Socket, response: Buffer): void {
  let pending = "";
  socket.on("data", (chunk) => {
    pending += chunk.toString("latin1");
    for (let end = pending.indexOf(headEnd); end >= 0; end = pending.indexOf(headEnd)) {
      lastHead = pending.slice(0, end);
      pending = pending.slice(end + headEnd.length);
      answered++;
      socket.write(response);
    }
    if (pending.length > headBytesMax) socket.destroy();
  });
  // A subject that is stopped resets its connections, which is the expected end of a round.
  socket.on("error", () => socket.destroy());
}

function send(answer: OriginAnswer): void {
  process.send!(answer);
}
