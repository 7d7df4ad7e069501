/**
 * The one door to the network: a connection to an upstream that carries one exchange at a time. Writes requests with framing of
 * our own, reads responses strictly. Bytes that nobody asked for (behind a response, or on an idle connection) end it, because
 * they could be taken for the next answer (RFC 9112 §9.3: response splitting).
 */
import type { Socket } from "node:net";
import { Body, type BodySink, type BodySource } from "../body.ts";
import type { Clock } from "../clock.ts";
import { EgressError } from "../errors.ts";
import { type AttemptFacts, type EgressRequest, EgressResponse } from "../exchange.ts";
import { BodyReader } from "../http1/body-reader.ts";
import { BodyWriter } from "../http1/body-writer.ts";
import { findHead } from "../http1/find-head.ts";
import type { HeadLimits } from "../http1/request-head.ts";
import { parseResponseHead, type ResponseHead } from "../http1/response-head.ts";
import {
  CHUNKED,
  formatAuthority,
  NO_BODY,
  type OutgoingFraming,
  writeRequestHead,
} from "../http1/write-head.ts";
import { connectionFailure } from "./failure.ts";

/** What a connection reports to the pool that owns it. */
export interface WireOwner {
  /** The exchange is over and the connection can serve another. */
  idle(wire: Wire): void;
  /** The connection is gone. */
  gone(wire: Wire): void;
}

/** A response body that is here with its head and no longer than this is handed on whole instead of streamed. */
const WHOLE_BODY_BYTES_MAX = 16 * 1024;
/** Interim responses before the final one. Overflow: the response is invalid. */
const INTERIM_MAX = 16;

/** The exchange that a connection carries. */
interface Exchange {
  readonly request: EgressRequest;
  readonly facts: AttemptFacts;
  readonly resolve: (response: EgressResponse) => void;
  readonly reject: (error: EgressError) => void;
  /** The response head has been handed on. */
  responded: boolean;
  interims: number;
  reader: BodyReader | null;
  /** The last byte of the request has been written. */
  requestSent: boolean;
  keepAlive: boolean;
}

/** See the file's header. Made around a socket that is connected and, where asked for, verified. */
export class Wire implements BodySource {
  readonly key: string;
  readonly socket: Socket;
  readonly #clock: Clock;
  readonly #limits: HeadLimits;
  readonly #owner: WireOwner;
  #exchange: Exchange | null = null;
  /** Head bytes that have arrived and are no whole head yet, latin1. */
  #partial = "";
  #gone = false;
  /** Exchanges begun on this connection. */
  served = 0;
  /** When it last became idle, or last made progress, by both clocks: either may stand still in a freeze. */
  lastNowMs: number;
  lastWallMs: number;
  /** Silence that ends an exchange; 0: no bound. Set for each. */
  idleTimeoutMs = 0;

