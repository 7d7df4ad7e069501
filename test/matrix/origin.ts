/** The origin of the matrix: does what each call's cell says, and tells what it has seen of the call. */
import { createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type TlsOptions } from "node:tls";
import { signal } from "../kit/eventually.ts";
import { type BodySeen, type HeadSeen, MessageReader } from "../kit/reader.ts";
import { type Direction, framed, framingField, hashOf } from "./bodies.ts";
import type { Cell } from "./cells.ts";

/** What a side has seen of a body. */
export interface Seen {
  /** Value of Content-Length, or `null`. */
  readonly length: string | null;
  /** Its bytes and whether they are the right ones; of a broken body only the latter, since how many came is a matter of luck. */
  readonly body: string;
  readonly end: "whole" | "broken";
}

/** What the origin has seen of a call. */
export interface OriginSaw extends Seen {
  readonly start: string;
  readonly host: string | undefined;
}

/** One call of a cell, which both sides know. */
export interface Turn {
  readonly cell: Cell;
  /** Path of its target. */
  readonly path: string;
  readonly originSawHead: ReturnType<typeof signal>;
  readonly clientSawHead: ReturnType<typeof signal>;
  readonly originSaw: Promise<OriginSaw>;
}

interface OpenTurn extends Turn {
  saw(what: OriginSaw): void;
}

/** What is kept of a body for the comparison. */
export function seenOf(
  direction: Direction,
  length: string | undefined,
  { bytes, hash, end }: Pick<BodySeen, "bytes" | "hash" | "end">,
): Seen {
  const intact = hash === hashOf(direction, bytes) ? "as sent" : "other than sent";
  return { length: length ?? null, body: end === "whole" ? `${bytes} bytes ${intact}` : intact, end };
}

/** See the file's header. */
export class MatrixOrigin {
  readonly #server: Server;
  readonly #turns = new Map<string, OpenTurn>();
  readonly #sockets = new Set<Socket>();
  #count = 0;

  constructor(tls: TlsOptions | null) {
    this.#server =
      tls === null
        ? createServer({ allowHalfOpen: true, noDelay: true }, (socket) => void this.#serve(socket))
        : createTlsServer(
            { allowHalfOpen: true, noDelay: true, ...tls },
            (socket) => void this.#serve(socket),
          );
    this.#server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => this.#sockets.delete(socket));
    });
    this.#server.on("tlsClientError", (_error, socket: Socket) => socket.destroy());
  }

  listen(): Promise<void> {
    return new Promise((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  /** A call that will come. */
  turn(cell: Cell): Turn {
    const path = `/turn/${++this.#count}`;
    const { promise, resolve } = Promise.withResolvers<OriginSaw>();
    const turn = {
      cell,
      path,
      originSawHead: signal(),
      clientSawHead: signal(),
      originSaw: promise,
      saw: resolve,
    };
    this.#turns.set(path, turn);
    return turn;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async #serve(socket: Socket): Promise<void> {
    socket.on("error", () => {});
    const reader = new MessageReader(socket);
    socket.on("end", () => socket.end());
    for (;;) {
      const reading = reader.request();
      const head = await reading.head.catch(() => null);
      if (head === null) return;
      const turn = this.#turns.get(head.startLine.split(" ")[1]!);
      if (turn === undefined) throw new Error(`nobody called: ${head.startLine}`);
      this.#turns.delete(turn.path);
      turn.originSawHead.give();
      const body = await reading.body;
      const saw = originSaw(head, body);
      if (body.end === "broken") return turn.saw(saw);
      await this.#answer(socket, turn);
      turn.saw(saw);
      if (socket.writableEnded || socket.destroyed) return;
    }
  }

  async #answer(socket: Socket, turn: OpenTurn): Promise<void> {
    const { method, response, size, keepAlive, earlyClose } = turn.cell;
    const part = earlyClose !== "none";
    const body = method === "HEAD" ? Buffer.alloc(0) : framed("response", response, size, part);
    const closes = keepAlive === "new" ? "Connection: close\r\n" : "";
    const status = response === "none" ? "204 No Content" : "200 OK";
    const head = `HTTP/1.1 ${status}\r\nX-Turn: ${turn.path}\r\n${closes}${framingField(response, size)}\r\n`;
    socket.write(Buffer.concat([Buffer.from(head), body]));
    if (earlyClose === "client in response") return await left(socket);
    if (earlyClose === "upstream in response") {
      await turn.clientSawHead.given;
      // The end of a connection is the end of a body that has no other; a reset is none.
      if (response === "close" || keepAlive === "kept") breakOff(socket);
      else socket.end();
    } else if (closes !== "" || (response === "close" && method !== "HEAD")) socket.end();
  }
}

const originSaw = (head: HeadSeen, body: BodySeen): OriginSaw => ({
  start: head.startLine.replace(/\/turn\/\d+/, "/turn"),
  host: head.fields.get("host"),
  ...seenOf("request", head.fields.get("content-length"), body),
});

/** Resolves when the other side has left. */
const left = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    if (socket.destroyed) return resolve();
    socket.once("end", resolve).once("close", () => resolve());
  });

/** Breaks a connection so that the other side sees a reset, under TLS too. */
export function breakOff(socket: Socket): void {
  const raw = (socket as { _parent?: Socket })._parent ?? socket;
  raw.resetAndDestroy();
}

/** Starts an origin on a free port. */
export async function matrixOrigin(tls: TlsOptions | null): Promise<MatrixOrigin> {
  const origin = new MatrixOrigin(tls);
  await origin.listen();
  return origin;
}
