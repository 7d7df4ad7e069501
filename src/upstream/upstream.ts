/**
 * Sends calls to upstreams: takes a pooled connection or dials one, and sends once more, unasked and unbudgeted, what a pooled
 * connection lost by dying before its first answer byte, when that can do no harm.
 */
import type { OnReadOpts } from "node:net";
import { Body } from "../body.ts";
import type { Clock, Timer } from "../clock.ts";
import type { Limits, RoutePolicy } from "../config/types.ts";
import { EgressError } from "../errors.ts";
import { type AttemptFacts, type EgressRequest, EgressResponse, type Send } from "../exchange.ts";
import { type DialTarget, dial } from "./dial.ts";
import { Pool } from "./pool.ts";
import { Resolver, type VetAddress } from "./resolve.ts";
import type { TlsClient } from "./tls.ts";
import { Wire } from "./wire.ts";

/** How one destination is reached. */
export interface Reach {
  /** Where calls are dialled instead of at their own host and port; `null` for the latter. */
  readonly address: { readonly host: string; readonly port: number } | null;
  /** Calls that the application makes in plain HTTP are made in TLS; port 80 becomes 443. */
  readonly originate: boolean;
  /** The client for `https`; asked for when the first such call comes. Throws an EgressError when there can be none. */
  readonly tls: () => TlsClient;
  readonly policy: Pick<RoutePolicy, "dnsTimeoutMs" | "connectTimeoutMs" | "tlsTimeoutMs" | "idleTimeoutMs">;
  /** Whether `host`, dialled for this destination, may be at an address. */
  readonly vet: VetAddress;
}

/** What the room needs from the rest. */
export interface UpstreamOptions {
  readonly limits: Limits;
  readonly clock: Clock;
  readonly resolver?: Resolver;
}

/** Methods that may be sent twice without harm (RFC 9110 §9.2.2). */
const IDEMPOTENT: ReadonlySet<string> = new Set([
  "GET",
  "HEAD",
  "OPTIONS",
  "TRACE",
  "PUT",
  "DELETE",
  "PROPFIND",
  "REPORT",
  "SEARCH",
  "QUERY",
]);

/** One read of all upstream sockets ends here: a chunk that is kept is copied, the rest was never allocated (-1.5 µs a call). */
const READ_BYTES = 64 * 1024;
/** A longer pause between two invocations ends the connections that were idle in it: load balancers forget them after some seconds. */
const PAUSE_MS_MAX = 4000;
/** Exchanges are checked for silence this often while there are connections. */
const SWEEP_MS = 1000;

/** See the file's header. */
export class Upstream {
  readonly #limits: Limits;
  readonly #clock: Clock;
  readonly #resolver: Resolver;
  readonly #pool: Pool;
  readonly #wires = new Set<Wire>();
  readonly #readBuffer = Buffer.allocUnsafeSlow(READ_BYTES);
  #sweeper: Timer | null = null;
  #dialled = 0;

  constructor(options: UpstreamOptions) {
    this.#limits = options.limits;
    this.#clock = options.clock;
    this.#resolver = options.resolver ?? new Resolver(options.clock);
    this.#pool = new Pool(options.limits.idleUpstreamMax);
  }