  constructor(key: string, socket: Socket, limits: HeadLimits, clock: Clock, owner: WireOwner) {
    this.key = key;
    this.socket = socket;
    this.#clock = clock;
    this.#limits = limits;
    this.#owner = owner;
    this.lastNowMs = clock.now();
    this.lastWallMs = clock.wall();
    socket.on("error", (error) => this.#fail(connectionFailure("send", error)));
    socket.on("end", () => this.#onEnd());
    socket.on("close", () => this.#onClose());
    socket.on("drain", () => {
      this.lastNowMs = this.#clock.now();
      this.#exchange?.request.body.resume();
    });
  }

  /** Milliseconds since it became idle, by the clock that moved further. */
  idleMs(): number {
    return Math.max(this.#clock.now() - this.lastNowMs, this.#clock.wall() - this.lastWallMs);
  }

  /** Ends an exchange in which nothing has moved for too long. */
  sweep(nowMs: number): void {
    if (this.#exchange === null || this.idleTimeoutMs === 0) return;
    if (nowMs - this.lastNowMs < this.idleTimeoutMs || this.socket.isPaused()) return;
    this.#fail(new EgressError("UPSTREAM_TIMEOUT", `silent for ${this.idleTimeoutMs} ms`));
  }

  /** Ends it; an exchange under way fails. */
  destroy(): void {
    this.socket.destroy();
  }

  /** Sends `request` and resolves with the head of its response. Only while idle. */
  send(request: EgressRequest, facts: AttemptFacts): Promise<EgressResponse> {
    return new Promise((resolve, reject) => {
      const body = request.body;
      const exchange: Exchange = {
        request,
        facts,
        resolve,
        reject,
        responded: false,
        interims: 0,
        reader: null,
        requestSent: body.whole !== null,
        keepAlive: true,
      };
      this.#exchange = exchange;
      this.served += 1;
      this.lastNowMs = this.#clock.now();
      if (request.cancelled.value !== undefined) return this.#fail(request.cancelled.value);
      request.cancelled.on(this.#cancelled);
      const framing = outgoing(request);
      const authority = formatAuthority(request.host, request.port, request.scheme);
      const head = writeRequestHead(
        {
          method: request.method,
          path: request.path,
          authority,
          upgrade: request.upgrade,
          expectContinue: request.expectContinue,
          teTrailers: request.teTrailers,
        },
        request.fields,
        framing,
      );
      if (body.whole !== null) {
        body.passedBytes = body.whole.length;
        this.socket.write(head + body.whole, "latin1");
        return;
      }
      this.socket.cork();
      this.socket.write(head, "latin1");
      body.pipe(this.#requestWriter(exchange, framing === CHUNKED));
      this.socket.uncork();
    });
  }

  #requestWriter(exchange: Exchange, chunked: boolean): BodySink {
    return new BodyWriter(this.socket, chunked, (error) => {
      if (this.#exchange !== exchange) return;
      if (error !== null) return this.#fail(error);
      exchange.requestSent = true;
    });
  }

  #cancelled = (error: EgressError): void => this.#fail(error);

  // The source of the response's body.

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.lastNowMs = this.#clock.now();
    this.socket.resume();
  }

  cancel(error: EgressError): void {
    this.#fail(error);
  }

  /** Bytes came. `bytes` may live in a buffer that is used again after this call. Returns false to stop reading for now. */
  receive(bytes: Buffer): boolean {
    const exchange = this.#exchange;
    if (exchange === null) {
      // Nothing was asked: whatever this is, it is no answer.
      this.socket.destroy();
      return false;
    }
    this.lastNowMs = this.#clock.now();
    return exchange.reader === null
      ? this.#readHead(exchange, bytes)
      : this.#readBody(exchange, exchange.reader, bytes, 0);
  }

  #readHead(exchange: Exchange, bytes: Buffer): boolean {
    if (exchange.facts.firstByteMs === 0) exchange.facts.firstByteMs = this.lastNowMs;
    const held = this.#partial.length;
    const text = this.#partial + bytes.latin1Slice(0, bytes.length);
    const span = findHead(text);
    const headBytes = span.kind === "whole" ? span.end - span.start : text.length;
    if (span.kind === "hopeless") return this.#invalid(span.why);
    if (headBytes > this.#limits.headBytesMax)
      return this.#invalid(`head of more than ${this.#limits.headBytesMax} bytes`);
    if (span.kind === "partial") {
      this.#partial = text;
      return true;
    }
    this.#partial = "";
    const head = parseResponseHead(text.slice(span.start, span.end), exchange.request.method, this.#limits);
    if (head instanceof EgressError) return this.#invalid(head.message);
    const next = span.next - held;
    if (
      head.status === 101 ||
      (exchange.request.method === "CONNECT" && head.framing === "none" && head.status >= 200)
    ) {
      return this.#switch(exchange, head, bytes.subarray(next));
    }
    if (head.status < 200) {
      if (++exchange.interims > INTERIM_MAX) return this.#invalid("too many interim responses");
      exchange.request.onInterim?.(head.status, head.fields);
      return next < bytes.length ? this.#readHead(exchange, bytes.subarray(next)) : true;
    }
    return this.#respond(exchange, head, text, span.next, bytes, next);
  }

  /** Hands on the final head and begins the body. `text` and `bytes` hold the same bytes; the body is at `textAt` and `at`. */
  #respond(
    exchange: Exchange,
    head: ResponseHead,
    text: string,
    textAt: number,
    bytes: Buffer,
    at: number,
  ): boolean {
    exchange.facts.status = head.status;
    exchange.keepAlive = head.keepAlive;
    exchange.responded = true;
    if (head.framing === "none") {
      const stated = head.contentLength >= 0 ? head.contentLength : null;
      this.#over(exchange, bytes.length === at);
      exchange.resolve(new EgressResponse(head.status, head.reason, head.fields, new Body(stated, null, "")));
      return true;
    }
    if (
      head.framing === "length" &&
      head.contentLength <= Math.min(WHOLE_BODY_BYTES_MAX, bytes.length - at)
    ) {
      const end = textAt + head.contentLength;
      this.#over(exchange, end === text.length);
      exchange.resolve(
        new EgressResponse(head.status, head.reason, head.fields, Body.of(text.slice(textAt, end))),
      );
      return true;
    }
    const body = new Body(head.framing === "length" ? head.contentLength : null, this);
    exchange.reader = new BodyReader(body, head.framing, head.contentLength, true, this.#limits.headBytesMax);
    exchange.resolve(new EgressResponse(head.status, head.reason, head.fields, body));
    return at < bytes.length ? this.#readBody(exchange, exchange.reader, bytes, at) : true;
  }

  #readBody(exchange: Exchange, reader: BodyReader, bytes: Buffer, from: number): boolean {
    const end = reader.feed(bytes, from);
    if (typeof end === "string") {
      this.#fail(new EgressError("UPSTREAM_ABORTED", end));
      return false;
    }
    if (reader.done) {
      this.#over(exchange, end === bytes.length);
      return true;
    }
    return !reader.full;
  }

  /** 101, or the answer to a CONNECT of ours: the socket belongs to whoever asked. */
  #switch(exchange: Exchange, head: ResponseHead, rest: Buffer): boolean {
    if (head.status === 101 && exchange.request.upgrade === "")
      return this.#invalid("101 without an Upgrade");
    this.#release(exchange);
    exchange.facts.status = head.status;
    this.#owner.gone(this);
    for (const event of ["data", "error", "end", "close", "drain"]) this.socket.removeAllListeners(event);
    // Until the splice listens, an error must not end the process.
    this.socket.on("error", () => {});
    this.socket.pause();
    const tunnel = { socket: this.socket, head: Buffer.from(rest) };
    exchange.resolve(new EgressResponse(head.status, head.reason, head.fields, Body.of(""), tunnel));
    return false;
  }

  #invalid(why: string): boolean {
    this.#fail(new EgressError("UPSTREAM_INVALID", why));
    return false;
  }

  /** The last byte of the response has been read. `clean`: nothing came behind it. */
  #over(exchange: Exchange, clean: boolean): void {
    this.#release(exchange);
    const reusable = clean && exchange.keepAlive && exchange.requestSent && !this.#gone;
    if (!exchange.requestSent) {
      // The answer came before the request was over: the rest of it must not be taken for the next request.
      exchange.request.body.cancel(
        new EgressError("UPSTREAM_ABORTED", "answered before the request was sent"),
      );
    }
    if (!reusable) {
      this.socket.destroy();
      return;
    }
    if (this.socket.isPaused()) this.socket.resume();
    this.lastWallMs = this.#clock.wall();
    this.#owner.idle(this);
  }

  #release(exchange: Exchange): void {
    this.#exchange = null;
    exchange.request.cancelled.off(this.#cancelled);
  }

  #onEnd(): void {
    const exchange = this.#exchange;
    if (exchange?.reader?.endsWithConnection) {
      this.#release(exchange);
      exchange.reader.body.end();
    } else if (exchange !== null)
      this.#fail(new EgressError("UPSTREAM_RESET", "ended before the answer was complete"));
    this.socket.destroy();
  }

  #onClose(): void {
    this.#gone = true;
    if (this.#exchange !== null)
      this.#fail(new EgressError("UPSTREAM_RESET", "closed before the answer was complete"));
    this.#owner.gone(this);
  }

  /** Ends the exchange, if any, with `error`, and the connection with it. */
  #fail(error: EgressError): void {
    const exchange = this.#exchange;
    if (exchange !== null) {
      this.#release(exchange);
      if (exchange.responded) {
        const cut =
          error.code === "UPSTREAM_RESET"
            ? new EgressError("UPSTREAM_ABORTED", error.message, error.cause)
            : error;
        exchange.facts.error = cut;
        exchange.reader?.body.fail(cut);
      } else {
        // Head bytes that came already make this a broken answer, which must not be asked for again.
        if (error.code === "UPSTREAM_RESET" && this.#partial !== "") error.reached = "final";
        exchange.facts.error = error;
        exchange.reject(error);
      }
      if (!exchange.requestSent) exchange.request.body.cancel(error);
    }
    this.socket.destroy();
  }
}

function outgoing(request: EgressRequest): OutgoingFraming {
  const { body } = request;
  if (body.length === null) return CHUNKED;
  if (body.length === 0 && !request.hasLength) return NO_BODY;
  return { kind: "length", bytes: body.length };
}
