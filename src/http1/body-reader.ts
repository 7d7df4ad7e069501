/** The reading end of a message body: takes a socket's bytes and pushes those of the body into a `Body`. Knows no sockets. */
import type { Body } from "../body.ts";
import { ChunkedDecoder } from "./chunked.ts";

/** How the body's end is found. A body that ends with its connection is ended by whoever sees the connection end. */
export type BodyFraming = "length" | "chunked" | "close";

/** One per body. */
export class BodyReader {
  readonly body: Body;
  /** The body's end has been read. */
  done = false;
  /** The last push asked for a pause. */
  full = false;
  /** Nothing but the end of the connection ends this body. */
  readonly endsWithConnection: boolean;
  readonly #copy: boolean;
  readonly #decoder: ChunkedDecoder | null;
  #left: number;

  /**
   * @param length bytes, for framing "length"
   * @param copy whether the bytes fed live in a buffer that is used again
   * @param trailerBytesMax bound of the trailer section
   */
  constructor(body: Body, framing: BodyFraming, length: number, copy: boolean, trailerBytesMax: number) {
    this.body = body;
    this.endsWithConnection = framing === "close";
    this.#copy = copy;
    this.#left = framing === "length" ? length : Number.POSITIVE_INFINITY;
    this.#decoder = framing === "chunked" ? new ChunkedDecoder(trailerBytesMax) : null;
  }

  /**
   * Reads from `from`; chunk frames in `bytes` are overwritten. Returns the index behind the body's last byte here, or a sentence
   * saying why the body is invalid.
   */
  feed(bytes: Buffer, from: number): number | string {
    this.full = false;
    return this.#decoder === null
      ? this.#feedPlain(bytes, from)
      : this.#feedChunked(this.#decoder, bytes, from);
  }

  #feedPlain(bytes: Buffer, from: number): number {
    const take = Math.min(this.#left, bytes.length - from);
    this.#left -= take;
    if (this.#left === 0) this.done = true;
    if (take > 0) this.#push(bytes.subarray(from, from + take));
    if (this.done) this.body.end();
    return from + take;
  }

  #feedChunked(decoder: ChunkedDecoder, bytes: Buffer, from: number): number | string {
    const end = decoder.feed(bytes, from);
    if (typeof end === "string") return end;
    if (decoder.dataTo > decoder.dataFrom) this.#push(bytes.subarray(decoder.dataFrom, decoder.dataTo));
    this.done = decoder.done;
    if (this.done) this.body.end(decoder.trailers);
    return end;
  }

  #push(bytes: Uint8Array): void {
    if (!this.body.push(this.#copy ? Buffer.from(bytes) : bytes)) this.full = true;
  }
}