  /** Connections now, and dialled so far. */
  stats(): { open: number; idle: number; dialled: number } {
    return { open: this.#wires.size, idle: this.#pool.size, dialled: this.#dialled };
  }

  /**
   * The sandbox wakes after `idleMs`. Connections that slept through a pause in which the other side may have closed them are
   * closed unused; after a shorter one the free replay is enough.
   */
  thawed(idleMs: number): void {
    if (idleMs >= PAUSE_MS_MAX) this.#pool.closeIdle(0);
  }

  /** Ends every connection. */
  destroy(): void {
    this.#sweeper?.cancel();
    for (const wire of [...this.#wires]) wire.destroy();
  }

  /** The `Send` of one destination's route. */
  sender(reach: Reach): Send {
    return (called) => {
      const request = reach.originate ? overTls(called) : called;
      const facts = newAttempt(request, this.#clock.now());
      request.trail.push({ kind: "attempt", attempt: facts });
      if (request.method === "CONNECT") return this.#tunnel(reach, request, facts);
      if (request.upgrade !== "") return this.#dialAndSend(reach, request, facts, false);
      const repeatable = request.body.whole !== null && IDEMPOTENT.has(request.method);
      const wire = this.#takeIdle(reach, request, repeatable);
      if (wire === null) return this.#dialAndSend(reach, request, facts, true);
      facts.reused = true;
      wire.idleTimeoutMs = reach.policy.idleTimeoutMs;
      const sent = wire.send(request, facts);
      return repeatable ? sent.catch((error) => this.#replay(reach, request, facts, error)) : sent;
    };
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

  async #dialAndSend(
    reach: Reach,
    request: EgressRequest,
    facts: AttemptFacts,
    pooled: boolean,
  ): Promise<EgressResponse> {
    const wire = await this.#dialWire(reach, request, facts, pooled);
    wire.idleTimeoutMs = reach.policy.idleTimeoutMs;
    return wire.send(request, facts);
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
    const target = dialTarget(reach, request);
    const socket = await this.#dial(target, request, facts, pooled ? onread : undefined);
    wire = new Wire(poolKey(reach, request), socket, this.#limits, this.#clock, {
      idle: (idle) => (pooled ? this.#pool.put(idle) : idle.destroy()),
      gone: (gone) => {
        this.#wires.delete(gone);
        this.#pool.remove(gone);
      },
    });
    if (!pooled) {
      const plain = wire;
      socket.on("data", (chunk: Buffer) => void plain.receive(chunk));
    }
    this.#wires.add(wire);
    // A server that speaks before it is spoken to does not speak HTTP.
    if (early) wire.receive(this.#readBuffer);
    this.#sweeper ??= this.#armSweep();
    return wire;
  }

  async #dial(target: DialTarget, request: EgressRequest, facts: AttemptFacts, onread?: OnReadOpts) {
    this.#dialled += 1;
    try {
      return await dial(target, request, facts, this.#resolver, this.#clock, onread);
    } catch (error) {
      const failure = error as EgressError;
      // Nothing of the request has left yet, whatever went wrong.
      if (failure.reached === "sent") failure.reached = "unsent";
      facts.error = failure;
      throw failure;
    }
  }

  /** CONNECT: a plain connection, whose bytes are nobody's business. */
  async #tunnel(reach: Reach, request: EgressRequest, facts: AttemptFacts): Promise<EgressResponse> {
    const socket = await this.#dial({ ...dialTarget(reach, request), tls: null }, request, facts);
    socket.allowHalfOpen = true;
    socket.on("error", () => {});
    facts.status = 200;
    return new EgressResponse(200, "Connection Established", "", Body.of(""), {
      socket,
      head: Buffer.alloc(0),
      protocol: "",
    });
  }

  #armSweep(): Timer {
    return this.#clock.after(SWEEP_MS, () => {
      const now = this.#clock.now();
      for (const wire of this.#wires) wire.sweep(now);
      this.#sweeper = this.#wires.size > 0 ? this.#armSweep() : null;
    });
  }
}

/** A tunnel is the application's own business, TLS included. */
function overTls(request: EgressRequest): EgressRequest {
  if (request.scheme === "https" || request.method === "CONNECT") return request;
  return request.with({ scheme: "https", port: request.port === 80 ? 443 : request.port });
}

function newAttempt(request: EgressRequest, nowMs: number): AttemptFacts {
  return {
    number: request.attempt,
    startedMs: nowMs,
    reused: false,
    replayed: false,
    resolvedMs: 0,
    connectedMs: 0,
    securedMs: 0,
    firstByteMs: 0,
    address: "",
    status: 0,
    error: null,
  };
}

function dialTarget(reach: Reach, request: EgressRequest): DialTarget {
  return {
    host: reach.address?.host ?? request.host,
    port: reach.address?.port ?? request.port,
    name: request.host,
    tls: request.scheme === "https" ? reach.tls() : null,
    timeouts: reach.policy,
    vet: reach.vet,
  };
}

/** Connections are shared only by calls that would make the same one: same peer, same name verified, same identity shown. */
function poolKey(reach: Reach, request: EgressRequest): string {
  const host =
    reach.address === null ? request.host : `${request.host}@${reach.address.host}:${reach.address.port}`;
  return request.scheme === "https" ? `${host}:${request.port}/${reach.tls().id}` : `${host}:${request.port}`;
}
