/**
 * A breaker as JSON that another process, or this one after a restore from a snapshot, can take up: times are wall time, and
 * what belongs to the process (probes in flight, the window's counts) is left out. Pure.
 */
import type { CircuitBreakerOptions } from "../config/types.ts";
import { type Breaker, newBreaker } from "./breaker-state.ts";

/** See the file's header. */
export type BreakerSnapshot =
  | { readonly kind: "closed"; readonly failuresInARow: number }
  | { readonly kind: "open"; readonly untilWallMs: number; readonly why: string }
  | { readonly kind: "half_open" }
  | { readonly kind: "isolated" };

/** The same moment by breaker time (breaker-time.ts) and by the wall. */
export interface SnapshotMoment {
  readonly timeMs: number;
  readonly wallMs: number;
}

/** What `breaker` is now. */
export function breakerToJson({ state }: Breaker, { timeMs, wallMs }: SnapshotMoment): BreakerSnapshot {
  switch (state.kind) {
    case "closed":
      return { kind: "closed", failuresInARow: state.failuresInARow };
    case "open":
      return { kind: "open", untilWallMs: wallMs + (state.untilMs - timeMs), why: state.why };
    default:
      return { kind: state.kind };
  }
}

/**
 * A breaker that goes on where `snapshot` was taken. One that was being probed may be probed at once; the policy's own word on
 * isolation goes before the snapshot's, and nothing stays open for longer than the policy says.
 */
export function breakerFromJson(
  snapshot: BreakerSnapshot,
  options: Pick<CircuitBreakerOptions, "isolated" | "openForMs">,
  { timeMs, wallMs }: SnapshotMoment,
): Breaker {
  const breaker = newBreaker(options);
  if (breaker.state.kind !== "closed") return breaker;
  if (snapshot.kind === "closed") breaker.state.failuresInARow = snapshot.failuresInARow;
  if (snapshot.kind === "open") {
    const leftMs = Math.min(options.openForMs, snapshot.untilWallMs - wallMs);
    breaker.state = { kind: "open", untilMs: timeMs + Math.max(0, leftMs), why: snapshot.why };
  }
  if (snapshot.kind === "half_open") breaker.state = { kind: "open", untilMs: timeMs, why: "restored" };
  return breaker;
}
