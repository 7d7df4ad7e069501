import { describe, expect, test } from "vitest";
import type { Clock } from "../../src/clock.ts";
import { newTokenBucket, takeToken, untilTokensMs } from "../../src/policy/token-bucket.ts";

/** Both clocks of a sandbox, moved by hand and apart. */
class TwoClocks implements Clock {
  nowMs = 0;
  wallMs = 1_790_000_000_000;
  now = () => this.nowMs;
  wall = () => this.wallMs;
  after = () => {
    throw new Error("a token bucket needs no timer");
  };
  pass(ms: number): void {
    this.nowMs += ms;
    this.wallMs += ms;
  }
}

const flow = { perSecond: 10, burst: 5 };

function taken(clock: Clock, bucket: ReturnType<typeof newTokenBucket>): number {
  let count = 0;
  while (takeToken(bucket, flow, clock)) count += 1;
  return count;
}

describe("a token bucket of 5 with 10 a second", () => {
  test("starts full, then flows", () => {
    const clock = new TwoClocks();
    const bucket = newTokenBucket(flow, clock);
    expect(taken(clock, bucket)).toBe(5);
    clock.pass(99);
    expect(taken(clock, bucket)).toBe(0);
    clock.pass(1);
    expect(taken(clock, bucket)).toBe(1);
    clock.pass(250);
    expect(taken(clock, bucket)).toBe(2);
  });

  test("holds no more than its burst, however long nobody called", () => {
    const clock = new TwoClocks();
    const bucket = newTokenBucket(flow, clock);
    clock.pass(3_600_000);
    expect(taken(clock, bucket)).toBe(5);
  });

  test("knows when the next tokens are due", () => {
    const clock = new TwoClocks();
    const bucket = newTokenBucket(flow, clock);
    expect(untilTokensMs(bucket, flow, 1, clock)).toBe(0);
    taken(clock, bucket);
    expect([1, 2, 10].map((count) => untilTokensMs(bucket, flow, count, clock))).toEqual([100, 200, 1000]);
    clock.pass(50);
    expect(untilTokensMs(bucket, flow, 1, clock)).toBe(50);
  });

  test("is full after a freeze in which the monotonic clock stood still", () => {
    const clock = new TwoClocks();
    const bucket = newTokenBucket(flow, clock);
    taken(clock, bucket);
    clock.wallMs += 900_000;
    expect(taken(clock, bucket)).toBe(5);
    expect(taken(clock, bucket)).toBe(0);
  });

  test("is full after a freeze in which the monotonic clock went on", () => {
    const clock = new TwoClocks();
    const bucket = newTokenBucket(flow, clock);
    taken(clock, bucket);
    clock.pass(900_000);
    expect(taken(clock, bucket)).toBe(5);
  });

  test("does not mind a wall clock that jumps back: the flow goes on, neither more nor less", () => {
    const clock = new TwoClocks();
    const bucket = newTokenBucket(flow, clock);
    taken(clock, bucket);
    clock.wallMs -= 3_600_000;
    clock.pass(100);
    expect(taken(clock, bucket)).toBe(1);
    clock.pass(100);
    expect(taken(clock, bucket)).toBe(1);
  });

  test("gives a burst at most for a wall clock that jumps ahead", () => {
    const clock = new TwoClocks();
    const bucket = newTokenBucket(flow, clock);
    clock.wallMs += 3_600_000;
    expect(taken(clock, bucket)).toBe(5);
    clock.pass(100);
    expect(taken(clock, bucket)).toBe(1);
  });

  test("a monotonic clock that went back takes nothing away", () => {
    const clock = new TwoClocks();
    const bucket = newTokenBucket(flow, clock);
    clock.nowMs -= 5000;
    expect(taken(clock, bucket)).toBe(5);
  });

  test("does not flow faster because the wall clock has whole milliseconds", () => {
    const clock = new TwoClocks();
    const bucket = newTokenBucket(flow, clock);
    const started = clock.wallMs;
    let total = 0;
    for (let tenths = 1; tenths <= 100_000; tenths++) {
      clock.nowMs = tenths / 10;
      clock.wallMs = started + Math.round(tenths / 10);
      if (takeToken(bucket, flow, clock)) total += 1;
    }
    // Ten seconds: the burst and 100 more, give or take one for the sum of 100 000 fractions.
    expect(total).toBeGreaterThanOrEqual(104);
    expect(total).toBeLessThanOrEqual(105);
  });
});
