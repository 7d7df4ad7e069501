/**
 * Sends calls in HTTP/1.1: takes a pooled connection or dials one, and sends once more, unasked and unbudgeted, what a pooled
 * connection lost by dying before its first answer byte, when that can do no harm.
 */
import type { OnReadOpts, Socket } from "node:net";
import { EgressError } from "../errors.ts";
import type { AttemptFacts, EgressRequest, EgressResponse } from "../exchange.ts";
import type { ConnectionParts, Connections } from "./connections.ts";
import { Pool } from "./pool.ts";
import { dialTarget, isRepeatable, poolKey, type Reach } from "./reach.ts";
import { Wire } from "./wire.ts";

/** One read of all upstream sockets ends here: a chunk that is kept is copied, the rest was never allocated (-1.5 µs a call). */
const READ_BYTES = 64 * 1024;

const ALPN = ["http/1.1"];

/** See the file's header. */
export class Http1Connections implements Connections {
  readonly #parts: ConnectionParts;
  readonly #pool: Pool;
  readonly #wires = new Set<Wire>();
  readonly #readBuffer = Buffer.allocUnsafeSlow(READ_BYTES);

  constructor(parts: ConnectionParts) {
    this.#parts = parts;
    this.#pool = new Pool(parts.limits.idleUpstreamMax);
  }

  get open(): number {
    return this.#wires.size;
  }

  get idle(): number {
    return this.#pool.size;
  }

  get bufferedBytes(): number {
    let bytes = 0;
    for (const { socket } of this.#wires) bytes += socket.writableLength;
    return bytes;
  }

  sweep(nowMs: number): void {
    for (const wire of this.#wires) wire.sweep(nowMs);
  }

  /** Connections that slept through a pause in which the other side may have closed them are closed unused. */
  thawed(): void {
    this.#pool.closeIdle(0);
  }

  destroy(): void {
    for (const wire of [...this.#wires]) wire.destroy();
  }

  /** Sends `request` on whatever connection there is, or a new one. */
  send(reach: Reach, request: EgressRequest, facts: AttemptFacts): Promise<EgressResponse> {
    if (request.upgrade !== "") return this.#dialAndSend(reach, request, facts, false);
    const repeatable = isRepeatable(request);
    const wire = this.#takeIdle(reach, request, repeatable);
    if (wire === null) return this.#dialAndSend(reach, request, facts, true);
    facts.reused = true;
    const sent = this.#sendOn(wire, reach, request, facts);
    return repeatable ? sent.catch((error) => this.#replay(reach, request, facts, error)) : sent;
  }

  /** Sends `request` on `socket`, which was dialled for it and is read by nobody yet. */
  sendOver(
    socket: Socket,
    reach: Reach,
    request: EgressRequest,
    facts: AttemptFacts,
  ): Promise<EgressResponse> {
    const wire = this.#wireOf(socket, poolKey(reach, request), true);
    socket.on("data", (chunk: Buffer) => void wire.receive(chunk));
    return this.#sendOn(wire, reach, request, facts);
  }

  #sendOn(wire: Wire, reach: Reach, request: EgressRequest, facts: AttemptFacts): Promise<EgressResponse> {
    wire.idleTimeoutMs = reach.policy.idleTimeoutMs;
    return wire.send(request, facts);
  }

  #takeIdle(reach: Reach, request: EgressRequest, repeatable: boolean): Wire | null {
    try {
      return this.#pool.take(poolKey(reach, request), repeatable);
    } catch (error) {
      if (!(error instanceof EgressError)) throw error;
      // Without its identity a destination has no connections; dialling says why.
      return null;
    }
  }

  /** A pooled connection broke. When it had not answered at all, it had most likely been closed before the request came. */
  #replay(
    reach: Reach,
    request: EgressRequest,
    facts: AttemptFacts,
    error: EgressError,
  ): Promise<EgressResponse> {
    if (error.code !== "UPSTREAM_RESET" || error.reached === "final") throw error;
    facts.replayed = true;
    facts.error = null;
    return this.#dialAndSend(reach, request, facts, true);
  }

  /** @param pooled the connection may serve other calls, before this one and after it */
  async #dialAndSend(
    reach: Reach,
    request: EgressRequest,
    facts: AttemptFacts,
    pooled: boolean,
  ): Promise<EgressResponse> {
    const wire = await this.#dialWire(reach, request, facts, pooled);
    return this.#sendOn(wire, reach, request, facts);
  }

  async #dialWire(reach: Reach, request: EgressRequest, facts: AttemptFacts, pooled: boolean): Promise<Wire> {
    let wire: Wire | null = null;
    let early = false;
    // One buffer for all: what arrives is taken out before the next read (net.Socket, option `onread`).
    const onread: OnReadOpts = {
      buffer: this.#readBuffer,
      callback: (bytes, buffer) => {
        if (wire !== null) return wire.receive((buffer as Buffer).subarray(0, bytes));
        early = true;
        return false;
      },
    };
    const target = dialTarget(reach, request, ALPN);
    const socket = await this.#parts.dialler.dial(target, request, facts, pooled ? onread : undefined);
    wire = this.#wireOf(socket, poolKey(reach, request), pooled);
    if (!pooled) {
      const plain = wire;
      socket.on("data", (chunk: Buffer) => void plain.receive(chunk));
    }
    // A server that speaks before it is spoken to does not speak HTTP.
    if (early) wire.receive(this.#readBuffer);
    return wire;
  }

  #wireOf(socket: Socket, key: string, pooled: boolean): Wire {
    const { limits, clock, markFor, opened } = this.#parts;
    const wire = new Wire(key, socket, markFor(socket.remoteAddress ?? ""), limits, clock, {
      idle: (idle) => (pooled ? this.#pool.put(idle) : idle.destroy()),
      gone: (gone) => {
        this.#wires.delete(gone);
        this.#pool.remove(gone);
      },
    });
    this.#wires.add(wire);
    opened();
    return wire;
  }
}
