/**
 * One connection from the application: reads requests one after the other, hands each to `send`, writes what comes back.
 *
 * head ─▶ exchange (body in, response out) ─▶ head …  A request that the codec refuses ends the connection, because what follows
 * it cannot be trusted to be a request. Nothing about a call is decided here: that is between `send` and the policies.
 */
import type { Socket } from "node:net";
import type { ListenerRole } from "../capture/target.ts";
import { asEgressError, EgressError, ERROR_CODES } from "../errors.ts";
import type { EgressRequest, EgressResponse, FieldLines, Tunnel } from "../exchange.ts";
import type { RequestHead } from "../http1/request-head.ts";
import { CHUNKED, NO_BODY } from "../http1/write-head.ts";
import { Patience } from "../patience.ts";
import { adopt } from "./adopt.ts";
import { answerFraming, answerHead, isBodiless, tunnelHead } from "./answer.ts";
import { AnswerWriter } from "./answer-writer.ts";
import type { ConnectionContext, ConnectionHome, NextProtocol, ServedConnection } from "./context.ts";
import { type Dialect, HTTP, SILENT, SOCKS } from "./dialect.ts";
import { RequestReader, type RequestTaker } from "./request-reader.ts";
import { reset } from "./reset.ts";
import type { Splice } from "./splice.ts";
import { joinTunnel } from "./tunnel.ts";
import { type Phase, waitMsMax, waitOf } from "./waits.ts";

/** The first write brings the reset, the second meets it. */
const PROBES = 2;

/** See the file's header. */
export class ClientConnection implements RequestTaker, ServedConnection {
  readonly #socket: Socket;
  readonly #context: ConnectionContext;
  readonly #home: ConnectionHome;
  readonly #patience = new Patience();
  readonly #reader: RequestReader;
  readonly #writer: AnswerWriter;
  #phase: Phase = "head";
  /** How the application is told of its tunnel, or that it gets none. */
  #dialect: Dialect = HTTP;
  /** Requests begun so far. */
  #requests = 0;
  #head: RequestHead | null = null;
  #request: EgressRequest | null = null;
  #keepAlive = false;
  /** Counted in `context.tunnels`. */
  #holdsTunnel = false;
  /** The application has ended its side during an exchange: how often it has still to be asked whether it listens. */
  #probesLeft = 0;
  #splice: Splice | null = null;

