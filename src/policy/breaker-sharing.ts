/**
 * How a breaker follows what other sandboxes tell of the same upstream, and what it tells them. Pure; the store is behind
 * breaker-store.ts.
 *
 * The newer word wins, by wall time. What others say can never hold a breaker open for longer than its own policy would, so that a
 * clock that is wrong elsewhere, or a store that was tampered with, costs at most one such span at a time.
 */
import { type Breaker, close, open, type Transition } from "./breaker-state.ts";
import type { BreakerTransition } from "./breaker-store.ts";

/** The present by both scales, and how long the policy keeps a breaker open. */
export interface SharingMoment {
  readonly timeMs: number;
  readonly wallMs: number;
  readonly openForMs: number;
}

/** Follows `heard`, which is newer than anything this breaker did by itself. */
export function follow(
  breaker: Breaker,
  heard: BreakerTransition,
  { timeMs, wallMs, openForMs }: SharingMoment,
): Transition | null {
  if (heard.to === "closed") return close(breaker, "fleet");
  const leftMs = Math.min(openForMs, heard.untilWallMs - wallMs);
  // An opening that is over already says nothing about the present: whoever opened it has not probed, or its word is on its way.
  return leftMs > 0 ? open(breaker, timeMs + leftMs, "fleet") : null;
}

/** What to tell the others of a change; `null` where it is no concern of theirs. */
export function wordOf(
  key: string,
  { to, why }: Transition,
  { wallMs, openForMs }: SharingMoment,
): BreakerTransition | null {
  if (why === "fleet") return null;
  if (to === "open") return { key, to, why, atWallMs: wallMs, untilWallMs: wallMs + openForMs };
  return to === "closed" ? { key, to, why, atWallMs: wallMs, untilWallMs: 0 } : null;
}
