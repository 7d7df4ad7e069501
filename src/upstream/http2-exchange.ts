/**
 * One exchange on one stream of an HTTP/2 connection: the request's head, body and trailers out, the response's in, both with
 * backpressure. A response is whole only when the peer said so (END_STREAM); however else its stream ends, it broke off. Knows
 * nothing of other streams.
 */
import { type ClientHttp2Stream, constants } from "node:http2";
import { Duplex } from "node:stream";
import { Body, type BodySink, type BodySource } from "../body.ts";
import type { Clock } from "../clock.ts";
import { asEgressError, EgressError } from "../errors.ts";
import { EgressResponse, type FieldLines } from "../exchange.ts";
import { grpcStatusOf } from "../http1/grpc-status.ts";
import { fieldLinesOf, headerListOf, type ListLimits, trailerLinesOf } from "../http2/fields.ts";
import { Patience } from "../patience.ts";
import type { InFlight } from "./in-flight.ts";

/** What an exchange reports to the connection that carries it, and asks of it. */
export interface StreamOwner {
  /** Something of the response has come. */
  received(): void;
  /** The exchange is over. */
  done(exchange: Http2Exchange): void;
  /** The stream was closed before the peer had ended it. */
  brokeOff(stream: ClientHttp2Stream): void;
  /** Why a stream that was not refused by ourselves ended. */
  failureOf(stream: ClientHttp2Stream, error: Error | null): EgressError;
}

/** What an exchange is given besides its stream and its call. */
export interface ExchangeParts {
  readonly limits: ListLimits;
  /** Silence that ends it; 0: no bound. */
  readonly idleTimeoutMs: number;
  readonly clock: Clock;
  readonly owner: StreamOwner;
}

/** Interim responses before the final one. Overflow: the response is invalid. */
const INTERIM_MAX = 16;

const { NGHTTP2_CANCEL, NGHTTP2_PROTOCOL_ERROR, NGHTTP2_FLAG_END_STREAM } = constants;

/** See the file's header. */
export class Http2Exchange implements BodySource, BodySink {
  readonly #stream: ClientHttp2Stream;
  readonly #flight: InFlight;
  readonly #parts: ExchangeParts;
  readonly #patience = new Patience();
  #over = false;
  /** The peer has ended its side as it should. */
  #ended = false;
  #error: Error | null = null;
  /** Body bytes of the response so far. */
  #receivedBytes = 0;
  /** What the response states; -1 for nothing. */
  #statedBytes = -1;
  #heldBack = false;
  #requestTrailers: FieldLines = "";
  #trailers: FieldLines = "";

