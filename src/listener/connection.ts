/**
 * One connection from the application: reads requests one after the other, hands each to `send`, writes what comes back.
 *
 * head ─▶ exchange (body in, response out) ─▶ head …  A request that the codec refuses ends the connection, because what follows
 * it cannot be trusted to be a request. Nothing about a call is decided here: that is between `send` and the policies.
 */
import type { Socket } from "node:net";
import { Body, EMPTY_BODY } from "../body.ts";
import { captureRequest } from "../capture/request.ts";
import { type ListenerRole, type Target, targetOf } from "../capture/target.ts";
import { asEgressError, EgressError, ERROR_CODES } from "../errors.ts";
import type { EgressRequest, EgressResponse, FieldLines, Tunnel } from "../exchange.ts";
import type { RequestHead } from "../http1/request-head.ts";
import { CHUNKED, NO_BODY } from "../http1/write-head.ts";
import { Patience } from "../patience.ts";
import { adopt } from "./adopt.ts";
import { answerFraming, answerHead, isBodiless, TUNNEL_OPEN } from "./answer.ts";
import { AnswerWriter } from "./answer-writer.ts";
import type { ConnectionContext } from "./context.ts";
import { IncomingBody } from "./incoming-body.ts";
import { mayBePlain, Opening } from "./opening.ts";
import { readHead } from "./read-head.ts";
import { joinTunnel } from "./tunnel.ts";
import { type Phase, waitMsMax, waitOf } from "./waits.ts";

/** A body that is here with its head and no longer than this is handed on whole instead of streamed. */
const WHOLE_BODY_BYTES_MAX = 16 * 1024;

/** See the file's header. `closed` is called once. */
export class ClientConnection {
  readonly #socket: Socket;
  #role: ListenerRole;
  readonly #context: ConnectionContext;
  readonly #patience = new Patience();
  readonly #writer: AnswerWriter;
  #phase: Phase = "head";
  /** Bytes that have arrived and are not understood yet. Bounded: reading stops while a request is served. */
  #pending: Buffer | null = null;
  /** Requests begun so far. */
  #requests = 0;
  #head: RequestHead | null = null;
  #request: EgressRequest | null = null;
  /** The request's body while it is still coming. */
  #incoming: IncomingBody | null = null;
  #keepAlive = false;
  #halfClosed = false;
  /** A tunnel that has been promised and not been dialled yet. */
  #opening: Opening | null = null;
  /** Counted in `context.tunnels`. */
  #holdsTunnel = false;

