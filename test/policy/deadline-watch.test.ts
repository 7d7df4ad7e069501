/** One timer for many deadlines. */
import { expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { DeadlineWatch, type Watched } from "../../src/policy/deadline-watch.ts";

/** A watched call that notes its name when its deadline has passed, and then does what `then` says. */
function call(name: string, deadlineMs: number, expired: string[], then: () => void = () => {}): Watched {
  return {
    deadlineMs,
    place: -1,
    expired: () => {
      expired.push(name);
      then();
      return false;
    },
  };
}

test("each call expires at its own time, once, whatever the order in which they came and went", async () => {
  const clock = new VirtualClock();
  const watch = new DeadlineWatch(clock);
  const expired: string[] = [];
  const calls = [30, 10, 20, 40, 15].map((ms) => call(String(ms), ms, expired));
  for (const one of calls) watch.watch(one, clock.now());
  watch.forget(calls[2]!);
  watch.forget(calls[2]!);
  await clock.advance(29);
  expect(expired).toEqual(["10", "15"]);
  watch.forget(calls[0]!);
  await clock.advance(100);
  expect(expired).toEqual(["10", "15", "40"]);
  expect(clock.untilNext()).toBeNull();
});

test("a call that is ended by another's expiry does not expire", async () => {
  const clock = new VirtualClock();
  const watch = new DeadlineWatch(clock);
  const expired: string[] = [];
  const second = call("second", 10, expired);
  const first = call("first", 10, expired, () => watch.forget(second));
  watch.watch(first, clock.now());
  watch.watch(second, clock.now());
  await clock.advance(10);
  expect(expired).toEqual(["first"]);
});
