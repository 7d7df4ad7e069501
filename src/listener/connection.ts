/**
 * One connection from the application: reads requests one after the other, hands each to `send`, writes what comes back.
 *
 * head ─▶ exchange (body in, response out) ─▶ head …  A request that the codec refuses ends the connection, because what follows
 * it cannot be trusted to be a request. Nothing about a call is decided here: that is between `send` and the policies.
 */
import type { Socket } from "node:net";
import { Body, type BodySource, EMPTY_BODY } from "../body.ts";
import { type ListenerRole, type Target, targetOf } from "../capture/target.ts";
import type { Clock } from "../clock.ts";
import type { Limits } from "../config/types.ts";
import { asEgressError, EgressError, type ErrorCode } from "../errors.ts";
import { EgressRequest, type EgressResponse, type FieldLines, type Send } from "../exchange.ts";
import { BodyReader } from "../http1/body-reader.ts";
import { BodyWriter } from "../http1/body-writer.ts";
import { findHead } from "../http1/find-head.ts";
import { parseRequestHead, type RequestHead } from "../http1/request-head.ts";
import { CHUNKED, NO_BODY, type OutgoingFraming, writeResponseHead } from "../http1/write-head.ts";
import { writeRefusal } from "./reply.ts";
import { splice } from "./splice.ts";

/** What all connections of a listener share. */
export interface ConnectionContext {
  readonly limits: Limits;
  /** Silence in the middle of a request body, or of a response that is not taken; 0: no bound. */
  readonly idleTimeoutMs: number;
  readonly clock: Clock;
  readonly send: Send;
  /** A short id for the next call, unique in this process. */
  readonly nextCallId: () => string;
  /** No new requests: answers carry `Connection: close`. */
  draining: boolean;
  /** Tunnels open now. */
  tunnels: number;
}

/** A body that is here with its head and no longer than this is handed on whole instead of streamed. */
const WHOLE_BODY_BYTES_MAX = 16 * 1024;
/** How long a connection that is being closed may still send what nobody reads, so that it sees the answer before a reset. */
const LINGER_MS = 1000;

type Phase = "head" | "exchange" | "closing" | "tunnel";

/** See the file's header. `closed` is called once. */
export class ClientConnection implements BodySource {
  readonly #socket: Socket;
  readonly #role: ListenerRole;
  readonly #context: ConnectionContext;
  #phase: Phase = "head";
  /** Bytes that have arrived and are not understood yet. Bounded: reading stops while a request is served. */
  #pending: Buffer | null = null;
  #head: RequestHead | null = null;
  #request: EgressRequest | null = null;
  #reader: BodyReader | null = null;
  #responseBody: Body | null = null;
  #responding = false;
  #keepAlive = false;
  #halfClosed = false;
  /** When what is waited for now began, or last made progress. */
  #sinceMs: number;

