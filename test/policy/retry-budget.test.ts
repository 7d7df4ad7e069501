import { expect, test } from "vitest";
import {
  budgetAllows,
  newRetryBudget,
  type RetryBudget,
  refillFloor,
  rewardSuccess,
  spendRetry,
} from "../../src/policy/retry-budget.ts";

/** Retries until the budget says no. */
function spendAll(budget: RetryBudget): number {
  let retries = 0;
  while (budgetAllows(budget)) {
    spendRetry(budget);
    retries += 1;
    expect(retries).toBeLessThan(1000);
  }
  return retries;
}

test("a destination that was well may see ten retries, then none", () => {
  expect(spendAll(newRetryBudget(0))).toBe(10);
});

test("each success gives back its ratio", () => {
  const budget = newRetryBudget(0);
  spendAll(budget);
  for (let i = 0; i < 10; i++) rewardSuccess(budget, 0.2);
  expect(spendAll(budget)).toBe(2);
});

test("the bucket never holds more than ten", () => {
  const budget = newRetryBudget(0);
  for (let i = 0; i < 1000; i++) rewardSuccess(budget, 1);
  expect(spendAll(budget)).toBe(10);
});

test("each invocation has its floor, whatever the bucket says, and once only", () => {
  const budget = newRetryBudget(2);
  refillFloor(budget, 2, 1);
  spendAll(budget);
  refillFloor(budget, 2, 1);
  expect(budgetAllows(budget)).toBe(false);
  refillFloor(budget, 2, 2);
  expect(spendAll(budget)).toBe(2);
});

test("the floor bounds what is always allowed: it does not come on top of the bucket", () => {
  expect(spendAll(newRetryBudget(3))).toBe(10);
});

test("in the long run retries are the ratio of the successes", () => {
  const budget = newRetryBudget(0);
  let retries = 0;
  for (let call = 0; call < 10_000; call++) {
    // Every call fails once and, when it is allowed another try, succeeds.
    if (!budgetAllows(budget)) {
      rewardSuccess(budget, 0.2);
      continue;
    }
    spendRetry(budget);
    retries += 1;
    rewardSuccess(budget, 0.2);
  }
  expect(retries).toBeLessThanOrEqual(10 + 0.2 * 10_000);
  expect(retries).toBeGreaterThan(0.19 * 10_000);
});
