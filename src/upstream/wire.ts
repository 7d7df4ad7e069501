/**
 * The one door to the network: a connection to an upstream that carries one exchange at a time. Writes requests with framing of
 * our own, reads responses strictly. Bytes that nobody asked for (behind a response, or on an idle connection) end it, because
 * they could be taken for the next answer (RFC 9112 §9.3: response splitting).
 */
import type { Socket } from "node:net";
import { Body, type BodySink, type BodySource } from "../body.ts";
import type { Clock } from "../clock.ts";
import { asEgressError, EgressError } from "../errors.ts";
import { type AttemptFacts, type EgressRequest, EgressResponse, type FieldLines } from "../exchange.ts";
import { BodyReader } from "../http1/body-reader.ts";
import { BodyWriter } from "../http1/body-writer.ts";
import type { HeadLimits } from "../http1/request-head.ts";
import type { ResponseHead } from "../http1/response-head.ts";
import { CHUNKED } from "../http1/write-head.ts";
import { Patience } from "../patience.ts";
import { connectionFailure } from "./failure.ts";
import { InFlight } from "./in-flight.ts";
import { outgoingFraming, outgoingHead } from "./outgoing.ts";
import { isOffered, readHead } from "./read-head.ts";

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

/** See the file's header. Made around a socket that is connected and, where asked for, verified. */
export class Wire implements BodySource {
  readonly key: string;
  readonly socket: Socket;
  /** Field lines that every request here carries besides its own, or "". */
  readonly #mark: FieldLines;
  readonly #clock: Clock;
  readonly #limits: HeadLimits;
  readonly #owner: WireOwner;
  readonly #patience = new Patience();
  #exchange: InFlight | null = null;
  /** Set while the response's body is coming. */
  #reader: BodyReader | null = null;
  /** Head bytes that have arrived and are no whole head yet, latin1. */
  #partial = "";
  /** Reading has stopped because the response is not taken as fast as it comes. */
  #heldBack = false;
  /** When it last became idle, by both clocks: either may stand still in a freeze. */
  #idleNowMs: number;
  #idleWallMs: number;
  /** Silence that ends an exchange; 0: no bound. Set for each. */
  idleTimeoutMs = 0;

