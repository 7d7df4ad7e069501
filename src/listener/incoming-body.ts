/** A request's body that is still coming: read off the application's connection, held back when it is not taken. */
import type { Socket } from "node:net";
import { Body, type BodySource } from "../body.ts";
import { BodyReader } from "../http1/body-reader.ts";

/** What the body needs to know of its connection. */
export interface IncomingBodyOptions {
  readonly socket: Socket;
  /** Bytes; `null` when chunked. */
  readonly length: number | null;
  readonly trailerBytesMax: number;
  /** The application sends the body only after a 100. */
  readonly awaitsContinue: boolean;
  /** Called when nobody wants the rest: it is read and dropped, and no request can follow it. */
  readonly unwanted: () => void;
}

/** See the file's header. One per streamed body. */
export class IncomingBody implements BodySource {
  readonly body: Body;
  /** The application sends the body only after a 100, which has not come yet. */
  awaitsContinue: boolean;
  readonly #socket: Socket;
  readonly #reader: BodyReader;
  readonly #unwanted: () => void;

  constructor({ socket, length, trailerBytesMax, awaitsContinue, unwanted }: IncomingBodyOptions) {
    this.body = new Body(length, this);
    this.awaitsContinue = awaitsContinue;
    this.#socket = socket;
    this.#reader = new BodyReader(
      this.body,
      length === null ? "chunked" : "length",
      length ?? 0,
      true,
      trailerBytesMax,
    );
    this.#unwanted = unwanted;
  }

  /** The body's end has been read. */
  get done(): boolean {
    return this.#reader.done;
  }

  /** Reads from `from`. Returns the index behind the body's last byte here, or a sentence saying why the body is invalid. */
  feed(bytes: Buffer, from: number): number | string {
    if (from < bytes.length) this.awaitsContinue = false;
    const end = this.#reader.feed(bytes, from);
    if (this.#reader.full && !this.#reader.done) this.#socket.pause();
    return end;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  cancel(): void {
    this.#unwanted();
    this.#socket.resume();
  }
}
