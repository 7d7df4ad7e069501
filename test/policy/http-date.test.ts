import { describe, expect, test } from "vitest";
import { parseHttpDate, parseRetryAfter } from "../../src/policy/http-date.ts";

const IN_2026 = Date.UTC(2026, 8, 1);

describe("an HTTP-date", () => {
  test.each([
    ["Sun, 06 Nov 1994 08:49:37 GMT", "1994-11-06T08:49:37.000Z"],
    ["Sunday, 06-Nov-94 08:49:37 GMT", "1994-11-06T08:49:37.000Z"],
    ["Sun Nov  6 08:49:37 1994", "1994-11-06T08:49:37.000Z"],
    ["Wed Nov 16 08:49:37 1994", "1994-11-16T08:49:37.000Z"],
    ["Tuesday, 01-Sep-76 00:00:00 GMT", "2076-09-01T00:00:00.000Z"],
    ["Tuesday, 01-Sep-77 00:00:00 GMT", "1977-09-01T00:00:00.000Z"],
    ["Thu, 29 Feb 2024 00:00:00 GMT", "2024-02-29T00:00:00.000Z"],
    ["Sat, 31 Dec 2016 23:59:60 GMT", "2017-01-01T00:00:00.000Z"],
  ])("%s", (text, iso) => {
    expect(new Date(parseHttpDate(text, IN_2026)!).toISOString()).toBe(iso);
  });

  test.each([
    "",
    "now",
    "-5",
    "2026-09-01T00:00:00Z",
    "Sun, 06 Nov 1994 08:49:37",
    "Sun, 06 Nov 1994 08:49:37 UTC",
    "Sun, 6 Nov 1994 08:49:37 GMT",
    "sun, 06 nov 1994 08:49:37 GMT",
    "Sun, 06 Now 1994 08:49:37 GMT",
    "Sun, 30 Feb 2026 00:00:00 GMT",
    "Sun, 00 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 24:00:00 GMT",
    "Sun, 06 Nov 1994 08:60:00 GMT",
    "Sun, 06 Nov 1994 08:49:61 GMT",
  ])("%j is none", (text) => {
    expect(parseHttpDate(text, IN_2026)).toBeNull();
  });
});

describe("Retry-After", () => {
  test.each([
    ["0", 0],
    ["120", 120_000],
    ["9999999999", 9_999_999_999_000],
    ["Tue, 01 Sep 2026 00:00:10 GMT", 10_000],
    ["Mon, 31 Aug 2026 23:59:00 GMT", 0],
  ])("%j asks for %d ms", (value, ms) => {
    expect(parseRetryAfter(value, IN_2026)).toBe(ms);
  });

  test.each(["", "-1", "1.5", "1e3", "soon", "12345678901", "1, 2"])("%j asks for nothing", (value) => {
    expect(parseRetryAfter(value, IN_2026)).toBeNull();
  });
});