  constructor(
    key: string,
    socket: Socket,
    mark: FieldLines,
    limits: HeadLimits,
    clock: Clock,
    owner: WireOwner,
  ) {
    this.key = key;
    this.socket = socket;
    this.#mark = mark;
    this.#clock = clock;
    this.#limits = limits;
    this.#owner = owner;
    this.#idleNowMs = clock.now();
    this.#idleWallMs = clock.wall();
    socket.on("error", this.#onError);
    socket.on("end", this.#onEnd);
    socket.on("close", this.#onClose);
    socket.on("drain", this.#onDrain);
  }

  /** Milliseconds since it became idle, by the clock that moved further. */
  idleMs(): number {
    return Math.max(this.#clock.now() - this.#idleNowMs, this.#clock.wall() - this.#idleWallMs);
  }

  /** Called every second or so: ends an exchange in which the upstream has not moved for too long. */
  sweep(nowMs: number): void {
    const limitMs = this.idleTimeoutMs === 0 ? Number.POSITIVE_INFINITY : this.idleTimeoutMs;
    const owes =
      !this.#heldBack && this.#exchange !== null && this.#exchange.owesAnswer(this.socket.writableNeedDrain);
    const wait = owes ? "upstream" : "nothing";
    const progress = this.socket.bytesRead + this.socket.bytesWritten;
    const exhausted = this.#patience.exhausted(wait, progress, nowMs, limitMs);
    if (exhausted && owes) {
      this.#fail(new EgressError("UPSTREAM_TIMEOUT", `silent for ${limitMs} ms`));
    }
  }

  /** Ends it; an exchange under way fails. */
  destroy(): void {
    this.#close();
  }

  /** At once no longer offered to anybody: the socket's own `close` comes a turn later. */
  #close(): void {
    this.socket.destroy();
    this.#owner.gone(this);
  }

  /** Sends `request` and resolves with the head of its response. Only while idle. */
  send(request: EgressRequest, facts: AttemptFacts): Promise<EgressResponse> {
    return new Promise((resolve, reject) => {
      const body = request.body;
      const exchange = new InFlight(request, facts, resolve, reject);
      this.#exchange = exchange;
      if (this.socket.destroyed) return this.#fail(neverSent());
      if (request.cancelled.value !== undefined) return this.#fail(request.cancelled.value);
      request.cancelled.on(this.#fail);
      const framing = outgoingFraming(request);
      const head = outgoingHead(request, framing, this.#mark);
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

  #requestWriter(exchange: InFlight, chunked: boolean): BodySink {
    return new BodyWriter(this.socket, chunked, (error) => {
      if (this.#exchange !== exchange) return;
      if (error !== null) return this.#fail(error);
      exchange.requestSent = true;
    });
  }

  // The source of the response's body.

  pause(): void {
    this.#heldBack = true;
    this.socket.pause();
  }

  resume(): void {
    this.#heldBack = false;
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
      this.#close();
      return false;
    }
    try {
      return this.#reader === null
        ? this.#readHead(exchange, bytes)
        : this.#readBody(exchange, this.#reader, bytes, 0);
    } catch (error) {
      // A defect of ours in one exchange ends that exchange, not the process.
      return this.#refuse(asEgressError(error));
    }
  }

  #readHead(exchange: InFlight, bytes: Buffer): boolean {
    const { request, facts } = exchange;
    if (facts.firstByteMs === 0) facts.firstByteMs = this.#clock.now();
    const held = this.#partial.length;
    const text = this.#partial + bytes.latin1Slice(0, bytes.length);
    const read = readHead(text, request.method, this.#limits);
    if (read === null) {
      this.#partial = text;
      return true;
    }
    if (read instanceof EgressError) return this.#refuse(read);
    this.#partial = "";
    const { head } = read;
    const next = read.next - held;
    if (head.status === 101) return this.#switch(exchange, head, bytes.subarray(next));
    if (head.status >= 200) return this.#respond(exchange, head, text, read.next, bytes, next);
    if (++exchange.interims > INTERIM_MAX) return this.#invalid("too many interim responses");
    request.onInterim?.(head.status, head.fields);
    return next < bytes.length ? this.#readHead(exchange, bytes.subarray(next)) : true;
  }

  /** Hands on the final head and begins the body. `text` and `bytes` hold the same bytes; the body is at `textAt` and `at`. */
  #respond(
    exchange: InFlight,
    head: ResponseHead,
    text: string,
    textAt: number,
    bytes: Buffer,
    at: number,
  ): boolean {
    const { status, reason, fields, framing, contentLength } = head;
    exchange.facts.status = status;
    exchange.keepAlive = head.keepAlive;
    exchange.responded = true;
    if (framing === "none") {
      this.#over(exchange, bytes.length === at);
      const stated = contentLength >= 0 ? contentLength : null;
      exchange.resolve(new EgressResponse(status, reason, fields, new Body(stated, null, "")));
      return true;
    }
    if (framing === "length" && contentLength <= Math.min(WHOLE_BODY_BYTES_MAX, bytes.length - at)) {
      const end = textAt + contentLength;
      this.#over(exchange, end === text.length);
      exchange.resolve(new EgressResponse(status, reason, fields, Body.of(text.slice(textAt, end))));
      return true;
    }
    const body = new Body(framing === "length" ? contentLength : null, this);
    exchange.body = body;
    const reader = new BodyReader(body, framing, contentLength, true, this.#limits.headBytesMax);
    this.#reader = reader;
    exchange.resolve(new EgressResponse(status, reason, fields, body));
    return at < bytes.length ? this.#readBody(exchange, reader, bytes, at) : true;
  }

  #readBody(exchange: InFlight, reader: BodyReader, bytes: Buffer, from: number): boolean {
    const end = reader.feed(bytes, from);
    // Whoever takes the body may have ended the exchange meanwhile.
    if (this.#exchange !== exchange) return false;
    if (typeof end === "string") {
      this.#fail(new EgressError("UPSTREAM_ABORTED", end));
      return false;
    }
    if (reader.done) {
      this.#over(exchange, end === bytes.length);
      return true;
    }
    // A read of the same burst that brings no body must not pass for the receiver's word that it takes more.
    if (reader.full) this.#heldBack = true;
    return !this.#heldBack;
  }

  /** 101: the socket belongs to whoever asked. `rest` came right behind it. */
  #switch(exchange: InFlight, head: ResponseHead, rest: Buffer): boolean {
    if (!isOffered(exchange.request.upgrade, head.upgrade))
      return this.#invalid("101 that was not asked for");
    // RFC 9110 §7.8: not before the request has been received to its end, or its rest would be read as the other protocol.
    if (!exchange.requestSent) return this.#invalid("101 in the middle of the request");
    this.#release(exchange);
    exchange.facts.status = head.status;
    const { socket } = this;
    socket.removeAllListeners("data");
    socket.off("end", this.#onEnd).off("close", this.#onClose).off("drain", this.#onDrain);
    // The error listener stays until the splice has its own; without an exchange it does nothing but destroy what is broken.
    socket.allowHalfOpen = true;
    socket.pause();
    this.#owner.gone(this);
    const tunnel = { socket, head: Buffer.from(rest), protocol: head.upgrade };
    exchange.resolve(new EgressResponse(head.status, head.reason, head.fields, Body.of(""), tunnel));
    return false;
  }

  #invalid(why: string): boolean {
    return this.#refuse(new EgressError("UPSTREAM_INVALID", why));
  }

  #refuse(error: EgressError): boolean {
    this.#fail(error);
    return false;
  }

  /** The last byte of the response has been read. `clean`: nothing came behind it. */
  #over(exchange: InFlight, clean: boolean): void {
    this.#release(exchange);
    if (!exchange.requestSent) {
      // The answer came before the request was over: the rest of it must not be taken for the next request.
      exchange.request.body.cancel(
        new EgressError("UPSTREAM_ABORTED", "answered before the request was sent"),
      );
    }
    if (!clean || !exchange.keepAlive || !exchange.requestSent || this.socket.destroyed) {
      this.#close();
      return;
    }
    if (this.#heldBack || this.socket.isPaused()) this.socket.resume();
    this.#heldBack = false;
    this.#idleNowMs = this.#clock.now();
    this.#idleWallMs = this.#clock.wall();
    this.#owner.idle(this);
  }

  #release(exchange: InFlight): void {
    this.#exchange = null;
    this.#reader = null;
    exchange.request.cancelled.off(this.#fail);
  }

  #onDrain = (): void => this.#exchange?.request.body.resume();

  #onError = (error: Error): void => this.#fail(connectionFailure("send", error));

  #onEnd = (): void => {
    const exchange = this.#exchange;
    const reader = this.#reader;
    if (exchange !== null && reader?.endsWithConnection) {
      exchange.keepAlive = false;
      this.#over(exchange, true);
      reader.body.end();
    } else if (exchange !== null) {
      this.#fail(new EgressError("UPSTREAM_RESET", "ended before the answer was complete"));
    }
    this.#close();
  };

  #onClose = (): void => {
    if (this.#exchange !== null) {
      this.#fail(new EgressError("UPSTREAM_RESET", "closed before the answer was complete"));
    }
    this.#owner.gone(this);
  };

  /** Ends the exchange, if any, with `error`, and the connection with it. */
  #fail = (error: EgressError): void => {
    const exchange = this.#exchange;
    if (exchange !== null) {
      this.#release(exchange);
      exchange.fail(error);
    }
    this.#close();
  };
}

/** The connection was gone before anything was written to it. */
function neverSent(): EgressError {
  const error = new EgressError("UPSTREAM_RESET", "closed before the request");
  error.reached = "unsent";
  return error;
}
