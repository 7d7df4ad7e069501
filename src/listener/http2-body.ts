/**
 * A request's body that comes over an HTTP/2 stream: held back when it is not taken, and over only when the application has
 * ended it. A stream that is reset looks to its reader like one that has ended; here the two are told apart (RFC 9113 §8.1).
 */
import type { ServerHttp2Stream } from "node:http2";
import { Body, type BodySource } from "../body.ts";
import type { Limits } from "../config/types.ts";
import { EgressError } from "../errors.ts";
import type { FieldLines } from "../exchange.ts";
import { trailerLinesOf } from "../http2/fields.ts";

/** What the body needs to know. */
export interface Http2BodyOptions {
  readonly stream: ServerHttp2Stream;
  /** Bytes; `null` when none were stated. */
  readonly length: number | null;
  readonly limits: Limits;
  /** The application sends the body only after a 100. */
  readonly awaitsContinue: boolean;
  /** Called when what comes is no valid body. */
  readonly spoilt: (error: EgressError) => void;
}

/** See the file's header. One per request whose stream goes on behind its head. */
export class Http2Body implements BodySource {
  readonly body: Body;
  /** The application sends the body only after a 100, which has not come yet. */
  awaitsContinue: boolean;
  /** Bytes that have come. */
  receivedBytes = 0;
  readonly #stream: ServerHttp2Stream;
  readonly #limits: Limits;
  readonly #spoilt: (error: EgressError) => void;
  #trailers: FieldLines = "";

  constructor({ stream, length, limits, awaitsContinue, spoilt }: Http2BodyOptions) {
    this.body = new Body(length, this);
    this.awaitsContinue = awaitsContinue;
    this.#stream = stream;
    this.#limits = limits;
    this.#spoilt = spoilt;
    stream.on("data", (chunk: Buffer) => this.#receive(chunk));
    stream.on("trailers", (_fields, _flags, raw) => this.#receiveTrailers(raw));
    stream.on("end", () => this.#end());
  }

  /** The rest of the body is the application's to send. */
  get owed(): boolean {
    return !this.body.over && !this.awaitsContinue && !this.#stream.isPaused();
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  /** What still comes is dropped; it is the answer's end that stops the application. */
  cancel(): void {
    this.#stream.resume();
  }

  #receive(chunk: Buffer): void {
    this.awaitsContinue = false;
    this.receivedBytes += chunk.length;
    if (!this.body.push(chunk)) this.#stream.pause();
  }

  #receiveTrailers(raw: readonly string[]): void {
    const { fields, problem } = trailerLinesOf(raw, this.#limits);
    if (problem === "") this.#trailers = fields;
    else this.#break(new EgressError("BAD_REQUEST", `trailers: ${problem}`));
  }

  #end(): void {
    if (this.#stream.aborted) return;
    const { length } = this.body;
    if (length !== null && this.receivedBytes !== length) {
      return this.#break(new EgressError("BAD_REQUEST", "content of another length than content-length"));
    }
    this.body.end(this.#trailers);
  }

  #break(error: EgressError): void {
    if (this.body.over) return;
    this.body.fail(error);
    this.#spoilt(error);
  }
}
