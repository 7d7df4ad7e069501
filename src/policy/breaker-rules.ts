/**
 * What counts as a failure of the upstream, and when a breaker trips. Pure; the states that follow from it are in breaker-state.ts.
 */
import type { CircuitBreakerOptions } from "../config/types.ts";
import { EgressError, ERROR_CODES } from "../errors.ts";
import type { FieldLines } from "../exchange.ts";
import { grpcStatusOf } from "../http1/grpc-status.ts";
import type { Counts } from "./breaker-window.ts";

/** What an attempt says about the upstream; `nothing` when others ended it. */
export type Verdict = "success" | "failure" | "nothing";

/** Why a breaker trips. */
export type TripWhy = "consecutive_failures" | "error_ratio" | "slow_ratio";

/**
 * Judges an attempt at its response head, or at the error in place of one.
 *
 * @param cancelledFor why the attempt was told to stop, if it was. Only a stop for want of time is the upstream's: any other is a call
 *   that nobody waits for any more, whatever its error looks like.
 */
export function judgeAttempt(
  options: Pick<CircuitBreakerOptions, "statuses" | "grpcStatuses">,
  outcome: { readonly status: number; readonly fields: FieldLines } | EgressError,
  cancelledFor: EgressError | undefined,
): Verdict {
  if (outcome instanceof EgressError) {
    if (ERROR_CODES[outcome.code].blame !== "upstream") return "nothing";
    return cancelledFor === undefined || ranOutOfTime(cancelledFor) ? "failure" : "nothing";
  }
  if (options.statuses.includes(outcome.status)) return "failure";
  if (options.grpcStatuses.length === 0) return "success";
  const grpcStatus = grpcStatusOf(outcome.fields);
  return grpcStatus !== null && options.grpcStatuses.includes(grpcStatus) ? "failure" : "success";
}

function ranOutOfTime({ code }: EgressError): boolean {
  return code === "DEADLINE_EXCEEDED" || code === "PER_TRY_TIMEOUT";
}

/** Whether a response that began well was broken by the upstream. A stream that outlives its call's deadline was not. */
export function brokenByUpstream(error: EgressError): boolean {
  return ERROR_CODES[error.code].blame === "upstream" && error.code !== "DEADLINE_EXCEEDED";
}

/** Whether failures in a row trip it. */
export function tripsInARow(
  { consecutiveFailures }: Pick<CircuitBreakerOptions, "consecutiveFailures">,
  failuresInARow: number,
): boolean {
  return consecutiveFailures > 0 && failuresInARow >= consecutiveFailures;
}

/** Whether the part of failed attempts in the window trips it. */
export function tripsByErrors(
  { errorRatio, minCalls }: Pick<CircuitBreakerOptions, "errorRatio" | "minCalls">,
  { calls, failures }: Readonly<Counts>,
): boolean {
  return errorRatio > 0 && enough(calls, minCalls) && failures >= errorRatio * calls;
}

/** Whether the part of slow attempts in the window trips it. */
export function tripsBySlowness(
  { slowCallMs, slowRatio, minCalls }: Pick<CircuitBreakerOptions, "slowCallMs" | "slowRatio" | "minCalls">,
  { calls, slow }: Readonly<Counts>,
): boolean {
  return slowCallMs > 0 && slowRatio > 0 && enough(calls, minCalls) && slow >= slowRatio * calls;
}

function enough(calls: number, minCalls: number): boolean {
  return calls > 0 && calls >= minCalls;
}