  constructor(accepted: Socket, role: ListenerRole, context: ConnectionContext, home: ConnectionHome) {
    const socket = adopt(accepted, context.limits.exchangeBufferBytes, (bytes) => this.#receive(bytes));
    this.#socket = socket;
    this.#context = context;
    this.#home = home;
    this.#reader = new RequestReader(socket, role, context, this);
    this.#writer = new AnswerWriter(socket);
    // The close that follows tells all there is to tell.
    socket.on("error", () => {});
    socket.on("end", this.#onEnd);
    socket.on("drain", this.#onDrain);
    socket.on("close", this.#onClose);
    socket.resume();
  }

  /** Whether a request is under way, or an answer that the application has not taken to its end. */
  get busy(): boolean {
    if (this.#phase === "closing") return this.#socket.writableLength > 0;
    return this.#phase === "exchange" || this.#phase === "tunnel";
  }

  get bufferedBytes(): number {
    return this.#splice?.bufferedBytes ?? this.#socket.writableLength + this.#reader.pendingBytes;
  }

  /** Ends a connection that waits for a request; a busy one ends itself after its answer (`context.draining`). */
  endIfIdle(): void {
    if (this.#phase === "opening") this.#socket.destroy();
    if (this.#phase !== "head") return;
    if (!this.#reader.begun) this.#linger();
    else this.refuse(new EgressError("DRAINING", "inside a head"));
  }

  /** Ends it whatever it is doing; only a connection that has got all its answers does not see a reset. */
  destroy(): void {
    if (this.#phase === "closing" && this.#socket.writableLength === 0) this.#socket.destroy();
    else reset(this.#socket);
  }

  /** Called every second or so: ends what has waited too long. */
  sweep(nowMs: number): void {
    this.#probe();
    const { limits, idleTimeoutMs } = this.#context;
    if (this.#splice !== null) return this.#splice.sweep(nowMs, limits.tunnelIdleMs);
    const wait = waitOf(this.#phase, this.#socket, this.#reader.begun, this.#reader.owesBody);
    const moves = wait === "body" || wait === "taking";
    const progress = moves ? this.#socket.bytesRead + this.#socket.bytesWritten : this.#requests;
    if (!this.#patience.exhausted(wait, progress, nowMs, waitMsMax(wait, limits, idleTimeoutMs))) return;
    if (wait === "head") this.refuse(new EgressError("HEAD_TIMEOUT", "head not complete"));
    else if (wait === "body") this.#reader.breakOff(new EgressError("BODY_TIMEOUT", "request body stopped"));
    else if (wait === "taking") reset(this.#socket);
    else this.#socket.destroy();
  }

  /** Bytes came; they are only lent. Returns false to stop reading for now. */
  #receive(bytes: Buffer): boolean {
    try {
      if (this.#phase === "tunnel") return this.#socket.push(Buffer.from(bytes));
      if (this.#phase === "exchange") this.#reader.readDuringExchange(bytes);
      else if (this.#phase !== "closing") this.#reader.read(bytes);
      return true;
    } catch (error) {
      this.#collapse(error);
      return false;
    }
  }

  // What the reader has found.

  begin(head: RequestHead, request: EgressRequest): void {
    request.onInterim = this.#onInterim;
    this.#requests += 1;
    this.#head = head;
    this.#request = request;
    // What comes behind a CONNECT that fails was meant for the tunnel, whoever wrote it, and must not be read as a request.
    this.#keepAlive = head.keepAlive && head.method !== "CONNECT";
    this.#phase = "exchange";
  }

  send(request: EgressRequest): void {
    this.#sent(request).then(
      (response) => this.#answer(request, response),
      (error) => this.#fail(request, asEgressError(error)),
    );
  }

  spoil(error: EgressError | null): void {
    this.#keepAlive = false;
    if (error !== null) this.#request?.cancelled.fire(error);
  }

  greetSocks(chosen: Buffer): void {
    this.#dialect = SOCKS;
    this.#socket.write(chosen);
  }

  expectTunnel(): void {
    this.#dialect = SILENT;
  }

  promiseTunnel(): void {
    this.#phase = "opening";
    this.#socket.write(this.#dialect.opened, "latin1");
    this.#dialect = SILENT;
  }

  awaitHead(): void {
    this.#phase = "head";
    this.#dialect = HTTP;
  }

  handOver(next: NextProtocol, bytes: Buffer): void {
    const socket = this.#socket;
    this.#phase = "handed_over";
    this.#reader.stop();
    socket.pause();
    socket.off("end", this.#onEnd).off("drain", this.#onDrain).off("close", this.#onClose);
    socket.push(Buffer.from(bytes));
    this.#home.handOver(this, socket, next);
  }

  /** Refuses what is no request, and ends. */
  refuse(error: EgressError, reply?: Buffer): void {
    if (this.#dialect === SILENT) return reset(this.#socket);
    if (reply !== undefined) {
      this.#socket.write(reply);
      return this.#linger();
    }
    this.#socket.write(this.#dialect.refused(error, this.#context.nextCallId(), false, false), "latin1");
    this.#linger();
  }

  #sent(request: EgressRequest): Promise<EgressResponse> {
    if (this.#context.overloaded) {
      return Promise.reject(new EgressError("OVERLOADED", "limits.total_buffer: more than that is waiting"));
    }
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

  #onInterim = (status: number, fields: FieldLines): void => {
    if (this.#request === null || this.#writer.begun || this.#head!.minor === 0) return;
    if (status === 100) this.#reader.continued();
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
    const early = this.#reader.takeEarly();
    this.#phase = "tunnel";
    this.#socket.off("end", this.#onEnd).removeAllListeners("data");
    const told = response.status === 101 ? tunnelHead(response, tunnel) : this.#dialect.opened;
    this.#splice = joinTunnel(this.#socket, told, tunnel, early, ({ bytesUp, bytesDown, error }) => {
      request.trail.push({ kind: "tunnel", bytesUp, bytesDown });
      this.#settle(error);
    });
  }

  /** Writes a refusal in place of the response, or, when the response has begun, makes the break visible. */
  #fail(request: EgressRequest, error: EgressError): void {
    if (this.#request !== request) return;
    const told = this.#writer.begun || this.#dialect === SILENT;
    if (told || ERROR_CODES[error.code].status === 0) return this.#finish(error);
    const head = this.#head!;
    this.#keepAlive &&= this.#mayGoOn(request) && head.minor === 1;
    this.#writer.refuse(this.#dialect.refused(error, request.id, this.#keepAlive, head.method === "HEAD"));
    this.#settle(error);
    this.#next();
  }

  #mayGoOn(request: EgressRequest): boolean {
    return !this.#reader.exhausted && !this.#context.draining && request.body.over;
  }

  /** The response is over: `null` when all of it was written. */
  #finish = (error: EgressError | null): void => {
    this.#settle(error);
    if (error !== null) reset(this.#socket);
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
    // An answer that had begun before the drain could not say that it would be the last.
    if (!this.#keepAlive || this.#context.draining) return this.#linger();
    this.#phase = "head";
    // Who does not take the answers gets no further ones: else a pipeline of small requests would fill the memory with large answers.
    if (this.#socket.writableNeedDrain) this.#socket.pause();
    else this.#readOn();
  }

  #readOn(): void {
    this.#reader.next();
    // What was kept for a request was an empty line behind the last one.
    if (this.#phase === "head" && this.#reader.exhausted) return this.#linger();
    if (this.#phase === "head" || !this.#reader.begun) this.#socket.resume();
  }

  /** Ends our side and drops what still comes: a close with unread bytes would be a reset that may overtake the answer. */
  #linger(): void {
    this.#phase = "closing";
    this.#reader.stop();
    this.#socket.end();
    this.#socket.resume();
  }

  #onDrain = (): void => {
    this.#writer.resume();
    if (this.#phase === "head" && this.#socket.isPaused()) this.#readOn();
  };

  /** The application ended its side. A half-closed client still gets its answer (RFC 9112 §9.6). */
  #onEnd = (): void => {
    this.#reader.end();
    // Whoever was promised a tunnel may still listen: what it had to say is here.
    if (this.#phase === "opening") this.#reader.endOpening();
    else if (this.#phase === "head" && this.#reader.begun) {
      this.refuse(new EgressError("BAD_REQUEST", "ended inside a head"));
    } else if (this.#phase === "exchange") {
      this.#probesLeft = PROBES;
      this.#probe();
    } else this.#socket.end();
  };

  /**
   * Asks an application that has ended its side whether it still listens: one that gave the call up and closed answers a write with a
   * reset, which the next write meets. A 100 is what everybody has to pass over (RFC 9110 §15.2.1).
   */
  #probe(): void {
    if (this.#probesLeft === 0 || this.#phase !== "exchange" || this.#writer.begun) return;
    // A request that broke off has its end already.
    if (this.#request?.cancelled.value !== undefined) return;
    this.#probesLeft -= 1;
    if (this.#head!.minor === 1) this.#writer.interim(100, "");
  }

  #onClose = (): void => {
    const request = this.#request;
    const error = new EgressError("CLIENT_GONE", "the application closed its connection");
    if (request !== null && this.#phase !== "tunnel") {
      this.#reader.breakOff(error);
      this.#writer.cancel(error);
      request.cancelled.fire(error);
      this.#settle(error);
    }
    this.#reader.stop();
    this.#home.closed(this);
  };
}