  constructor(
    accepted: Socket,
    role: ListenerRole,
    context: ConnectionContext,
    closed: (self: ClientConnection) => void,
  ) {
    const socket = adopt(accepted, (bytes) => this.#receive(bytes));
    this.#socket = socket;
    this.#writer = new AnswerWriter(socket);
    this.#role = role;
    this.#context = context;
    // The close that follows tells all there is to tell.
    socket.on("error", () => {});
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
    if (this.#phase === "opening") this.#socket.destroy();
    if (this.#phase !== "head") return;
    if (this.#pending === null) this.#linger();
    else this.#refuse(new EgressError("DRAINING", "inside a head"));
  }

  /** Ends it whatever it is doing; only a connection that has got all its answers does not see a reset. */
  destroy(): void {
    if (this.#phase === "closing" && this.#socket.writableLength === 0) this.#socket.destroy();
    else this.#socket.resetAndDestroy();
  }

  /** Called every second or so: ends what has waited too long. */
  sweep(nowMs: number): void {
    const { limits, idleTimeoutMs } = this.#context;
    const owesBody = this.#incoming !== null && !this.#incoming.awaitsContinue;
    const wait = waitOf(this.#phase, this.#socket, this.#pending !== null, owesBody);
    const moves = wait === "body" || wait === "taking";
    const progress = moves ? this.#socket.bytesRead + this.#socket.bytesWritten : this.#requests;
    if (!this.#patience.exhausted(wait, progress, nowMs, waitMsMax(wait, limits, idleTimeoutMs))) return;
    if (wait === "head") this.#refuse(new EgressError("HEAD_TIMEOUT", "head not complete"));
    else if (wait === "body")
      this.#breakOff(this.#incoming!, new EgressError("BODY_TIMEOUT", "request body stopped"));
    else if (wait === "taking") this.#socket.resetAndDestroy();
    else this.#socket.destroy();
  }

  /** Bytes came; they are only lent. Returns false to stop reading for now. */
  #receive(bytes: Buffer): boolean {
    try {
      return this.#read(bytes);
    } catch (error) {
      this.#collapse(error);
      return false;
    }
  }

  #read(bytes: Buffer): boolean {
    if (this.#phase === "tunnel") return this.#socket.push(Buffer.from(bytes));
    if (this.#incoming !== null) this.#feed(this.#incoming, bytes, 0);
    else if (this.#phase === "head") this.#readHead(this.#joined(bytes));
    else if (this.#phase === "opening") this.#lookInside(this.#joined(bytes));
    else if (this.#phase === "exchange") {
      this.#pending = this.#joined(Buffer.from(bytes));
      this.#socket.pause();
    }
    return true;
  }

  #joined(bytes: Buffer): Buffer {
    return this.#pending === null ? bytes : Buffer.concat([this.#pending, bytes]);
  }

  #readHead(bytes: Buffer): void {
    const read = readHead(bytes, this.#context.limits);
    if (read === null) {
      if (this.#halfClosed) return this.#refuse(new EgressError("BAD_REQUEST", "ended inside a head"));
      this.#keep(bytes);
      return;
    }
    if (read instanceof EgressError) return this.#refuse(read);
    const target = targetOf(read.head, this.#role);
    if (target instanceof EgressError) return this.#refuse(target);
    const { admits } = this.#context;
    if (read.head.method === "CONNECT" && mayBePlain(target) && admits(target.host, target.port)) {
      this.#openTunnel(read.head, target, bytes.subarray(read.next));
    } else this.#begin(read.head, target, bytes, read.next);
  }

  /** A tunnel to a port where plain HTTP may be spoken: opened at once, dialled when it is known that it is not. */
  #openTunnel(head: RequestHead, target: Target, early: Buffer): void {
    this.#phase = "opening";
    this.#pending = null;
    this.#opening = new Opening(head, target, this.#context.clock, () => this.#dialTunnel());
    this.#socket.write(TUNNEL_OPEN, "latin1");
    if (early.length > 0) this.#lookInside(early);
  }

  #lookInside(bytes: Buffer): void {
    this.#keep(bytes);
    const opening = this.#opening!;
    const spoken = opening.judge(bytes);
    if (spoken === "unknown") return;
    if (spoken === "other") return this.#dialTunnel();
    const { host, port } = opening.target;
    this.#opening = null;
    this.#role = { kind: "tunnel", host, port };
    this.#phase = "head";
    this.#readHead(this.#pending!);
  }

  #dialTunnel(): void {
    const { head, target } = this.#opening!;
    this.#opening!.cancel();
    this.#begin(head, target, this.#pending ?? Buffer.alloc(0), 0);
  }

  #begin(head: RequestHead, target: Target, bytes: Buffer, bodyAt: number): void {
    const { clock, nextCallId } = this.#context;
    const { bodyLength } = head;
    const isHere = bodyLength !== null && bodyLength <= Math.min(WHOLE_BODY_BYTES_MAX, bytes.length - bodyAt);
    const next = isHere ? bodyAt + bodyLength : bodyAt;
    const body = !isHere
      ? this.#streamBody(head)
      : bodyLength === 0
        ? EMPTY_BODY
        : Body.of(bytes.latin1Slice(bodyAt, next));
    const request = captureRequest(head, target, this.#role, body, nextCallId(), clock.now());
    request.onInterim = this.#onInterim;
    this.#requests += 1;
    this.#head = head;
    this.#request = request;
    // What comes behind a CONNECT that fails was meant for the tunnel, whoever wrote it, and must not be read as a request.
    this.#keepAlive = head.keepAlive && head.method !== "CONNECT";
    this.#phase = "exchange";
    this.#pending = null;
    if (this.#incoming !== null) this.#feed(this.#incoming, bytes, next);
    else if (next < bytes.length) this.#keep(bytes.subarray(next));
    if (this.#halfClosed && this.#incoming !== null) this.#endedInBody(this.#incoming);
    this.#send(request).then(
      (response) => this.#answer(request, response),
      (error) => this.#fail(request, asEgressError(error)),
    );
  }

  /** Bytes for later: a copy, because those that came are only lent. */
  #keep(bytes: Buffer): void {
    this.#pending = Buffer.from(bytes);
  }

  #streamBody({ bodyLength, expectContinue }: RequestHead): Body {
    this.#incoming = new IncomingBody({
      socket: this.#socket,
      length: bodyLength,
      trailerBytesMax: this.#context.limits.headBytesMax,
      awaitsContinue: expectContinue,
      unwanted: () => void (this.#keepAlive = false),
    });
    return this.#incoming.body;
  }

  #send(request: EgressRequest): Promise<EgressResponse> {
    if (request.method === "CONNECT" || request.upgrade !== "") {
      const { limits } = this.#context;
      if (this.#context.tunnels >= limits.tunnelsMax) {
        const why = `limits.tunnels: ${limits.tunnelsMax} are open`;
        return Promise.reject(new EgressError("OVERLOADED", why));
      }
      this.#context.tunnels += 1;
      this.#holdsTunnel = true;
    }
    try {
      return this.#context.send(request);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Feeds the request's body; what follows it is kept for the next request. */
  #feed(incoming: IncomingBody, bytes: Buffer, from: number): void {
    const end = incoming.feed(bytes, from);
    if (typeof end === "string") return this.#breakOff(incoming, new EgressError("BAD_REQUEST", end));
    if (incoming.done) this.#incoming = null;
    if (end === bytes.length) return;
    this.#keep(bytes.subarray(end));
    this.#socket.pause();
  }

  /** The request's body will not come to its end: whoever sends it on must stop, and no request can follow. */
  #breakOff({ body }: IncomingBody, error: EgressError): void {
    this.#incoming = null;
    this.#keepAlive = false;
    body.fail(error);
    this.#request?.cancelled.fire(error);
  }

  #endedInBody(incoming: IncomingBody): void {
    this.#breakOff(incoming, new EgressError("CLIENT_GONE", "ended inside the request body"));
  }

  #onInterim = (status: number, fields: FieldLines): void => {
    if (this.#request === null || this.#writer.begun || this.#head!.minor === 0) return;
    if (status === 100 && this.#incoming !== null) this.#incoming.awaitsContinue = false;
    this.#writer.interim(status, fields);
  };

  #answer(request: EgressRequest, response: EgressResponse): void {
    try {
      this.#respond(request, response);
    } catch (error) {
      this.#collapse(error);
    }
  }

  /** A defect of ours in one exchange ends that exchange and its connection, not the process. */
  #collapse(error: unknown): void {
    const failure = asEgressError(error);
    this.#request?.cancelled.fire(failure);
    this.#finish(failure);
  }

  #respond(request: EgressRequest, response: EgressResponse): void {
    if (this.#request !== request) {
      // The application went away while the policies were at work.
      response.body.cancel(new EgressError("CLIENT_GONE", "closed before the response"));
      response.tunnel?.socket.destroy();
      return;
    }
    if (response.tunnel !== null) return this.#joinTunnel(request, response, response.tunnel);
    const head = this.#head!;
    const bodiless = isBodiless(head, response);
    const framing = answerFraming(head, response, bodiless);
    // A request whose body is still coming has to be read to its end before another could begin; closing is cheaper and safer.
    this.#keepAlive &&= this.#mayGoOn(request) && (bodiless || framing !== NO_BODY);
    const text = answerHead(head, response, framing, this.#keepAlive);
    this.#writer.respond(text, response.body, framing === CHUNKED, bodiless, this.#finish);
  }

  #joinTunnel(request: EgressRequest, response: EgressResponse, tunnel: Tunnel): void {
    const early = this.#pending;
    this.#phase = "tunnel";
    this.#pending = null;
    this.#socket.off("end", this.#onEnd);
    joinTunnel(
      this.#socket,
      response,
      tunnel,
      early,
      this.#opening !== null,
      ({ bytesUp, bytesDown, error }) => {
        request.trail.push({ kind: "tunnel", bytesUp, bytesDown });
        this.#settle(error === null ? null : new EgressError("UPSTREAM_ABORTED", error.message, error));
      },
    );
  }

  /** Writes a refusal in place of the response, or, when the response has begun, makes the break visible. */
  #fail(request: EgressRequest, error: EgressError): void {
    if (this.#request !== request) return;
    const told = this.#writer.begun || this.#opening !== null;
    if (told || ERROR_CODES[error.code].status === 0) return this.#finish(error);
    const head = this.#head!;
    this.#keepAlive &&= this.#mayGoOn(request) && head.minor === 1;
    this.#writer.refuse(error, request.id, this.#keepAlive, head.method === "HEAD");
    this.#settle(error);
    this.#next();
  }

  #mayGoOn(request: EgressRequest): boolean {
    const more = !this.#halfClosed || this.#pending !== null;
    return more && !this.#context.draining && request.body.over;
  }

