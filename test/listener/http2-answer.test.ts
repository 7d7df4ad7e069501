import { describe, expect, test } from "vitest";
import { Body } from "../../src/body.ts";
import { EgressError } from "../../src/errors.ts";
import { EgressResponse } from "../../src/exchange.ts";
import {
  answerList,
  headerObjectOf,
  isContentless,
  refusalContent,
  refusalList,
} from "../../src/listener/http2-answer.ts";

const response = (status: number, length: number | null, fields = ""): EgressResponse =>
  new EgressResponse(status, "ignored", fields, new Body(length, null, length === null ? null : ""));

describe("the head of an answer over HTTP/2", () => {
  test.each([
    [200, 5, ["content-length", "5"]],
    [200, 0, ["content-length", "0"]],
    [200, null, []],
    [304, 5, ["content-length", "5"]],
    [204, 0, []],
    [205, 0, []],
  ])("of status %s with length %s ends with %j", (status, length, expected) => {
    expect(answerList(response(status, length))).toEqual([":status", String(status), ...expected]);
  });

  test("has names in lower case, and what comes twice twice", () => {
    expect(answerList(response(200, null, "X-A:  1 \r\nSet-Cookie: a\r\nset-cookie: b\r\n"))).toEqual([
      ":status",
      "200",
      "x-a",
      "1",
      "set-cookie",
      "a",
      "set-cookie",
      "b",
    ]);
  });

  test.each([
    ["HEAD", 200, true],
    ["GET", 204, true],
    ["GET", 205, true],
    ["GET", 304, true],
    ["GET", 200, false],
    ["POST", 404, false],
  ])("to %s with %s has no content: %s", (method, status, expected) => {
    expect(isContentless(method, status)).toBe(expected);
  });
});

describe("a refusal over HTTP/2", () => {
  test("says what it says over HTTP/1.1", () => {
    const error = new EgressError("RATE_LIMITED", "never shown");
    error.replyFields = "Retry-After: 3\r\n";
    const content = refusalContent(error, "c-1");
    expect(content).toBe(
      "outrider: rate limit: The destination's rate limit is used up. [RATE_LIMITED c-1]\n",
    );
    expect(refusalList(error, content)).toEqual([
      ":status",
      "429",
      "content-type",
      "text/plain; charset=utf-8",
      "cache-control",
      "no-store",
      "outrider-error",
      "RATE_LIMITED",
      "retry-after",
      "3",
      "content-length",
      String(content.length),
    ]);
  });
});

test("trailers become an object without a prototype, names that come twice an array", () => {
  const object = headerObjectOf([], "X-A: 1\r\nx-a: 2\r\n__proto__: 3\r\n");
  expect(Object.getPrototypeOf(object)).toBeNull();
  expect(Object.entries(object)).toEqual([
    ["x-a", ["1", "2"]],
    ["__proto__", ["3"]],
  ]);
});
