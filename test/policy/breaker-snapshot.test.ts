import { expect, test } from "vitest";
import { type BreakerSnapshot, breakerFromJson, breakerToJson } from "../../src/policy/breaker-snapshot.ts";
import {
  admit,
  type Breaker,
  beginProbing,
  newBreaker,
  open,
  report,
} from "../../src/policy/breaker-state.ts";
import { breakerOptions } from "./breakers.ts";

const options = breakerOptions();
const then = { timeMs: 70_000, wallMs: 1_790_000_000_000 };
/** The next process begins its time anew, 4 s later. */
const later = { timeMs: 0, wallMs: then.wallMs + 4000 };

const moved = (breaker: Breaker, changes = {}): Breaker => {
  const text = JSON.stringify(breakerToJson(breaker, then));
  return breakerFromJson(JSON.parse(text) as BreakerSnapshot, { ...options, ...changes }, later);
};

test("an open breaker is open for what is left by the wall clock", () => {
  const breaker = newBreaker(options);
  open(breaker, then.timeMs + 10_000, "error_ratio");
  expect(admit(moved(breaker), options, later.timeMs)).toEqual({ kind: "refused", leftMs: 6000 });
});

test("an open breaker is never open for longer than the policy of the new process says", () => {
  const breaker = newBreaker(options);
  open(breaker, then.timeMs + 3_600_000, "error_ratio");
  expect(admit(moved(breaker), options, later.timeMs)).toEqual({ kind: "refused", leftMs: 10_000 });
});

test("an open breaker whose time is over may be probed", () => {
  const breaker = newBreaker(options);
  open(breaker, then.timeMs + 1000, "error_ratio");
  expect(admit(moved(breaker), options, later.timeMs)).toEqual({ kind: "due" });
});

test("a breaker whose probes were in flight may be probed again: they are lost", () => {
  const breaker = newBreaker(options);
  open(breaker, 0, "error_ratio");
  beginProbing(breaker);
  admit(breaker, options, then.timeMs);
  expect(admit(moved(breaker), options, later.timeMs)).toEqual({ kind: "due" });
});

test("a closed breaker keeps its failures in a row", () => {
  const breaker = newBreaker(options);
  const fail = (one: Breaker) => {
    const admission = admit(one, options, 0);
    if (admission.kind === "pass") {
      report(one, options, admission.ticket, { verdict: "failure", slow: false }, 0);
    }
  };
  fail(breaker);
  fail(breaker);
  const next = moved(breaker);
  expect(next.state.kind).toBe("closed");
  fail(next);
  expect(next.state.kind).toBe("open");
});

test("the policy's own word on isolation goes before the snapshot's", () => {
  expect(moved(newBreaker({ isolated: true })).state.kind).toBe("closed");
  expect(moved(newBreaker(options), { isolated: true }).state.kind).toBe("isolated");
});
