/**
 * What retries, or hedges, may cost: a token bucket without a clock, after gRFC A6 (retry throttling). Successes fill it, retries
 * empty it; for hedges it is filled by every call.
 *
 * Without a clock it is valid at one call at a time and across a freeze. Plain state and pure steps; who retries is decided in
 * `retry-judge.ts`.
 */

/** Tokens at most, and at the start: a destination that was well may see ten retries in a row before the bucket stops them. */
export const RETRY_TOKENS_MAX = 10;

/** Counted in whole thousandths, as in gRFC A6, so that five successes at 0.2 are one token and not a hair less. */
const UNITS_PER_TOKEN = 1000;

/** The state of one route's budget. */
export interface RetryBudget {
  /** Thousandths of a token, 0..RETRY_TOKENS_MAX * 1000. */
  units: number;
  /** Retries that the running invocation may still make whatever the bucket says. */
  floorLeft: number;
  /** `sequence` of the invocation that `floorLeft` belongs to. */
  sequence: number;
}

/** A full budget. */
export function newRetryBudget(floor: number): RetryBudget {
  return { units: RETRY_TOKENS_MAX * UNITS_PER_TOKEN, floorLeft: floor, sequence: 0 };
}

/** Gives the invocation `sequence` its own floor; asked before each decision, so that no lifecycle has to call in. */
export function refillFloor(budget: RetryBudget, floor: number, sequence: number): void {
  if (sequence <= budget.sequence) return;
  budget.sequence = sequence;
  budget.floorLeft = floor;
}

/** Whether a retry may be made. */
export function budgetAllows(budget: RetryBudget): boolean {
  return budget.floorLeft > 0 || budget.units >= UNITS_PER_TOKEN;
}

/** A retry is made. Those under the floor count too: the floor bounds what is always allowed, not what is free. */
export function spendRetry(budget: RetryBudget): void {
  budget.floorLeft = Math.max(0, budget.floorLeft - 1);
  budget.units = Math.max(0, budget.units - UNITS_PER_TOKEN);
}

/** A call went well: `ratio` of a token comes back. */
export function rewardSuccess(budget: RetryBudget, ratio: number): void {
  const units = budget.units + Math.round(ratio * UNITS_PER_TOKEN);
  budget.units = Math.min(RETRY_TOKENS_MAX * UNITS_PER_TOKEN, units);
}
