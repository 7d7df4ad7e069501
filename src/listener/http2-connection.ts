/**
 * One HTTP/2 connection from the application: many requests at once, each an `Http2Exchange`. Owns the session: its bounds, its
 * idleness, its end. Loaded when an application first speaks HTTP/2; nothing of `node:http2` is before.
 */
import { constants, performServerHandshake, type ServerHttp2Session } from "node:http2";
import type { Duplex } from "node:stream";
import type { ListenerRole } from "../capture/target.ts";
import { Patience } from "../patience.ts";
import type { ConnectionContext, ServedConnection } from "./context.ts";
import { Http2Exchange } from "./http2-exchange.ts";
import { CONNECTION_WINDOW_BYTES, sessionOptions } from "./http2-options.ts";
import { HeaderBlockWatch } from "./http2-watch.ts";
import { type Wait, waitMsMax } from "./waits.ts";

/** See the file's header. `closed` is called once. */
export class Http2Connection implements ServedConnection {
  readonly #socket: Duplex;
  readonly #context: ConnectionContext;
  readonly #session: ServerHttp2Session;
  readonly #exchanges = new Set<Http2Exchange>();
  readonly #patience = new Patience();
  readonly #watch: HeaderBlockWatch;
  /** Requests begun so far. */
  #requests = 0;
  /** What the socket had read before is in the session. */
  #begun = false;

  /** `socket` is connected; what it has read already is read first. A `TLSSocket` has negotiated `h2`. */
  constructor(
    socket: Duplex,
    role: ListenerRole,
    context: ConnectionContext,
    closed: (self: Http2Connection) => void,
  ) {
    this.#socket = socket;
    this.#context = context;
    // The close that follows tells all there is to tell.
    socket.on("error", () => {});
    socket.on("close", () => closed(this));
    const session = performServerHandshake(socket, sessionOptions(context.limits));
    this.#session = session;
    session.on("error", () => {});
    session.once("connect", () => {
      if (!session.destroyed) session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    });
    session.on("stream", (stream, _fields, _flags, raw) => {
      // Reset in the same breath as begun: nobody waits for an answer.
      if (stream.destroyed || stream.closed) return void stream.on("error", () => {});
      const exchange = new Http2Exchange(stream, context, (self) => this.#exchanges.delete(self));
      this.#exchanges.add(exchange);
      this.#requests += 1;
      exchange.begin(raw, role);
    });
    // HTTP/2 knows no half-closed connections: whoever leaves takes nothing more.
    socket.on("end", () => this.destroy());
    this.#watch = new HeaderBlockWatch(session, context.limits.headTimeoutMs);
    // Queued behind Node's own, which hands what the socket has read to a session that must still be there.
    process.nextTick(() => void (this.#begun = true));
  }

  /** Whether requests are under way, or an answer that the application has not taken to its end. */
  get busy(): boolean {
    // A session that was closed is destroyed when the last of its answers has left.
    return this.#exchanges.size > 0 || (this.#session.closed && !this.#session.destroyed);
  }

  get bufferedBytes(): number {
    let bytes = this.#socket.writableLength;
    for (const exchange of this.#exchanges) bytes += exchange.bufferedBytes;
    return bytes;
  }

  /** Takes no further requests (GOAWAY); closes when those under way have their answers. */
  endIfIdle(): void {
    if (!this.#begun) process.nextTick(() => this.endIfIdle());
    else if (!this.#session.destroyed) this.#session.close();
  }

  /** Ends it whatever it is doing: streams that have not ended are broken off, which needs no reset to be seen (RFC 9113 §8.1). */
  destroy(): void {
    if (!this.#session.destroyed) this.#session.destroy(undefined, constants.NGHTTP2_CANCEL);
    this.#socket.destroy();
  }

  /** Called every second or so: ends what has waited too long. */
  sweep(nowMs: number): void {
    for (const exchange of this.#exchanges) exchange.sweep(nowMs);
    const { wait, limitMs } = this.#wait();
    // Nothing but requests is progress for an idle session: whatever else an application sends keeps no connection open.
    const progress = wait === "taking" ? this.#moved("bytesWritten") : this.#requests;
    if (this.#patience.exhausted(wait, progress, nowMs, limitMs)) {
      if (wait === "request") this.#session.close();
      else this.#socket.destroy();
    } else if (!this.#session.destroyed && this.#watch.stuck(this.#moved("bytesRead"), nowMs)) this.destroy();
  }

  /** What the session waits for, beside what its exchanges wait for. */
  #wait(): { wait: Wait; limitMs: number } {
    const { limits, idleTimeoutMs } = this.#context;
    const wait: Wait = this.#session.destroyed
      ? "leaving"
      : this.#exchanges.size > 0
        ? "nothing"
        : this.#session.closed
          ? "taking"
          : "request";
    return { wait, limitMs: waitMsMax(wait, limits, idleTimeoutMs) };
  }

  /** As far as the socket counts: every one that this is made for does. */
  #moved(direction: "bytesRead" | "bytesWritten"): number {
    return (this.#socket as Duplex & { readonly [K in typeof direction]?: number })[direction] ?? 0;
  }
}