  constructor(
    socket: Socket,
    role: ListenerRole,
    context: ConnectionContext,
    closed: (self: ClientConnection) => void,
  ) {
    this.#socket = socket;
    this.#role = role;
    this.#context = context;
    this.#sinceMs = context.clock.now();
    socket.removeAllListeners("error");
    // The close that follows tells all there is to tell.
    socket.on("error", () => {});
    socket.on("data", this.#onData);
    socket.on("end", this.#onEnd);
    socket.on("drain", () => this.#onDrain());
    socket.on("close", () => {
      this.#onClose();
      closed(this);
    });
    socket.resume();
  }

  /** Whether a request is under way. */
  get busy(): boolean {
    return this.#phase === "exchange" || this.#phase === "tunnel";
  }

  /** Ends a connection that waits for a request; a busy one ends itself after its answer (`context.draining`). */
  endIfIdle(): void {
    if (this.#phase === "head" && this.#pending === null) this.#socket.end();
  }

  /** Ends it whatever it is doing. */
  destroy(): void {
    this.#socket.resetAndDestroy();
  }

  /** Called every second or so: ends what has waited too long. */
  sweep(nowMs: number): void {
    const waitedMs = nowMs - this.#sinceMs;
    const { limits, idleTimeoutMs } = this.#context;
    switch (this.#phase) {
      case "head":
        if (this.#pending !== null) {
          if (waitedMs >= limits.headTimeoutMs)
            this.#refuse(new EgressError("HEAD_TIMEOUT", "head not complete"));
        } else if (waitedMs >= limits.keepAliveMs) this.#socket.destroy();
        break;
      case "exchange": {
        if (idleTimeoutMs === 0 || waitedMs < idleTimeoutMs) break;
        if (this.#socket.writableNeedDrain) this.#socket.resetAndDestroy();
        else if (this.#reader !== null && !this.#socket.isPaused()) {
          this.#reader.body.fail(new EgressError("BODY_TIMEOUT", "request body stopped"));
        }
        break;
      }
      case "closing":
        if (waitedMs >= LINGER_MS) this.#socket.destroy();
        break;
      case "tunnel":
        break;
    }
  }

  // The source of the request's body.

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    if (this.#phase === "exchange" && this.#pending === null) this.#socket.resume();
  }

  /** Nobody wants the rest of the request's body: it is read and dropped, and the connection ends after the answer. */
  cancel(): void {
    this.#keepAlive = false;
    this.#socket.resume();
  }

  #onData = (chunk: Buffer): void => {
    if (this.#phase === "closing") return;
    this.#sinceMs = this.#context.clock.now();
    if (this.#reader !== null) {
      this.#feed(chunk, 0);
      return;
    }
    if (this.#pending !== null) this.#pending = Buffer.concat([this.#pending, chunk]);
    else this.#pending = chunk;
    if (this.#phase === "exchange") this.#socket.pause();
    else this.#readHead(this.#pending);
  };

  #readHead(bytes: Buffer): void {
    const { limits } = this.#context;
    const text = bytes.latin1Slice(0, Math.min(bytes.length, limits.headBytesMax + 16));
    const span = findHead(text);
    if (span.kind === "hopeless") return this.#refuse(new EgressError("BAD_REQUEST", span.why));
    if (span.kind === "partial" || span.end - span.start > limits.headBytesMax) {
      if (bytes.length <= limits.headBytesMax && span.kind === "partial") return;
      const inTarget = text.indexOf("\r\n", 2) < 0 || text.indexOf("\r\n", 2) > limits.targetBytesMax + 64;
      const code: ErrorCode = inTarget ? "TARGET_TOO_LONG" : "HEAD_TOO_LARGE";
      return this.#refuse(new EgressError(code, `head of more than ${limits.headBytesMax} bytes`));
    }
    const head = parseRequestHead(text.slice(span.start, span.end), limits);
    if (head instanceof EgressError) return this.#refuse(head);
    const target = targetOf(head, this.#role);
    if (target instanceof EgressError) return this.#refuse(target);
    this.#begin(head, target, bytes, span.next);
  }

  #begin(head: RequestHead, target: Target, bytes: Buffer, bodyAt: number): void {
    const { clock, limits, send } = this.#context;
    let body = EMPTY_BODY;
    let next = bodyAt;
    if (head.bodyLength !== 0) {
      if (
        head.bodyLength !== null &&
        head.bodyLength <= Math.min(WHOLE_BODY_BYTES_MAX, bytes.length - bodyAt)
      ) {
        next = bodyAt + head.bodyLength;
        body = Body.of(bytes.latin1Slice(bodyAt, next));
      } else {
        body = new Body(head.bodyLength, this);
        const framing = head.bodyLength === null ? "chunked" : "length";
        this.#reader = new BodyReader(body, framing, head.bodyLength ?? 0, false, limits.headBytesMax);
      }
    }
    const request = new EgressRequest({
      method: head.method,
      scheme: target.scheme,
      host: target.host,
      port: target.port,
      path: target.path,
      fields: head.fields,
      body,
      expectContinue: head.expectContinue,
      upgrade: head.upgrade,
      teTrailers: head.teTrailers,
      hasLength: head.hasLength,
      startedMs: clock.now(),
    });
    this.#head = head;
    this.#request = request;
    this.#keepAlive = head.keepAlive;
    this.#phase = "exchange";
    this.#pending = null;
    if (this.#reader !== null) this.#feed(bytes, next);
    else if (next < bytes.length) this.#pending = bytes.subarray(next);
    const tunnelWanted = head.method === "CONNECT" || head.upgrade !== "";
    if (tunnelWanted && this.#context.tunnels >= limits.tunnelsMax) {
      this.#fail(request, new EgressError("OVERLOADED", `limits.tunnels: ${limits.tunnelsMax} are open`));
      return;
    }
    request.onInterim = this.#onInterim;
    send(request).then(
      (response) => this.#respond(request, response),
      (error) => this.#fail(request, asEgressError(error)),
    );
  }

  /** Feeds the request's body; what follows it is kept for the next request. */
  #feed(bytes: Buffer, from: number): void {
    const reader = this.#reader!;
    const end = reader.feed(bytes, from);
    if (typeof end === "string") {
      this.#reader = null;
      this.#keepAlive = false;
      const error = new EgressError("BAD_REQUEST", end);
      reader.body.fail(error);
      this.#request?.cancelled.fire(error);
      return;
    }
    if (reader.done) this.#reader = null;
    if (end < bytes.length) this.#pending = bytes.subarray(end);
    if (reader.full || this.#pending !== null) this.#socket.pause();
  }

  #onInterim = (status: number, fields: FieldLines): void => {
    if (this.#responding || this.#head === null || this.#head.minor === 0) return;
    const reason = status === 100 ? "Continue" : status === 103 ? "Early Hints" : "";
    const line = { status, reason, keepAlive: true, sayKeepAlive: false, upgrade: "" };
    this.#socket.write(writeResponseHead(line, fields, NO_BODY), "latin1");
  };

  #respond(request: EgressRequest, response: EgressResponse): void {
    if (this.#request !== request) {
      // The application went away while the policies were at work.
      response.body.cancel(new EgressError("CLIENT_GONE", "closed before the response"));
      response.tunnel?.socket.destroy();
      return;
    }
    if (response.tunnel !== null) return this.#joinTunnel(request, response);
    const head = this.#head!;
    const body = response.body;
    const bodiless = head.method === "HEAD" || response.status === 204 || response.status === 304;
    const framing = outgoing(response.status, body, bodiless, head.minor);
    this.#responding = true;
    // A request whose body is still coming has to be read to its end before another could begin; closing is cheaper and safer.
    this.#keepAlive =
      this.#keepAlive &&
      !this.#halfClosed &&
      !this.#context.draining &&
      request.body.over &&
      (bodiless || framing !== NO_BODY);
    const text = writeResponseHead(
      {
        status: response.status,
        reason: response.reason,
        keepAlive: this.#keepAlive,
        sayKeepAlive: head.minor === 0,
        upgrade: "",
      },
      response.fields,
      framing,
    );
    if (body.whole !== null) {
      body.passedBytes = body.whole.length;
      this.#socket.write(text + body.whole, "latin1");
      this.#finish(null);
      return;
    }
    this.#responseBody = body;
    this.#socket.cork();
    this.#socket.write(text, "latin1");
    body.pipe(new BodyWriter(this.#socket, framing === CHUNKED, (error) => this.#finish(error)));
    this.#socket.uncork();
  }

  #joinTunnel(request: EgressRequest, response: EgressResponse): void {
    const tunnel = response.tunnel!;
    const socket = this.#socket;
    this.#phase = "tunnel";
    this.#context.tunnels += 1;
    const upgrade = response.status === 101 ? request.upgrade : "";
    const line = {
      status: response.status,
      reason: response.reason,
      keepAlive: true,
      sayKeepAlive: false,
      upgrade,
    };
    socket.write(writeResponseHead(line, response.fields, NO_BODY), "latin1");
    if (tunnel.head.length > 0) socket.write(tunnel.head);
    socket.off("data", this.#onData);
    socket.off("end", this.#onEnd);
    if (this.#pending !== null) tunnel.socket.write(this.#pending);
    this.#pending = null;
    splice(socket, tunnel.socket, ({ bytesUp, bytesDown, error }) => {
      this.#context.tunnels -= 1;
      request.trail.push({ kind: "tunnel", bytesUp, bytesDown });
      request.settled.fire({
        error: error === null ? null : new EgressError("UPSTREAM_ABORTED", error.message, error),
      });
    });
  }

  /** Writes a refusal in place of the response, or, when the response has begun, makes the break visible. */
  #fail(request: EgressRequest, error: EgressError): void {
    if (this.#request !== request) return;
    if (this.#responding) return this.#finish(error);
    this.#responding = true;
    const head = this.#head!;
    this.#keepAlive =
      this.#keepAlive &&
      !this.#halfClosed &&
      !this.#context.draining &&
      request.body.over &&
      head.minor === 1;
    this.#socket.write(
      writeRefusal(error, this.#context.nextCallId(), this.#keepAlive, head.method === "HEAD"),
      "latin1",
    );
    this.#settle(error);
    this.#next();
  }

  /** The response is over: `null` when all of it was written. */
  #finish(error: EgressError | null): void {
    this.#settle(error);
    if (error !== null) this.#socket.resetAndDestroy();
    else this.#next();
  }

  #settle(error: EgressError | null): void {
    const request = this.#request;
    this.#request = null;
    this.#responseBody = null;
    request?.settled.fire({ error });
  }

  /** After an answer: the next request of this connection, or its end. */
  #next(): void {
    this.#sinceMs = this.#context.clock.now();
    this.#responding = false;
    if (!this.#keepAlive) return this.#linger();
    this.#phase = "head";
    const pending = this.#pending;
    if (pending !== null) this.#readHead(pending);
    if (this.#pending === null || this.#phase === "head") this.#socket.resume();
  }

  /** Refuses what is no request, and ends. */
  #refuse(error: EgressError): void {
    this.#pending = null;
    this.#socket.write(writeRefusal(error, this.#context.nextCallId(), false, false), "latin1");
    this.#linger();
  }

  /** Ends our side and drops what still comes: a close with unread bytes would be a reset that may overtake the answer. */
  #linger(): void {
    this.#phase = "closing";
    this.#reader = null;
    this.#pending = null;
    this.#sinceMs = this.#context.clock.now();
    this.#socket.end();
    this.#socket.resume();
  }

  #onDrain(): void {
    this.#sinceMs = this.#context.clock.now();
    this.#responseBody?.resume();
  }

  /** The application ended its side. A half-closed client still gets its answer (RFC 9112 §9.6). */
  #onEnd = (): void => {
    this.#halfClosed = true;
    if (this.#phase === "exchange" && this.#reader === null) return;
    if (this.#phase === "exchange")
      this.#reader!.body.fail(new EgressError("CLIENT_GONE", "ended inside the request body"));
    else if (this.#phase === "head" && this.#pending !== null) {
      return this.#refuse(new EgressError("BAD_REQUEST", "ended inside a head"));
    }
    this.#socket.end();
  };

  #onClose(): void {
    const request = this.#request;
    if (request === null || this.#phase === "tunnel") return;
    const error = new EgressError("CLIENT_GONE", "the application closed its connection");
    this.#reader?.body.fail(error);
    this.#responseBody?.cancel(error);
    request.cancelled.fire(error);
    this.#settle(error);
  }
}

function outgoing(status: number, body: Body, bodiless: boolean, minor: number): OutgoingFraming {
  if (status === 204 || (bodiless && body.length === null)) return NO_BODY;
  if (body.length !== null) return { kind: "length", bytes: body.length };
  // An HTTP/1.0 client cannot read chunks: its body ends with the connection.
  return minor === 1 ? CHUNKED : NO_BODY;
}
