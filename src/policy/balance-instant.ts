/** A moment by both clocks of the sandbox, as plain state, so that a freeze counts as time whichever of the two stood still in it. */
import type { Clock } from "../clock.ts";

/** Readings of both clocks at one moment. */
export interface Instant {
  readonly nowMs: number;
  readonly wallMs: number;
}

/** This moment. */
export function instantOf(clock: Clock): Instant {
  return { nowMs: clock.now(), wallMs: clock.wall() };
}

/** Milliseconds since `then` by the clock that moved further, never negative. */
export function elapsedMs(then: Instant, clock: Clock): number {
  return Math.max(0, clock.now() - then.nowMs, clock.wall() - then.wallMs);
}
