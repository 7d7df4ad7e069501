/** All listening sockets and the connections that came through them: accepts, bounds, sweeps, drains. */
import type { Socket } from "node:net";
import type { ListenerRole } from "../capture/target.ts";
import type { Clock, Timer } from "../clock.ts";
import type { Limits } from "../config/types.ts";
import { EgressError } from "../errors.ts";
import type { Send } from "../exchange.ts";
import type { Binding } from "./bind.ts";
import { ClientConnection } from "./connection.ts";
import type { ConnectionContext, ConnectionHome, Interception, ServedConnection } from "./context.ts";
import { Handshake, type HandshakeHome } from "./handshake.ts";
import { RelayConnection } from "./relay.ts";
import { writeRefusal } from "./reply.ts";
import { LEAVING_MS_MAX } from "./waits.ts";

/** What a listener needs from the rest. */
export interface ListenerOptions {
  readonly limits: Limits;
  /** See `ConnectionContext.idleTimeoutMs`. */
  readonly idleTimeoutMs: number;
  readonly clock: Clock;
  readonly send: Send;
  /** See `ConnectionContext.admits`. */
  readonly admits: (host: string, port: number) => boolean;
  /** See `ConnectionContext.interception`. */
  readonly interception: Interception | null;
  /** Bytes that wait in the connections to upstreams. */
  readonly upstreamBufferedBytes: () => number;
}

/** Timeouts of connections are checked this often while there are any. */
const SWEEP_MS = 1000;
/** Connections over `connectionsMax` that get an answer at once. Overflow: reset without one. */
const TURNED_AWAY_MAX = 64;
/** Calls are taken again when less than this part of `totalBufferBytes` waits. */
const RELIEF = 0.9;
/** While draining: how often to look whether the last call has ended. */
const DRAIN_POLL_MS = 10;

/** See the file's header. */
export class Listener {
  readonly #context: ConnectionContext;
  readonly #bindings: Binding[] = [];
  readonly #connections = new Set<ServedConnection>();
  /** Connections over the limit that are being told so. */
  readonly #turnedAway = new Set<Socket>();
  readonly #upstreamBufferedBytes: () => number;
  readonly #home: ConnectionHome & HandshakeHome = {
    closed: (self) => this.#connections.delete(self),
    handOver: (self, socket, next) => {
      const handshake = new Handshake(socket, this.#context, this.#home);
      this.#replace(self, handshake);
      handshake.begin(next);
    },
    serveHttp1: (self, socket, role) =>
      this.#replace(self, new ClientConnection(socket, role, this.#context, this.#home)),
    serveHttp2: (self, socket, role, Connection) =>
      this.#replace(self, new Connection(socket, role, this.#context, (by) => this.#home.closed(by))),
  };
  #sweeper: Timer | null = null;
  #calls = 0;

  constructor(options: ListenerOptions) {
    // Unique enough to find a call in the log of its sandbox; not a secret and not a trace id.
    const prefix = Math.floor(Math.random() * 36 ** 4).toString(36);
    this.#upstreamBufferedBytes = options.upstreamBufferedBytes;
    this.#context = {
      ...options,
      nextCallId: () => `${prefix}-${(++this.#calls).toString(36)}`,
      draining: false,
      overloaded: false,
      tunnels: 0,
    };
  }

  /** Takes the connections of `binding`. */
  serve(binding: Binding, role: ListenerRole): void {
    this.#bindings.push(binding);
    binding.serve((socket) => this.#accept(socket, role));
  }

  /** The ports that are listened on: calls to them would come back here. */
  ports(): ReadonlySet<number> {
    return new Set(this.#bindings.map((binding) => binding.port));
  }

  /** Connections and tunnels open now. */
  open(): { connections: number; tunnels: number } {
    return { connections: this.#connections.size, tunnels: this.#context.tunnels };
  }

  /** Stops listening, lets calls in flight finish until `deadlineMs` (`Clock.now()`), then resets what is left. */
  async drain(deadlineMs: number): Promise<void> {
    this.#context.draining = true;
    const closed = Promise.all(this.#bindings.map((binding) => binding.close()));
    for (const connection of this.#connections) connection.endIfIdle();
    const { clock } = this.#context;
    const busy = (): boolean => [...this.#connections].some((connection) => connection.busy);
    while (busy() && clock.now() < deadlineMs) {
      await new Promise<void>((resolve) => clock.after(DRAIN_POLL_MS, resolve));
    }
    this.#sweeper?.cancel();
    for (const connection of this.#connections) connection.destroy();
    for (const socket of this.#turnedAway) socket.destroy();
    await closed;
  }

  #accept(socket: Socket, role: ListenerRole): void {
    if (this.#connections.size >= this.#context.limits.connectionsMax) return this.#turnAway(socket);
    this.#connections.add(
      role.kind === "tcp"
        ? new RelayConnection(socket, role, this.#context, this.#home)
        : new ClientConnection(socket, role, this.#context, this.#home),
    );
    this.#sweeper ??= this.#armSweep();
  }

  #replace(self: ServedConnection, by: ServedConnection): void {
    this.#connections.delete(self);
    this.#connections.add(by);
    // Whoever came over while the listener began to drain has not been told.
    if (this.#context.draining) by.endIfIdle();
  }

  /** Answers a connection over the limit unread, then drops what it sends for a moment: a reset could overtake the answer. */
  #turnAway(socket: Socket): void {
    socket.on("error", () => {});
    if (this.#turnedAway.size >= TURNED_AWAY_MAX) {
      socket.resetAndDestroy();
      return;
    }
    const { clock, nextCallId } = this.#context;
    this.#turnedAway.add(socket);
    const timer = clock.after(LEAVING_MS_MAX, () => socket.destroy());
    socket.on("close", () => {
      timer.cancel();
      this.#turnedAway.delete(socket);
    });
    const error = new EgressError("OVERLOADED", "limits.connections");
    socket.end(writeRefusal(error, nextCallId(), false, false), "latin1");
    socket.resume();
  }

  /** Looks at what waits, once a second: each exchange is bounded by itself, so that the sum moves slowly enough for that. */
  #weigh(): void {
    const { limits, overloaded } = this.#context;
    let bytes = this.#upstreamBufferedBytes();
    for (const connection of this.#connections) bytes += connection.bufferedBytes;
    this.#context.overloaded = bytes > limits.totalBufferBytes * (overloaded ? RELIEF : 1);
  }

  #armSweep(): Timer {
    return this.#context.clock.after(SWEEP_MS, () => {
      const now = this.#context.clock.now();
      for (const connection of this.#connections) connection.sweep(now);
      this.#weigh();
      this.#sweeper = this.#connections.size > 0 ? this.#armSweep() : null;
    });
  }
}
