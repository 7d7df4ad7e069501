import { expect, test } from "vitest";
import { newBreakerTime, passedMs } from "../../src/policy/breaker-time.ts";
import { FreezingClock } from "./breakers.ts";

test("breaker time is the monotonic clock's", async () => {
  const clock = new FreezingClock(5000);
  const time = newBreakerTime(clock);
  await clock.advance(70);
  expect(passedMs(time, clock)).toBe(70);
  await clock.advance(30);
  expect(passedMs(time, clock)).toBe(100);
});

test("breaker time goes on in a freeze in which the monotonic clock stood still", () => {
  const clock = new FreezingClock();
  const time = newBreakerTime(clock);
  clock.freeze(900_000);
  expect(passedMs(time, clock)).toBe(900_000);
  expect(passedMs(time, clock)).toBe(900_000);
});

test("breaker time goes on in a freeze in which both clocks went on, once", async () => {
  const clock = new FreezingClock();
  const time = newBreakerTime(clock);
  await clock.advance(900_000);
  expect(passedMs(time, clock)).toBe(900_000);
});

test("breaker time does not mind a wall clock that jumps back", async () => {
  const clock = new FreezingClock();
  const time = newBreakerTime(clock);
  clock.freeze(-3_600_000);
  await clock.advance(10);
  expect(passedMs(time, clock)).toBe(10);
});

test("breaker time does not add up the different grain of the clocks", async () => {
  const clock = new FreezingClock();
  const time = newBreakerTime(clock);
  for (let look = 0; look < 1000; look++) {
    clock.freeze(1);
    passedMs(time, clock);
  }
  expect(passedMs(time, clock)).toBe(0);
});
