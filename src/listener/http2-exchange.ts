/**
 * One stream of an application's HTTP/2 connection: a request in, its answer out. Decides nothing about the call: that is between
 * `send` and the policies. What ends it, and how that looks to the application, is here.
 */
import { constants, type ServerHttp2Stream, type ServerStreamResponseOptions } from "node:http2";
import { type BodySink, EMPTY_BODY } from "../body.ts";
import type { ListenerRole } from "../capture/target.ts";
import { asEgressError, EgressError, ERROR_CODES } from "../errors.ts";
import { EgressRequest, type EgressResponse, type FieldLines } from "../exchange.ts";
import { Patience } from "../patience.ts";
import type { ConnectionContext } from "./context.ts";
import { grpcRefusal, isGrpc } from "./grpc-reply.ts";
import { answerList, headerObjectOf, isContentless, refusalContent, refusalList } from "./http2-answer.ts";
import { Http2Body } from "./http2-body.ts";
import { type Http2Head, readHttp2Head } from "./http2-request.ts";

/** Higher ones are no statuses (RFC 9110 §15), and clients of HTTP/2 take them for an error of the protocol. */
const STATUS_MAX = 599;

/** What `respond` takes besides the documented options: a `date` is the upstream's to give. */
interface AnswerOptions extends ServerStreamResponseOptions {
  readonly sendDate: false;
}
const EMPTY: AnswerOptions = { endStream: true, sendDate: false };
const CONTENT: AnswerOptions = { endStream: false, sendDate: false };
const CONTENT_AND_TRAILERS: AnswerOptions = { waitForTrailers: true, sendDate: false };

/** See the file's header. `over` is called once, when the stream is closed. */
export class Http2Exchange implements BodySink {
  readonly #stream: ServerHttp2Stream;
  readonly #context: ConnectionContext;
  readonly #patience = new Patience();
  /** `null` before the call is on its way, and again when it is over. */
  #request: EgressRequest | null = null;
  #incoming: Http2Body | null = null;
  #response: EgressResponse | null = null;
  /** What was refused or asked for, which tells how an error is to be said. */
  #requestFields: FieldLines = "";
  /** An answer may have no content. */
  #headOnly = false;
  #trailers: FieldLines = "";
  /** Bytes of the answer that were written. */
  #writtenBytes = 0;
  /** Everything of the answer has been written. */
  #answered = false;

  constructor(stream: ServerHttp2Stream, context: ConnectionContext, over: (self: Http2Exchange) => void) {
    this.#stream = stream;
    this.#context = context;
    // The close that follows tells all there is to tell.
    stream.on("error", () => {});
    stream.on("aborted", () => this.#gone());
    stream.on("drain", () => this.#response?.body.resume());
    stream.on("finish", () => this.#finished());
    stream.on("close", () => {
      // A stream may close before it tells that all of it was written.
      if (this.#answered && stream.rstCode === constants.NGHTTP2_NO_ERROR) this.#settle(null);
      this.#gone();
      over(this);
    });
  }

  /** Bytes that wait here for either side. */
  get bufferedBytes(): number {
    return this.#stream.writableLength + this.#stream.readableLength;
  }

  /** Takes the request whose header list is `raw`, or answers why not. */
  begin(raw: readonly string[], role: ListenerRole): void {
    this.#guarded(() => this.#begin(raw, role));
  }

  #begin(raw: readonly string[], role: ListenerRole): void {
    const { limits } = this.#context;
    this.#headOnly = raw[raw.indexOf(":method") + 1] === "HEAD";
    const head = readHttp2Head(raw, this.#stream.endAfterHeaders, role, limits);
    this.#requestFields = head.fields;
    if ("error" in head) return this.#refuse(head.error, this.#context.nextCallId());
    const request = this.#capture(head, role);
    this.#request = request;
    request.onInterim = (status, fields) => this.#interim(status, fields);
    const { draining, overloaded } = this.#context;
    if (draining) return this.#fail(request, new EgressError("DRAINING", "a stream of a session that ends"));
    if (overloaded) return this.#fail(request, new EgressError("OVERLOADED", "limits.total_buffer"));
    this.#send(request).then(
      (response) => this.#answer(request, response),
      (error) => this.#guarded(() => this.#fail(request, asEgressError(error))),
    );
  }

  /** Called every second or so: ends what has waited too long. */
  sweep(nowMs: number): void {
    const { idleTimeoutMs } = this.#context;
    const taking = this.#stream.writableLength > 0;
    const wait = taking ? "taking" : this.#incoming?.owed ? "body" : "nothing";
    const limitMs = wait === "nothing" || idleTimeoutMs === 0 ? Number.POSITIVE_INFINITY : idleTimeoutMs;
    const progress = (this.#incoming?.receivedBytes ?? 0) + this.#writtenBytes - this.#stream.writableLength;
    if (!this.#patience.exhausted(wait, progress, nowMs, limitMs)) return;
    if (taking) this.#break(new EgressError("CLIENT_GONE", "the application does not take the answer"));
    else this.#spoilt(new EgressError("BODY_TIMEOUT", "request body stopped"));
  }

  // The sink of the answer's body.

  write(chunk: Uint8Array): boolean {
    if (this.#stream.destroyed || this.#stream.writableEnded) return true;
    this.#writtenBytes += chunk.length;
    return this.#stream.write(chunk);
  }

  end(trailers: FieldLines): void {
    this.#trailers = trailers;
    this.#answered = true;
    this.#stream.end();
  }

  abort(error: EgressError): void {
    this.#break(error);
  }

  #capture(head: Http2Head, role: ListenerRole): EgressRequest {
    const { clock, nextCallId, limits } = this.#context;
    const { target, bodyLength, expectContinue } = head;
    if (bodyLength !== 0) {
      this.#incoming = new Http2Body({
        stream: this.#stream,
        length: bodyLength,
        limits,
        awaitsContinue: expectContinue,
        spoilt: (error) => this.#spoilt(error),
      });
    } else this.#drop();
    return new EgressRequest({
      id: nextCallId(),
      destination: role.kind === "local" ? role.destination : "",
      method: target.method,
      scheme: target.scheme,
      host: target.host,
      port: target.port,
      path: target.path,
      fields: head.fields,
      body: this.#incoming?.body ?? EMPTY_BODY,
      expectContinue,
      teTrailers: head.teTrailers,
      hasLength: head.hasLength,
      httpVersion: 2,
      startedMs: clock.now(),
    });
  }

  #send(request: EgressRequest): Promise<EgressResponse> {
    try {
      return this.#context.send(request);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #interim(status: number, fields: FieldLines): void {
    if (this.#request === null || this.#stream.headersSent || this.#stream.closed) return;
    if (status === 100 && this.#incoming !== null) this.#incoming.awaitsContinue = false;
    this.#guarded(() => this.#stream.additionalHeaders(headerObjectOf([":status", String(status)], fields)));
  }

  #answer(request: EgressRequest, response: EgressResponse): void {
    if (this.#request !== request) {
      // The application went away while the policies were at work.
      response.body.cancel(new EgressError("CLIENT_GONE", "reset before the response"));
      return;
    }
    this.#guarded(() => this.#respond(request, response));
  }

  /** A defect of ours in one exchange ends that exchange, not the connection and not the process. */
  #guarded(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#break(asEgressError(error));
    }
  }

  #respond(request: EgressRequest, response: EgressResponse): void {
    const { status, body } = response;
    if (status > STATUS_MAX) {
      const error = new EgressError("UPSTREAM_INVALID", `status ${status}`);
      body.cancel(error);
      return this.#fail(request, error);
    }
    this.#response = response;
    const list = answerList(response);
    if (isContentless(request.method, status)) {
      this.#stream.respond(list, EMPTY);
      return body.pipe(this.#contentless());
    }
    if (body.whole === null) {
      // Whether trailers come is known behind the last byte.
      this.#stream.on("wantTrailers", () =>
        this.#guarded(() => this.#stream.sendTrailers(headerObjectOf([], this.#trailers))),
      );
      this.#stream.respond(list, CONTENT_AND_TRAILERS);
      return body.pipe(this);
    }
    body.passedBytes = body.whole.length;
    this.#answered = true;
    this.#respondWhole(list, body.whole);
  }

  #respondWhole(list: string[], content: string): void {
    this.#stream.respond(list, content === "" ? EMPTY : CONTENT);
    if (content !== "") this.#stream.end(Buffer.from(content, "latin1"));
  }