  /** The response is over: `null` when all of it was written. */
  #finish = (error: EgressError | null): void => {
    this.#settle(error);
    if (error !== null) this.#socket.resetAndDestroy();
    else this.#next();
  };

  #settle(error: EgressError | null): void {
    const request = this.#request;
    this.#request = null;
    this.#writer.over();
    if (this.#holdsTunnel) {
      this.#holdsTunnel = false;
      this.#context.tunnels -= 1;
    }
    request?.settled.fire({ error });
  }

  /** After an answer: the next request of this connection, or its end. */
  #next(): void {
    if (!this.#keepAlive) return this.#linger();
    this.#phase = "head";
    // Who does not take the answers gets no further ones: else a pipeline of small requests would fill the memory with large answers.
    if (this.#socket.writableNeedDrain) this.#socket.pause();
    else this.#readOn();
  }

  #readOn(): void {
    const pending = this.#pending;
    if (pending !== null) this.#readHead(pending);
    if (this.#pending === null || this.#phase === "head") this.#socket.resume();
  }

  /** Refuses what is no request, and ends. */
  #refuse(error: EgressError): void {
    this.#writer.refuse(error, this.#context.nextCallId(), false, false);
    this.#linger();
  }

  /** Ends our side and drops what still comes: a close with unread bytes would be a reset that may overtake the answer. */
  #linger(): void {
    this.#phase = "closing";
    this.#incoming = null;
    this.#pending = null;
    this.#socket.end();
    this.#socket.resume();
  }

  #onDrain(): void {
    this.#writer.resume();
    if (this.#phase === "head" && this.#socket.isPaused()) this.#readOn();
  }

  /** The application ended its side. A half-closed client still gets its answer (RFC 9112 §9.6). */
  #onEnd = (): void => {
    this.#halfClosed = true;
    if (this.#phase === "exchange") {
      if (this.#incoming !== null) this.#endedInBody(this.#incoming);
    } else if (this.#phase === "opening") {
      // It may still listen: what it had to say is here.
      this.#dialTunnel();
    } else if (this.#phase === "head" && this.#pending !== null) {
      this.#refuse(new EgressError("BAD_REQUEST", "ended inside a head"));
    } else this.#socket.end();
  };

  #onClose(): void {
    this.#opening?.cancel();
    const request = this.#request;
    if (request === null || this.#phase === "tunnel") return;
    const error = new EgressError("CLIENT_GONE", "the application closed its connection");
    this.#incoming?.body.fail(error);
    this.#writer.cancel(error);
    request.cancelled.fire(error);
    this.#settle(error);
  }
}
