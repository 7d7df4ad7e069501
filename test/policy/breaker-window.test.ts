import { describe, expect, test } from "vitest";
import { count, newCallWindow, total } from "../../src/policy/breaker-window.ts";

const ONE = { calls: 1, failures: 0, slow: 0 };

describe("a sliding window of ten seconds", () => {
  test("sums what happened in it, by kind", () => {
    const window = newCallWindow();
    count(window, 10_000, 0, { calls: 1, failures: 1, slow: 0 });
    count(window, 10_000, 3000, { calls: 1, failures: 0, slow: 1 });
    count(window, 10_000, 3001, ONE);
    expect(total(window, 10_000, 3001)).toEqual({ calls: 3, failures: 1, slow: 1 });
  });

  test.each([
    [9999, 2],
    [10_000, 1],
    [14_999, 1],
    [15_000, 0],
    [900_000, 0],
  ])("after %i ms what came at 0 and at 5 s counts as %i", (atMs, calls) => {
    const window = newCallWindow();
    count(window, 10_000, 0, ONE);
    count(window, 10_000, 5000, ONE);
    expect(total(window, 10_000, atMs).calls).toBe(calls);
  });

  test("holds no more than its ten slots, however long it is filled", () => {
    const window = newCallWindow();
    for (let atMs = 0; atMs < 1_000_000; atMs += 100) count(window, 10_000, atMs, ONE);
    expect(window.slots).toHaveLength(10);
    expect(total(window, 10_000, 999_900).calls).toBe(100);
  });

  test("is plain data", () => {
    const window = newCallWindow();
    count(window, 10_000, 1234, ONE);
    expect(total(JSON.parse(JSON.stringify(window)), 10_000, 1234)).toEqual(ONE);
  });
});
