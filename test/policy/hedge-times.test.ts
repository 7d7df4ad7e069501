import { describe, expect, test } from "vitest";
import { RecentTimes, TIMES_MAX } from "../../src/policy/hedge-times.ts";
import { seeded } from "./calls.ts";

function timesOf(values: Iterable<number>): RecentTimes {
  const times = new RecentTimes();
  for (const value of values) times.add(value);
  return times;
}

const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);

describe("a percentile of the recent times", () => {
  test.each([
    [50, 100, 50],
    [90, 100, 90],
    [95, 100, 95],
    [99, 100, 99],
    [99.9, 1000, 999],
    [50, 20, 10],
  ])("the %d. of 1 to %d is %d", (percentile, count, ms) => {
    expect(timesOf(upTo(count)).percentile(percentile)).toBe(ms);
    expect(timesOf(upTo(count).reverse()).percentile(percentile)).toBe(ms);
  });

  test.each([
    [50, 19],
    [95, 19],
    [99, 99],
    [99.9, 999],
  ])("the %d. of %d times is not known yet, and one more is enough", (percentile, count) => {
    const times = timesOf(upTo(count));
    expect(times.percentile(percentile)).toBeNull();
    times.add(1);
    expect(times.percentile(percentile)).not.toBeNull();
  });

  test("is one of the last 1024 only", () => {
    const times = timesOf(upTo(100).map(() => 5000));
    for (let i = 0; i < TIMES_MAX; i++) times.add(7);
    expect([50, 99.9].map((percentile) => times.percentile(percentile))).toEqual([7, 7]);
  });

  test("is what sorting the last 1024 would give, whatever they are", () => {
    const random = seeded(7);
    const all: number[] = [];
    const times = new RecentTimes();
    for (let i = 0; i < 5000; i++) {
      const ms = random() < 0.3 ? 10 : Math.floor(random() * 2000) / 4;
      all.push(ms);
      times.add(ms);
      if (i % 97 !== 0 || i < 1000) continue;
      const sorted = all.slice(-TIMES_MAX).sort((a, b) => a - b);
      for (const percentile of [50, 75, 90, 99, 99.9]) {
        const rank = Math.ceil((percentile / 100) * sorted.length - 1e-6);
        expect(times.percentile(percentile), `after ${i}, ${percentile}`).toBe(sorted[rank - 1]);
      }
    }
  });
});
