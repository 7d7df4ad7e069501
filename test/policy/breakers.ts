/** What the tests of the circuit breaker share: its options, and both clocks of a sandbox moved apart. */
import { VirtualClock } from "../../src/clock.ts";
import type { CircuitBreakerOptions } from "../../src/config/types.ts";

/** Three failures in a row open it for 10 s; no ratio; one probe; changed by `changes`. */
export function breakerOptions(changes: Partial<CircuitBreakerOptions> = {}): CircuitBreakerOptions {
  return {
    consecutiveFailures: 3,
    errorRatio: 0,
    slowCallMs: 0,
    slowRatio: 0,
    windowMs: 10_000,
    minCalls: 4,
    openForMs: 10_000,
    halfOpenProbes: 1,
    statuses: [500, 503],
    grpcStatuses: [],
    isolated: false,
    shared: false,
    ...changes,
  };
}

/** Virtual time in a sandbox that can be frozen: its wall clock goes on, its monotonic clock stands still. */
export class FreezingClock extends VirtualClock {
  #frozenMs = 0;

  override wall(): number {
    return super.wall() + this.#frozenMs;
  }

  freeze(ms: number): void {
    this.#frozenMs += ms;
  }
}
