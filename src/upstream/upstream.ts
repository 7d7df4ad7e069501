/** Sends calls to upstreams: says which version each is spoken in, and keeps the connections of both. */
import { Body } from "../body.ts";
import type { Clock, Timer } from "../clock.ts";
import type { Limits } from "../config/types.ts";
import { EgressError } from "../errors.ts";
import {
  type AttemptFacts,
  type EgressRequest,
  EgressResponse,
  type FieldLines,
  newAttempt,
  type Send,
} from "../exchange.ts";
import type { ConnectionParts, Connections } from "./connections.ts";
import { Dialler } from "./dialler.ts";
import { Http1Connections } from "./http1-connections.ts";
import type { Http2Connections } from "./http2-connections.ts";
import { dialTarget, overTls, type Reach, type Spoken, spokenTo } from "./reach.ts";
import { Resolver } from "./resolve.ts";

/** What the room needs from the rest. */
export interface UpstreamOptions {
  readonly limits: Limits;
  readonly clock: Clock;
  readonly resolver?: Resolver;
  /** Field lines that requests on a connection to this address carry besides their own; none unless given. */
  readonly markFor?: (address: string) => FieldLines;
}

/** A longer pause between two invocations ends the connections that were idle in it: load balancers forget them after some seconds. */
const PAUSE_MS_MAX = 4000;
/** Exchanges are checked for silence this often while there are connections. */
const SWEEP_MS = 1000;

/** See the file's header. */
export class Upstream {
  readonly #clock: Clock;
  readonly #dialler: Dialler;
  readonly #parts: ConnectionParts;
  readonly #http1: Http1Connections;
  #http2: Http2Connections | null = null;
  #loading: Promise<Http2Connections> | null = null;
  #sweeper: Timer | null = null;
  #destroyed = false;

  constructor({ limits, clock, resolver, markFor = () => "" }: UpstreamOptions) {
    this.#clock = clock;
    this.#dialler = new Dialler(resolver ?? new Resolver(clock), clock);
    this.#parts = {
      limits,
      clock,
      dialler: this.#dialler,
      markFor,
      opened: () => void (this.#sweeper ??= this.#armSweep()),
    };
    this.#http1 = new Http1Connections(this.#parts);
  }

  /** Connections now, and dialled so far. */
  stats(): { open: number; idle: number; dialled: number } {
    let open = 0;
    let idle = 0;
    for (const connections of this.#all()) {
      open += connections.open;
      idle += connections.idle;
    }
    return { open, idle, dialled: this.#dialler.dialled };
  }

  /** Bytes that wait in all connections. */
  bufferedBytes(): number {
    return this.#all().reduce((bytes, connections) => bytes + connections.bufferedBytes, 0);
  }

  /**
   * The sandbox wakes after `idleMs`. Connections that slept through a pause in which the other side may have closed them are
   * closed unused; after a shorter one the free replay is enough.
   */
  thawed(idleMs: number): void {
    if (idleMs >= PAUSE_MS_MAX) for (const connections of this.#all()) connections.thawed();
  }

  /** Ends every connection. */
  destroy(): void {
    this.#destroyed = true;
    this.#sweeper?.cancel();
    for (const connections of this.#all()) connections.destroy();
  }

  /** The `Send` of one destination's route. */
  sender(reach: Reach): Send {
    return (called) => {
      const request = reach.originate ? overTls(called) : called;
      const nowMs = this.#clock.now();
      // The one place that every attempt passes: after a freeze a timer may have let one go that had waited past its deadline.
      if (nowMs >= request.deadlineMs) return Promise.reject(tooLate());
      const facts = newAttempt(request.attempt, nowMs);
      request.trail.push({ kind: "attempt", attempt: facts });
      if (request.method === "CONNECT") return this.#tunnel(reach, request, facts);
      const spoken = spokenTo(reach.httpVersion, request);
      if (spoken === "http1") return this.#http1.send(reach, request, facts);
      return this.#sendHttp2(spoken, reach, request, facts);
    };
  }

  async #sendHttp2(
    spoken: Exclude<Spoken, "http1">,
    reach: Reach,
    request: EgressRequest,
    facts: AttemptFacts,
  ): Promise<EgressResponse> {
    const http2 = this.#http2 ?? (await (this.#loading ??= this.#loadHttp2()));
    return http2.send(spoken, reach, request, facts);
  }

  /** `node:http2` takes some ms to load and most functions never speak it, so it comes with the first call that does. */
  async #loadHttp2(): Promise<Http2Connections> {
    const { Http2Connections } = await import("./http2-connections.ts");
    this.#http2 = new Http2Connections(this.#parts, this.#http1);
    if (this.#destroyed) this.#http2.destroy();
    return this.#http2;
  }

  /** CONNECT: a connection whose bytes are nobody's business. */
  async #tunnel(reach: Reach, request: EgressRequest, facts: AttemptFacts): Promise<EgressResponse> {
    const socket = await this.#dialler.dial(dialTarget(reach, request, []), request, facts);
    socket.allowHalfOpen = true;
    facts.status = 200;
    return new EgressResponse(200, "Connection Established", "", Body.of(""), {
      socket,
      head: Buffer.alloc(0),
      protocol: "",
    });
  }

  #all(): readonly Connections[] {
    return this.#http2 === null ? [this.#http1] : [this.#http1, this.#http2];
  }

  #armSweep(): Timer {
    return this.#clock.after(SWEEP_MS, () => {
      const now = this.#clock.now();
      for (const connections of this.#all()) connections.sweep(now);
      const open = this.#all().some((connections) => connections.open > 0);
      this.#sweeper = open && !this.#destroyed ? this.#armSweep() : null;
    });
  }
}

function tooLate(): EgressError {
  const error = new EgressError("DEADLINE_EXCEEDED", "the call's turn came when its deadline had passed");
  error.reached = "unsent";
  return error;
}
