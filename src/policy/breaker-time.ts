/**
 * Time for what waits between invocations, as plain state: it goes on in a freeze, whichever of the two clocks stood still.
 *
 * The monotonic clock counts, except where the wall clock has gone further by more than `FREEZE_MS_MIN` between two looks: then its step
 * does. A wall clock that jumps back changes nothing.
 */
import type { Clock } from "../clock.ts";

/** Differences below this are the clocks' different grain; counted at every look they would add up. */
const FREEZE_MS_MIN = 1000;

/** The state: what has passed since it was made, and both clocks at the last look. */
export interface BreakerTime {
  passedMs: number;
  nowMs: number;
  wallMs: number;
}

/** Begins at 0. */
export function newBreakerTime(clock: Clock): BreakerTime {
  return { passedMs: 0, nowMs: clock.now(), wallMs: clock.wall() };
}

/** Looks at the clocks; milliseconds since the beginning, freezes included. Never goes back. */
export function passedMs(time: BreakerTime, clock: Clock): number {
  const nowMs = clock.now();
  const wallMs = clock.wall();
  const monotonicMs = Math.max(0, nowMs - time.nowMs);
  const stepMs = wallMs - time.wallMs - monotonicMs > FREEZE_MS_MIN ? wallMs - time.wallMs : monotonicMs;
  time.passedMs += stepMs;
  time.nowMs = nowMs;
  time.wallMs = wallMs;
  return time.passedMs;
}
