/** Which word a mistyped one was meant to be. */
import { expect, test } from "vitest";
import { nearest } from "../../src/config/nearest.ts";

const KEYS = ["max_retries", "on", "methods", "backoff", "budget", "port", "hosts", "ports"];

test.each([
  ["max_retry", "max_retries"],
  ["maxRetries", "max_retries"],
  ["MAX_RETRIES", "max_retries"],
  ["method", "methods"],
  ["backof", "backoff"],
  ["prot", "port"],
  ["host", "hosts"],
  ["no", "on"],
])("%s is near %s", (word, meant) => {
  expect(nearest(word, KEYS)).toBe(meant);
});

test.each(["", "x", "timeout", "circuit_breaker", "constructor", "m".repeat(100_000)])(
  "%.20s is near none",
  (word) => {
    expect(nearest(word, KEYS)).toBeNull();
  },
);

test("the nearest of several wins", () => {
  expect(nearest("portz", ["port", "ports"])).toBe("port");
  expect(nearest("ports", ["port", "ports"])).toBe("ports");
});
