import { describe, expect, test } from "vitest";
import { follow, wordOf } from "../../src/policy/breaker-sharing.ts";
import { admit, beginProbing, newBreaker, open } from "../../src/policy/breaker-state.ts";
import type { BreakerTransition } from "../../src/policy/breaker-store.ts";
import { breakerOptions } from "./breakers.ts";

const options = breakerOptions({ shared: true });
const moment = { timeMs: 500, wallMs: 1_790_000_000_000, openForMs: 10_000 };
const said = (changes: Partial<BreakerTransition>): BreakerTransition => ({
  key: "k",
  to: "open",
  why: "error_ratio",
  atWallMs: moment.wallMs - 1000,
  untilWallMs: moment.wallMs + 9000,
  ...changes,
});

describe("what others say", () => {
  test("opens a closed breaker for what is left of its time", () => {
    const breaker = newBreaker(options);
    expect(follow(breaker, said({}), moment)).toEqual({ from: "closed", to: "open", why: "fleet" });
    expect(admit(breaker, options, moment.timeMs)).toEqual({ kind: "refused", leftMs: 9000 });
  });

  test("never keeps it open for longer than its own policy says", () => {
    const breaker = newBreaker(options);
    follow(breaker, said({ untilWallMs: moment.wallMs + 3_600_000 }), moment);
    expect(admit(breaker, options, moment.timeMs)).toEqual({ kind: "refused", leftMs: 10_000 });
  });

  test("says nothing when its time is over", () => {
    const breaker = newBreaker(options);
    expect(follow(breaker, said({ untilWallMs: moment.wallMs }), moment)).toBeNull();
    expect(breaker.state.kind).toBe("closed");
  });

  test("prolongs an open one when the probe of another failed", () => {
    const breaker = newBreaker(options);
    open(breaker, 600, "consecutive_failures");
    expect(follow(breaker, said({ why: "probe_failed" }), moment)).toBeNull();
    expect(admit(breaker, options, moment.timeMs)).toEqual({ kind: "refused", leftMs: 9000 });
  });

  test.each(["open", "half_open"] as const)("closes one that is %s", (kind) => {
    const breaker = newBreaker(options);
    open(breaker, 600, "consecutive_failures");
    if (kind === "half_open") beginProbing(breaker);
    expect(follow(breaker, said({ to: "closed" }), moment)).toEqual({
      from: kind,
      to: "closed",
      why: "fleet",
    });
  });

  test("does not move one that is isolated by hand", () => {
    const breaker = newBreaker({ isolated: true });
    expect(follow(breaker, said({ to: "closed" }), moment)).toBeNull();
    expect(follow(breaker, said({}), moment)).toBeNull();
    expect(breaker.state.kind).toBe("isolated");
  });
});

describe("what is told to others", () => {
  test("is that it opened, and until when by the wall clock", () => {
    expect(wordOf("k", { from: "closed", to: "open", why: "error_ratio" }, moment)).toEqual({
      key: "k",
      to: "open",
      why: "error_ratio",
      atWallMs: moment.wallMs,
      untilWallMs: moment.wallMs + 10_000,
    });
  });

  test("is that it closed", () => {
    expect(wordOf("k", { from: "half_open", to: "closed", why: "probes_succeeded" }, moment)).toMatchObject({
      to: "closed",
      untilWallMs: 0,
    });
  });

  test("is neither that this sandbox probes nor what it has from others", () => {
    expect(wordOf("k", { from: "open", to: "half_open", why: "open_for_over" }, moment)).toBeNull();
    expect(wordOf("k", { from: "closed", to: "open", why: "fleet" }, moment)).toBeNull();
  });
});
