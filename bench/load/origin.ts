/**
 * The origin, a process of its own: answers each request with one fixed response, over HTTP/1.1 or HTTP/2, with TLS or
 * without. Over HTTP/1.1 it reads GET requests without a body only, which is all that the bench sends, so that it costs
 * next to nothing and is not what a run measures. The parent starts it with `startOrigin` of `load.ts` and speaks over IPC.
 */

import { createServer as createHttp2, createSecureServer, type Http2Server } from "node:http2";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { createServer as createTls } from "node:tls";

/** How to listen, and with what to answer. */
export interface OriginListen {
  readonly kind: "listen";
  /** The whole response as HTTP/1.1 writes it. */
  readonly response: string;
  readonly protocol: "http1" | "http2";
  /** PEM; undefined for no TLS. */
  readonly tls?: { readonly key: string; readonly cert: string } | undefined;
}

/** What the parent asks: begin, report what arrived since the last report, or hold answers back. */
export type OriginCommand =
  | OriginListen
  | { readonly kind: "report" }
  | { readonly kind: "hold"; readonly on: boolean };

/** What the origin answers to a command, one answer each and in order. */
export type OriginAnswer =
  | { readonly kind: "listening"; readonly port: number }
  | { readonly kind: "report"; readonly answered: number; readonly held: number; readonly lastHead: string }
  | { readonly kind: "done" };

const headEnd = "\r\n\r\n";
/** The bench's heads have 300 to 400 bytes; a connection that sends more without an end is closed. */
const headBytesMax = 16 * 1024;

let answered = 0;
let held = 0;
let holding = false;
let lastHead = "";

process.on("message", (command: OriginCommand) => {
  if (command.kind === "listen") return listen(command);
  if (command.kind === "hold") {
    holding = command.on;
    held = 0;
    return send({ kind: "done" });
  }
  send({ kind: "report", answered, held, lastHead });
  answered = 0;
});
process.on("disconnect", () => process.exit(0));

function listen({ response, protocol, tls }: OriginListen): void {
  const server = protocol === "http1" ? http1Server(response, tls) : http2Server(response, tls);
  server.listen(0, "127.0.0.1", () => {
    send({ kind: "listening", port: (server.address() as AddressInfo).port });
  });
}

function http1Server(response: string, tls: OriginListen["tls"]): Server {
  const bytes = Buffer.from(response, "latin1");
  const serve = (socket: Socket) => answerAll(socket, bytes);
  if (!tls) return createServer({ noDelay: true }, serve);
  // A subject that gives up during the handshake is reported by the generator, which waits for it.
  return createTls({ ...tls, noDelay: true, ALPNProtocols: ["http/1.1"] }, serve).on(
    "tlsClientError",
    () => undefined,
  );
}

function answerAll(socket: Socket, response: Buffer): void {
  let pending = "";
  socket.on("data", (chunk) => {
    pending += chunk.toString("latin1");
    for (let end = pending.indexOf(headEnd); end >= 0; end = pending.indexOf(headEnd)) {
      lastHead = pending.slice(0, end);
      pending = pending.slice(end + headEnd.length);
      if (mayAnswer()) socket.write(response);
    }
    if (pending.length > headBytesMax) socket.destroy();
  });
  // A subject that is stopped resets its connections, which is the expected end of a round.
  socket.on("error", () => socket.destroy());
}

function http2Server(response: string, tls: OriginListen["tls"]): Http2Server {
  const headEndsAt = response.indexOf(headEnd);
  const [, ...lines] = response.slice(0, headEndsAt).split("\r\n");
  const fields = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 2)]),
  );
  const body = Buffer.from(response.slice(headEndsAt + headEnd.length), "latin1");
  const server = tls ? createSecureServer({ ...tls }) : createHttp2();
  server.on("stream", (stream, headers) => {
    const { ":method": method, ":path": path, ":authority": authority, ":scheme": _, ...rest } = headers;
    const written = Object.entries({ host: authority, ...rest }).map(([name, value]) => `${name}: ${value}`);
    lastHead = [`${method} ${path} HTTP/2`, ...written].join("\r\n");
    stream.on("error", () => stream.destroy());
    if (!mayAnswer()) return;
    stream.respond({ ":status": 200, ...fields });
    stream.end(body);
  });
  server.on("sessionError", () => undefined);
  return server;
}

/** Counts a request, and says whether it is answered now. */
function mayAnswer(): boolean {
  if (holding) held++;
  else answered++;
  return !holding;
}

function send(answer: OriginAnswer): void {
  process.send!(answer);
}
