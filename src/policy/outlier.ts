/**
 * Which endpoints take no calls for a while because their last ones failed (Envoy, "Outlier detection": consecutive errors). Plain
 * state, pure steps, no timer: whether the time is over is looked at when a call comes, and a freeze counts.
 *
 * An endpoint whose time is over is used again, on probation: until it has succeeded once, a single failure ejects it anew.
 */
import type { Clock } from "../clock.ts";
import type { BalanceOptions } from "../config/types.ts";
import { EgressError, ERROR_CODES } from "../errors.ts";
import type { FieldLines } from "../exchange.ts";
import { grpcStatusOf } from "../http1/grpc-status.ts";
import { elapsedMs, type Instant, instantOf } from "./balance-instant.ts";

/** An ejection never grows beyond this, milliseconds, unless `ejectForMs` itself is longer: Envoy's `max_ejection_time`. */
export const EJECT_MS_MAX = 300_000;

/** Answers by which an endpoint says itself that it cannot serve (Envoy, `consecutive_gateway_failure`); 500 is the service's own. */
const GATEWAY_FAILURES: ReadonlySet<number> = new Set([502, 503, 504]);

/** `grpc-status` UNAVAILABLE. */
const GRPC_UNAVAILABLE = 14;

/** The state of one endpoint. */
export interface OutlierState {
  /** Failures since the last success. */
  failuresInARow: number;
  /** Its last ejection, over or not; `null` for none. */
  ejection: Ejection | null;
}

/** One ejection. */
export interface Ejection {
  readonly since: Instant;
  readonly forMs: number;
}

/** What an attempt says about the endpoint that it went to. */
export type Sign =
  | { readonly kind: "success" }
  | { readonly kind: "failure"; readonly why: string }
  /** Others ended it. */
  | { readonly kind: "none" };

const SUCCESS: Sign = { kind: "success" };
const NO_SIGN: Sign = { kind: "none" };

/** What the steps read of the options. */
export type OutlierOptions = Pick<BalanceOptions, "ejectAfter" | "ejectForMs" | "ejectPercentMax">;

/** An endpoint that nothing is known of. */
export function newOutlierState(): OutlierState {
  return { failuresInARow: 0, ejection: null };
}

/**
 * Reads the head of a response, or the error in place of one. Only what the upstream is to blame for is a failure.
 *
 * @param cancelledFor why the attempt was told to stop, if it was: nobody waits for it any more, unless it took too long
 */
export function signOf(
  outcome: { readonly status: number; readonly fields: FieldLines } | EgressError,
  cancelledFor: EgressError | undefined,
): Sign {
  if (outcome instanceof EgressError) {
    const { code } = outcome;
    const tookTooLong = code === "DEADLINE_EXCEEDED" || code === "PER_TRY_TIMEOUT";
    if (ERROR_CODES[code].blame !== "upstream" || (outcome === cancelledFor && !tookTooLong)) {
      return NO_SIGN;
    }
    return { kind: "failure", why: code };
  }
  if (GATEWAY_FAILURES.has(outcome.status)) return { kind: "failure", why: `status_${outcome.status}` };
  if (grpcStatusOf(outcome.fields) === GRPC_UNAVAILABLE) {
    return { kind: "failure", why: `grpc_status_${GRPC_UNAVAILABLE}` };
  }
  return SUCCESS;
}

/** Reads why a response broke off after a good head. A stream that outlives its call's deadline did so through no fault of the endpoint. */
export function signOfBreak({ code }: EgressError): Sign {
  const broken = ERROR_CODES[code].blame === "upstream" && code !== "DEADLINE_EXCEEDED";
  return broken ? { kind: "failure", why: code } : NO_SIGN;
}

/** Whether it takes no calls now. */
export function isEjected({ ejection }: OutlierState, clock: Clock): boolean {
  return ejection !== null && elapsedMs(ejection.since, clock) < ejection.forMs;
}

/** An attempt at it succeeded. */
export function noteSuccess(state: OutlierState): void {
  state.failuresInARow = 0;
}

/**
 * An attempt at `state` failed. Ejects it when that is one too many and `peers` (all of its priority, itself included) can spare it.
 * Each ejection lasts twice as long as the one before it, up to `EJECT_MS_MAX`, unless it had been in use since for as long as that one.
 * @returns whether it was ejected by this
 */
export function noteFailure(
  state: OutlierState,
  peers: readonly OutlierState[],
  options: OutlierOptions,
  clock: Clock,
): boolean {
  state.failuresInARow += 1;
  if (options.ejectAfter === 0 || state.failuresInARow < options.ejectAfter) return false;
  // Calls that were under way when it was ejected fail too; they say nothing new.
  if (isEjected(state, clock)) return false;
  const ejected = peers.filter((peer) => isEjected(peer, clock)).length;
  if (ejected + 1 > Math.floor((peers.length * options.ejectPercentMax) / 100)) return false;
  state.ejection = { since: instantOf(clock), forMs: nextEjectionMs(state.ejection, options, clock) };
  return true;
}

function nextEjectionMs(last: Ejection | null, { ejectForMs }: OutlierOptions, clock: Clock): number {
  if (last === null || elapsedMs(last.since, clock) >= 2 * last.forMs) return ejectForMs;
  return Math.min(2 * last.forMs, Math.max(ejectForMs, EJECT_MS_MAX));
}
