import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import {
  expectedCost,
  type LatencyEstimate,
  withFailure,
  withSample,
} from "../../src/policy/balance-latency.ts";

describe("the estimate of an endpoint's latency", () => {
  test("is the first answer's", () => {
    expect(withSample(null, 40, new VirtualClock()).ms).toBe(40);
  });

  test("rises at once to a slower answer", async () => {
    const clock = new VirtualClock();
    const first = withSample(null, 40, clock);
    await clock.advance(1);
    expect(withSample(first, 400, clock).ms).toBe(400);
  });

  test.each([
    [0, 400],
    [10_000, 400 / Math.E + 40 * (1 - 1 / Math.E)],
    [100_000, 40],
  ])("has come down to a faster one after %i ms as far as that time weighs", async (afterMs, expected) => {
    const clock = new VirtualClock();
    const slow = withSample(null, 400, clock);
    await clock.advance(afterMs);
    expect(withSample(slow, 40, clock).ms).toBeCloseTo(expected, 1);
  });

  test("counts a freeze as time, whichever clock stood still", () => {
    const before: LatencyEstimate = { ms: 400, at: { nowMs: 0, wallMs: 0 } };
    const frozen = { ...new VirtualClock(), after: () => ({ cancel: () => {} }) };
    expect(expectedCost(before, 0, { ...frozen, now: () => 1, wall: () => 1e6 })).toBeCloseTo(0);
    expect(expectedCost(before, 0, { ...frozen, now: () => 1e6, wall: () => 1 })).toBeCloseTo(0);
  });

  test("does not grow when the wall clock is set back", () => {
    const before: LatencyEstimate = { ms: 400, at: { nowMs: 0, wallMs: 1e6 } };
    const clock = { now: () => 0, wall: () => 0, after: () => ({ cancel: () => {} }) };
    expect(expectedCost(before, 0, clock)).toBe(400);
  });
});

test.each([
  [1, 5000],
  [9000, 9000],
])("a failure after %i ms counts as an answer that took %i", (elapsedMs, expected) => {
  expect(withFailure({ ms: 10, at: { nowMs: 0, wallMs: 0 } }, elapsedMs, new VirtualClock()).ms).toBe(
    expected,
  );
});

describe("the cost of one more call", () => {
  const clock = new VirtualClock();
  const at = { nowMs: clock.now(), wallMs: clock.wall() };

  test.each<[string, LatencyEstimate | null, number, number]>([
    ["is the estimate", { ms: 40, at }, 0, 40],
    ["and as much for each call in flight", { ms: 40, at }, 2, 120],
    ["is nothing where nothing is known", null, 0, 0],
    ["and a second each while the first answer is owed", null, 1, 2000],
  ])("%s", (_, estimate, inFlight, expected) => {
    expect(expectedCost(estimate, inFlight, clock)).toBe(expected);
  });

  test("falls with time, so that an endpoint that was slow is tried again", async () => {
    const later = new VirtualClock();
    const slow = withSample(null, 400, later);
    const fast = 40;
    await later.advance(30_000);
    expect(expectedCost(slow, 0, later)).toBeLessThan(fast);
  });
});
