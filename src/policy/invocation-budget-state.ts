/** What an invocation has spent on a route, as plain state, and the steps that spend. Pure. */
import type { InvocationBudgetOptions } from "../config/types.ts";

/** The account of one invocation. */
export interface Spending {
  /** Ordinal of the invocation. */
  readonly sequence: number;
  calls: number;
  /** Bytes of bodies, either way; those of a body that states its length count as soon as it begins. */
  bytes: number;
}

/** A part of the budget that is used up. */
export type SpentPart = "calls" | "bytes";

/** Nothing is spent yet. */
export function newSpending(sequence: number): Spending {
  return { sequence, calls: 0, bytes: 0 };
}

/**
 * Counts one call whose request has `bodyBytes` (0 when that is not known yet). Names what does not allow it; nothing is counted then.
 * With the last byte spent there is no further call, since every answer has some.
 */
export function spendCall(
  { calls, bytes }: InvocationBudgetOptions,
  spending: Spending,
  bodyBytes: number,
): SpentPart | null {
  if (calls > 0 && spending.calls >= calls) return "calls";
  if (bytes > 0 && (spending.bytes >= bytes || spending.bytes + bodyBytes > bytes)) return "bytes";
  spending.calls += 1;
  spending.bytes += bodyBytes;
  return null;
}

/** Counts `count` bytes; returns whether the budget allows them. It stays spent when it does not. */
export function spendBytes({ bytes }: InvocationBudgetOptions, spending: Spending, count: number): boolean {
  spending.bytes += count;
  return bytes === 0 || spending.bytes <= bytes;
}