  constructor(stream: ClientHttp2Stream, flight: InFlight, parts: ExchangeParts) {
    this.#stream = stream;
    this.#flight = flight;
    this.#parts = parts;
    watchForEnd(stream, () => (this.#ended = true));
    stream.on("error", (error) => (this.#error = error));
    stream.on("close", this.#onClose);
    stream.on("headers", this.#guarded(this.#onInterim));
    stream.on("response", this.#guarded(this.#onResponse));
    stream.on("trailers", this.#guarded(this.#onTrailers));
    stream.on("end", this.#guarded(this.#onEnd));
    stream.on("drain", () => this.#flight.request.body.resume());
    stream.on("wantTrailers", this.#sendTrailers);
  }

  /** Sends the body. It may be over when this returns. */
  start(): void {
    const { body, cancelled } = this.#flight.request;
    cancelled.on(this.#fail);
    if (body.whole === null) {
      body.pipe(this);
      return;
    }
    body.passedBytes = body.whole.length;
    if (body.whole !== "") this.#stream.end(body.whole, "latin1");
  }

  /** Bytes that wait for the application, or for the peer. */
  bufferedBytes(): number {
    return this.#stream.readableLength + this.#stream.bufferSize;
  }

  /** Called every second or so: ends it when the upstream has not moved for too long. */
  sweep(nowMs: number): void {
    const { idleTimeoutMs } = this.#parts;
    const limitMs = idleTimeoutMs === 0 ? Number.POSITIVE_INFINITY : idleTimeoutMs;
    const stream = this.#stream;
    const owes = !this.#heldBack && this.#flight.owesAnswer(stream.writableNeedDrain);
    const taken = this.#flight.request.body.passedBytes - stream.writableLength;
    const progress = this.#receivedBytes + taken + this.#flight.interims;
    if (!this.#patience.exhausted(owes ? "upstream" : "nothing", progress, nowMs, limitMs) || !owes) return;
    // The answer is complete and the rest of the request is not taken.
    if (this.#over) this.#stream.close(NGHTTP2_CANCEL);
    else this.#fail(new EgressError("UPSTREAM_TIMEOUT", `silent for ${limitMs} ms`));
  }

  // The source of the response's body.

  pause(): void {
    this.#heldBack = true;
    this.#stream.pause();
  }

  resume(): void {
    this.#heldBack = false;
    this.#stream.resume();
  }

  cancel(error: EgressError): void {
    this.#fail(error);
  }

  // The sink of the request's body. A stream that the peer has closed takes nothing more; its `close` says what that means.

  write(chunk: Uint8Array): boolean {
    return this.#stream.writable ? this.#stream.write(chunk) : true;
  }

  end(trailers: FieldLines): void {
    this.#flight.requestSent = true;
    this.#requestTrailers = trailers;
    if (this.#stream.writable) this.#stream.end();
  }

  abort(error: EgressError): void {
    this.#fail(error);
  }

  /** Also when the answer is complete: without them the stream would stay open. */
  #sendTrailers = (): void => {
    if (!this.#stream.closed) this.#stream.sendTrailers(trailersOf(this.#requestTrailers));
  };

  #onInterim(_headers: unknown, _flags: number, raw: string[]): void {
    const { request } = this.#flight;
    this.#headCame();
    const { status, list } = this.#read(raw);
    // RFC 9113 §8.6: there is no 101 here, because there is nothing to switch to.
    if (list.problem !== "" || status >= 200 || status === 101) {
      this.#refuse(list.problem === "" ? `interim response ${status}` : list.problem);
    } else if (++this.#flight.interims > INTERIM_MAX) this.#refuse("too many interim responses");
    else request.onInterim?.(status, list.fields);
  }

  #onResponse(_headers: unknown, flags: number, raw: string[]): void {
    const { facts, request } = this.#flight;
    this.#headCame();
    const { status, list } = this.#read(raw);
    if (list.problem !== "") return this.#refuse(list.problem);
    if (status < 200) return this.#refuse(`final response ${status}`);
    facts.status = status;
    this.#noteGrpcStatus(list.fields);
    const stated = status === 204 ? -1 : list.contentLength;
    const bodiless = request.method === "HEAD" || status === 204 || status === 304;
    if (bodiless || (flags & NGHTTP2_FLAG_END_STREAM) !== 0) {
      if (!bodiless && stated > 0) return this.#refuse("no body where a content-length states one");
      this.#statedBytes = 0;
      const length = bodiless ? (stated < 0 ? null : stated) : 0;
      this.#respond(status, list.fields, new Body(length, null, ""));
      // Whether or not END_STREAM has come already: reading is what makes the stream end.
      this.#stream.resume();
      return;
    }
    this.#statedBytes = stated;
    const body = new Body(stated < 0 ? null : stated, this);
    this.#flight.body = body;
    this.#stream.on("data", this.#guarded(this.#onData));
    this.#respond(status, list.fields, body);
  }

  #headCame(): void {
    const { facts } = this.#flight;
    if (facts.firstByteMs === 0) facts.firstByteMs = this.#parts.clock.now();
    this.#parts.owner.received();
  }

  #respond(status: number, fields: FieldLines, body: Body): void {
    this.#flight.responded = true;
    this.#flight.resolve(new EgressResponse(status, "", fields, body));
  }

  #onData(chunk: Buffer): void {
    this.#receivedBytes += chunk.length;
    this.#parts.owner.received();
    if (this.#statedBytes >= 0 && this.#receivedBytes > this.#statedBytes) {
      return this.#refuse("a body longer than its content-length");
    }
    if (!this.#flight.body!.push(chunk)) this.pause();
  }

  #onTrailers(_headers: unknown, _flags: number, raw: string[]): void {
    const { fields, problem } = trailerLinesOf(raw, this.#parts.limits);
    if (problem !== "") return this.#refuse(problem);
    this.#trailers = fields;
    this.#noteGrpcStatus(fields);
  }

  #onEnd(): void {
    // Without END_STREAM this is the end of a stream that was reset; its `close` says how.
    if (!this.#ended || !this.#flight.responded) return;
    const { request, body } = this.#flight;
    if (body !== null && this.#statedBytes >= 0 && this.#receivedBytes < this.#statedBytes) {
      return this.#refuse("a body shorter than its content-length");
    }
    this.#release();
    if (!this.#flight.requestSent) {
      // RFC 9113 §8.1: an answer may end before the request; the rest of that is not wanted.
      request.body.cancel(new EgressError("UPSTREAM_ABORTED", "answered before the request was sent"));
      this.#stream.close(NGHTTP2_CANCEL);
    }
    body?.end(this.#trailers);
    // What has been given to the stream and is not written yet still goes out.
    if (this.#stream.writableFinished || this.#stream.closed) this.#parts.owner.done(this);
  }

  #onClose = (): void => {
    if (!this.#ended) this.#parts.owner.brokeOff(this.#stream);
    if (this.#over) this.#parts.owner.done(this);
    else this.#fail(this.#parts.owner.failureOf(this.#stream, this.#error));
  };

  /** The status and the fields of a response's head; status 0 with a problem. */
  #read(raw: string[]) {
    const list = fieldLinesOf(raw, this.#parts.limits);
    const text = list.pseudo.get(":status") ?? "";
    const status = list.pseudo.size === 1 && /^[1-9][0-9]{2}$/.test(text) ? Number(text) : 0;
    if (list.problem === "" && status === 0)
      return { status, list: { ...list, problem: "no valid :status" } };
    return { status, list };
  }

  #noteGrpcStatus(fields: FieldLines): void {
    const status = grpcStatusOf(fields);
    if (status !== null) this.#flight.request.trail.push({ kind: "grpc", status });
  }

  #refuse(why: string): void {
    this.#fail(new EgressError("UPSTREAM_INVALID", why), NGHTTP2_PROTOCOL_ERROR);
  }

  /** Ends the exchange with `error`, and its stream; the connection and the other streams live on. */
  #fail = (error: EgressError, code: number = NGHTTP2_CANCEL): void => {
    if (this.#over) return;
    this.#release();
    const begun = this.#flight.responded && BREAKS.has(error.code);
    this.#flight.fail(begun ? new EgressError("UPSTREAM_ABORTED", error.message, error.cause) : error);
    this.#stream.close(code);
    // What has arrived is thrown away, or the stream would wait for somebody to read it.
    this.#stream.resume();
    this.#parts.owner.done(this);
  };

  #release(): void {
    this.#over = true;
    this.#flight.request.cancelled.off(this.#fail);
  }

  /** A listener that does nothing once the exchange is over, and whose defects end the exchange and not the process. */
  #guarded<A extends unknown[]>(listener: (...args: A) => void): (...args: A) => void {
    return (...args) => {
      if (this.#over) return;
      try {
        listener.apply(this, args);
      } catch (error) {
        this.#fail(asEgressError(error));
      }
    };
  }
}

/** Errors of the upstream that are another one once the response has begun. */
const BREAKS: ReadonlySet<string> = new Set(["STREAM_REFUSED", "UPSTREAM_INVALID", "VERSION_REFUSED"]);

/**
 * Calls `ended` when the peer ends its side with END_STREAM. Node ends a stream that was reset with NO_ERROR in the same way, so that
 * half a body looks whole; but only after it has marked the stream as closed.
 */
function watchForEnd(stream: ClientHttp2Stream, ended: () => void): void {
  stream.push = (chunk, encoding) => {
    if (chunk === null && !stream.closed) ended();
    return Duplex.prototype.push.call(stream, chunk, encoding);
  };
}

/** Trailers as `sendTrailers` takes them: it knows no flat list. */
function trailersOf(fields: FieldLines): Record<string, string[]> {
  const trailers: Record<string, string[]> = Object.create(null);
  const list = headerListOf([], fields);
  for (let at = 0; at < list.length; at += 2) (trailers[list[at]!] ??= []).push(list[at + 1]!);
  return trailers;
}
