/** The application of the matrix in HTTP/1.1: makes the call of a cell over a stream of bytes, and tells what it has seen. */
import type { Socket } from "node:net";
import { MessageReader } from "../kit/reader.ts";
import { framed, framingField } from "./bodies.ts";
import { type Seen, seenOf, type Turn } from "./origin.ts";

/** What the application has seen of a call; of one that it left itself, nothing that counts. */
export type ClientSaw = (Seen & { readonly status: string; readonly own: boolean }) | "left";

/** A connection of the application, whatever is spoken on it. */
export interface MatrixClient {
  /** Whether another call can be made on it. */
  readonly open: boolean;
  call(turn: Turn): Promise<ClientSaw>;
  close(): void;
}

/** How HTTP/1.1 is spoken over a way. */
export interface Http1Way {
  /** In front of the path: `http://host:port` for a proxy's request, "" inside a tunnel. */
  readonly prefix: string;
  readonly host: string;
}

/** See the file's header. */
export class Http1Client implements MatrixClient {
  open = true;
  readonly #socket: Socket;
  /** The connection that carries `socket`: the same without TLS. */
  readonly #raw: Socket;
  readonly #way: Http1Way;
  readonly #reader: MessageReader;

  constructor(socket: Socket, raw: Socket, way: Http1Way) {
    this.#socket = socket;
    this.#raw = raw;
    this.#way = way;
    this.#reader = new MessageReader(socket);
  }

  async call(turn: Turn): Promise<ClientSaw> {
    const { method, request, size, keepAlive, earlyClose } = turn.cell;
    const { prefix, host } = this.#way;
    const leaves = earlyClose === "client in request";
    const closes = keepAlive === "new" ? "Connection: close\r\n" : "";
    const head = `${method} ${prefix}${turn.path} HTTP/1.1\r\nHost: ${host}\r\n${closes}${framingField(request, size)}\r\n`;
    const reading = this.#reader.response(method);
    this.#socket.write(Buffer.concat([Buffer.from(head), framed("request", request, size, leaves)]));
    if (leaves) return this.#leaveAfter(turn.originSawHead.given);
    const answer = await reading.head;
    const refusal = answer.fields.get("outrider-error");
    if (refusal !== undefined) throw new Error(`the proxy refused with ${refusal}`);
    if (earlyClose === "client in response") return this.#leaveAfter(Promise.resolve());
    turn.clientSawHead.give();
    const body = await reading.body;
    const close = answer.fields.get("connection") === "close";
    this.open = body.end === "whole" && !close && this.#reader.parting === null;
    if (this.#reader.unclaimed > 0) throw new Error("bytes behind the answer");
    return {
      status: answer.startLine.split(" ")[1]!,
      own: answer.fields.get("x-turn") === turn.path,
      ...seenOf("response", answer.fields.get("content-length"), body),
    };
  }

  close(): void {
    this.#raw.destroy();
  }

  async #leaveAfter(moment: Promise<void>): Promise<"left"> {
    await moment;
    this.open = false;
    this.#raw.resetAndDestroy();
    return "left";
  }
}
