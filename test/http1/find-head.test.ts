import { expect, test } from "vitest";
import { findHead } from "../../src/http1/find-head.ts";

test("a head runs to its empty line", () => {
  expect(findHead("GET / HTTP/1.1\r\nA: b\r\n\r\nrest")).toEqual({
    kind: "whole",
    start: 0,
    end: 22,
    next: 24,
  });
});

test("a head without fields is whole", () => {
  expect(findHead("GET / HTTP/1.1\r\n\r\n")).toEqual({ kind: "whole", start: 0, end: 16, next: 18 });
});

test.each([0, 1, 4])("%i empty lines before a head are skipped", (count) => {
  const start = count * 2;
  expect(findHead(`${"\r\n".repeat(count)}A\r\n\r\n`)).toEqual({
    kind: "whole",
    start,
    end: start + 3,
    next: start + 5,
  });
});

test("more empty lines are no beginning", () => {
  expect(findHead("\r\n".repeat(5)).kind).toBe("hopeless");
});

test.each([
  "",
  "G",
  "GET / HTTP/1.1",
  "GET / HTTP/1.1\r",
  "GET / HTTP/1.1\r\n",
  "A\r\nB: c\r\n\r",
  "\r",
  "\r\n",
])("%j may still become a head", (text) => {
  expect(findHead(text).kind).toBe("partial");
});

test.each(["\n", "GET / HTTP/1.1\n", "A\r\nB: c\nD: e", "A\rB", "A\r\r\n", "A\n\n", "\r\n\n"])(
  "%j can never become a head",
  (text) => {
    expect(findHead(text).kind).toBe("hopeless");
  },
);