  /** Takes the content that an answer without any cannot carry, and waits for its end. */
  #contentless(): BodySink {
    return {
      write: () => true,
      end: () => {
        this.#answered = true;
        this.#finished();
      },
      abort: (error) => this.#break(error),
    };
  }

  /** Writes a refusal in place of the response, or, when the response has begun, makes the break visible. */
  #fail(request: EgressRequest, error: EgressError): void {
    if (this.#request !== request) return;
    if (this.#stream.headersSent || ERROR_CODES[error.code].status === 0) return this.#break(error);
    this.#settle(error);
    this.#refuse(error, request.id);
  }

  #refuse(error: EgressError, callId: string): void {
    if (this.#stream.destroyed || this.#stream.closed) return;
    this.#answered = true;
    this.#drop();
    if (isGrpc(this.#requestFields)) return this.#respondWhole(grpcRefusal(error, callId), "");
    const content = refusalContent(error, callId);
    this.#respondWhole(refusalList(error, content), this.#headOnly ? "" : content);
  }

  /**
   * What still comes of the request is not wanted. A stream that ended with its head is not touched: Node destroys one that has been
   * read before its last write is done, and makes an error for that (7 % of the CPU of a call).
   */
  #drop(): void {
    if (!this.#stream.endAfterHeaders) this.#stream.resume();
  }

  /** All of the answer has left: what still comes of the request is not wanted (RFC 9113 §8.1). */
  #finished(): void {
    if (!this.#answered) return;
    this.#settle(null);
    const { endAfterHeaders, readableEnded } = this.#stream;
    if (!endAfterHeaders && !readableEnded) this.#stream.close(constants.NGHTTP2_NO_ERROR);
  }

  /** The request's body is no valid one, or has stopped. */
  #spoilt(error: EgressError): void {
    this.#incoming?.body.fail(error);
    this.#request?.cancelled.fire(error);
  }

  /** The answer cannot be completed, and the application has to see that. */
  #break(error: EgressError): void {
    this.#response?.body.cancel(error);
    this.#request?.cancelled.fire(error);
    this.#settle(error);
    if (!this.#stream.destroyed) this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  }

  /** The application reset the stream, or its connection is gone. */
  #gone(): void {
    if (this.#request === null) return;
    const request = this.#request;
    const error = new EgressError("CLIENT_GONE", "the application reset the stream");
    if (this.#gaveAll()) this.#settle(null);
    this.#incoming?.body.fail(error);
    this.#response?.body.cancel(error);
    request.cancelled.fire(error);
    this.#settle(error);
    // A stream that was reset with NO_ERROR closes only when what it brought has been read.
    this.#stream.resume();
  }

  /** The application has every byte that was promised: it need not wait to be told that the stream ends, and curl does not. */
  #gaveAll(): boolean {
    return this.#writtenBytes === this.#response?.body.length && this.#stream.writableLength === 0;
  }

  #settle(error: EgressError | null): void {
    const request = this.#request;
    this.#request = null;
    request?.settled.fire({ error });
  }
}
