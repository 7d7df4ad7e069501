import { expect, test } from "vitest";
import { DRAIN_BYTES_MAX, discard } from "../../src/policy/discard.ts";
import { Source } from "./bodies.ts";
import { answer, failure } from "./calls.ts";

const reason = failure("UPSTREAM_ABORTED");

test("a body that is all here needs nothing", () => {
  const cutOff = discard(answer(503), reason);
  expect(cutOff).not.toThrow();
});

test("what is left of a short body is drained to its end, so that the connection can be used again", () => {
  const source = new Source(6);
  source.push("abc");
  const cutOff = discard(answer(503, "", source.body), reason);
  expect(source.paused).toBe(false);
  source.push("def");
  source.body.end();
  cutOff();
  expect(source.cancelledFor).toBeNull();
});

test("what has not come by the end of the wait is cut off", () => {
  const source = new Source(6);
  const cutOff = discard(answer(503, "", source.body), reason);
  source.push("abc");
  expect(source.cancelledFor).toBeNull();
  cutOff();
  expect(source.cancelledFor).toBe(reason);
});

test("a body that says that it is long is cut off at once", () => {
  const source = new Source(DRAIN_BYTES_MAX + 1);
  discard(answer(503, "", source.body), reason);
  expect(source.cancelledFor).toBe(reason);
});

test("a body that turns out to be long is cut off at the bound", () => {
  const source = new Source();
  discard(answer(503, "", source.body), reason);
  source.push("x".repeat(DRAIN_BYTES_MAX));
  expect(source.cancelledFor).toBeNull();
  source.push("x");
  expect(source.cancelledFor).toBe(reason);
});
