import { describe, expect, test } from "vitest";
import {
  begin,
  type Gradient,
  type GradientBounds,
  limitNow,
  newGradient,
  SLOW_WINDOWS_MAX,
  sample,
  WINDOW_MS_MIN,
  WINDOW_SAMPLES_MIN,
} from "../../src/policy/gradient.ts";

const bounds = { min: 1, max: 200 };

/** One full window of calls that take `latencyMs` each, with as many in flight as may be unless `inFlight` says less. */
function window(gradient: Gradient, latencyMs: number, inFlight = Infinity, within = bounds): void {
  const nowMs = gradient.window.openedMs + WINDOW_MS_MIN;
  for (let i = 0; i < WINDOW_SAMPLES_MIN; i++) {
    const number = begin(gradient, Math.min(inFlight, limitNow(gradient, within)));
    sample(gradient, within, number, latencyMs, nowMs);
  }
}

const started = (within: GradientBounds = bounds) => newGradient(within, 0);

describe("a limit by the latency gradient", () => {
  test.each([
    [{ min: 1, max: 200 }, 20],
    [{ min: 1, max: 8 }, 8],
    [{ min: 50, max: 200 }, 50],
  ])("begins at 20 within %j: %i", (within, limit) => {
    expect(limitNow(started(within), within)).toBe(limit);
  });

  test("grows by its square root while the latency is what it was", () => {
    const gradient = started();
    window(gradient, 100);
    expect(gradient.limit).toBeCloseTo(20 + Math.sqrt(20));
  });

  test("falls by the gradient, by half at most, when the latency grows", () => {
    const gradient = started();
    window(gradient, 100);
    gradient.limit = 100;
    window(gradient, 250);
    expect(gradient.limit).toBeCloseTo(100 * 0.5 + 10);
    gradient.limit = 100;
    window(gradient, 10_000);
    expect(gradient.limit).toBeCloseTo(100 * 0.5 + 10);
  });

  test.each([
    ["a quarter of the baseline", 100, 125],
    ["two milliseconds", 1, 3],
  ])("takes a difference of %s for none", (_, baselineMs, latencyMs) => {
    const gradient = started();
    window(gradient, baselineMs);
    const before = gradient.limit;
    window(gradient, latencyMs);
    expect(gradient.limit).toBeGreaterThan(before);
    expect(gradient.slowWindows).toBe(0);
  });

  test("keeps within its bounds, whatever the latency does", () => {
    const within = { min: 4, max: 30 };
    const gradient = started(within);
    for (let i = 0; i < 40; i++) window(gradient, 10, Infinity, within);
    expect(limitNow(gradient, within)).toBe(30);
    for (let i = 0; i < 40; i++) window(gradient, 10 * 2 ** i, Infinity, within);
    expect(limitNow(gradient, within)).toBeGreaterThanOrEqual(4);
    expect(limitNow({ ...gradient, limit: 4, measuring: true }, within)).toBe(4);
  });

  test("stays where it is while less than half of it is in use", () => {
    const gradient = started();
    window(gradient, 100, 9);
    window(gradient, 900, 9);
    expect(gradient.limit).toBe(20);
  });

  test("judges by the median: some slow calls are no sign", () => {
    const gradient = started();
    window(gradient, 100);
    const before = gradient.limit;
    const number = begin(gradient, 20);
    for (let i = 0; i < 10; i++) sample(gradient, bounds, number, i < 4 ? 60_000 : 100, 1000);
    expect(gradient.limit).toBeGreaterThan(before);
  });

  test("waits for enough calls and enough time before it judges", () => {
    const gradient = started();
    const number = begin(gradient, 20);
    for (let i = 0; i < 50; i++) sample(gradient, bounds, number, 10, WINDOW_MS_MIN - 1);
    expect(gradient.window.number).toBe(0);
    sample(gradient, bounds, number, 10, WINDOW_MS_MIN);
    expect(gradient.window.number).toBe(1);
    for (let i = 0; i < WINDOW_SAMPLES_MIN - 1; i++) sample(gradient, bounds, begin(gradient, 1), 10, 60_000);
    expect(gradient.window.number).toBe(1);
  });

  test("does not count calls that began before its last step", () => {
    const gradient = started();
    const old = begin(gradient, 20);
    window(gradient, 100);
    for (let i = 0; i < 20; i++) sample(gradient, bounds, old, 9000, 10_000);
    expect(gradient.window.latenciesMs).toEqual([]);
  });
});

describe("the latency without queueing", () => {
  test("falls with a faster window at once", () => {
    const gradient = started();
    window(gradient, 100);
    window(gradient, 40);
    expect(gradient.baselineMs).toBe(40);
  });

  test("is measured at half the limit after a row of slow windows, and then believed", () => {
    const gradient = started({ min: 1, max: 200 });
    window(gradient, 100);
    for (let i = 0; i < SLOW_WINDOWS_MAX - 1; i++) window(gradient, 300);
    expect(gradient.measuring).toBe(false);
    window(gradient, 300);
    expect(gradient.measuring).toBe(true);
    const { limit } = gradient;
    expect(limitNow(gradient, bounds)).toBe(Math.max(1, Math.floor(limit / 2)));
    window(gradient, 290);
    expect(gradient).toMatchObject({ baselineMs: 290, limit, measuring: false, slowWindows: 0 });
  });

  test("is not measured anew when the slow windows were not in a row", () => {
    const gradient = started();
    window(gradient, 100);
    for (let i = 0; i < SLOW_WINDOWS_MAX * 3; i++) window(gradient, i % 5 === 0 ? 100 : 300);
    expect(gradient).toMatchObject({ baselineMs: 100, measuring: false });
  });
});

test("the state of a gradient is plain data", () => {
  const gradient = started();
  window(gradient, 100);
  const copy: Gradient = JSON.parse(JSON.stringify(gradient));
  window(gradient, 200);
  window(copy, 200);
  expect(copy).toEqual(gradient);
});
