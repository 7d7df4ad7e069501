/**
 * How long an endpoint takes to the head of its responses, as a peak-sensitive, exponentially weighted moving average: a slower answer
 * counts at once, faster ones pull it down with time (Finagle, "Peak EWMA"; linkerd2, tower-balance).
 *
 * Plain state, pure steps. It has no timer: the weight of what is past follows from the time that has passed, freezes included, and an
 * endpoint that takes no calls is believed to get better, so that it is tried again.
 */
import type { Clock } from "../clock.ts";
import { elapsedMs, type Instant, instantOf } from "./balance-instant.ts";

/** In this time what is past loses all but 1/e of its weight, milliseconds: the default of linkerd2-proxy. */
const DECAY_MS = 10_000;

/** What an endpoint that has answered nothing yet is believed to take while it owes its first answer: the same proxy's default. */
const UNKNOWN_MS = 1000;

/**
 * What a failed attempt counts as, at least: failures are often fast, and an endpoint that fails must not look like the best one. Slower
 * than any answer that an endpoint would be preferred for.
 */
const FAILURE_MS = 5000;

/** The state; `null` before the first answer. */
export interface LatencyEstimate {
  readonly ms: number;
  readonly at: Instant;
}

/** The estimate after one more answer that took `sampleMs`. */
export function withSample(
  estimate: LatencyEstimate | null,
  sampleMs: number,
  clock: Clock,
): LatencyEstimate {
  const ms = Math.max(0, sampleMs);
  const at = instantOf(clock);
  if (estimate === null || ms >= estimate.ms) return { ms, at };
  const past = pastWeight(estimate, clock);
  return { ms: estimate.ms * past + ms * (1 - past), at };
}

/** The estimate after an attempt that failed within `elapsedMs`. */
export function withFailure(
  estimate: LatencyEstimate | null,
  elapsedMs: number,
  clock: Clock,
): LatencyEstimate {
  return withSample(estimate, Math.max(elapsedMs, FAILURE_MS), clock);
}

/** What one more call would wait, in milliseconds times calls: the estimate of now for each call in flight and the new one. */
export function expectedCost(estimate: LatencyEstimate | null, inFlight: number, clock: Clock): number {
  if (estimate === null) return inFlight === 0 ? 0 : UNKNOWN_MS * (inFlight + 1);
  return estimate.ms * pastWeight(estimate, clock) * (inFlight + 1);
}

function pastWeight({ at }: LatencyEstimate, clock: Clock): number {
  return Math.exp(-elapsedMs(at, clock) / DECAY_MS);
}
