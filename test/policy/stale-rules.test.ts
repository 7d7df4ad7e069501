import { describe, expect, test } from "vitest";
import { Body } from "../../src/body.ts";
import type { RequestParts } from "../../src/exchange.ts";
import { cacheDirectives, directiveMs } from "../../src/policy/stale-directives.ts";
import {
  invalidates,
  isKeepable,
  keepingOf,
  mayServe,
  staleKey,
  supersedes,
} from "../../src/policy/stale-rules.ts";
import { Source } from "./bodies.ts";
import { answer, call } from "./calls.ts";

/** 2026-11-25T00:00:00Z */
const WALL = Date.UTC(2026, 10, 25);
const MAX = 600_000;

const keep = (fields: string, requestFields = "", status = 200) =>
  keepingOf(call({ fields: requestFields }), answer(status, fields), MAX, WALL);

describe("Cache-Control", () => {
  test.each([
    ["no-store", [["no-store", ""]]],
    [
      "Max-Age=60, PUBLIC",
      [
        ["max-age", "60"],
        ["public", ""],
      ],
    ],
    [
      'private="set-cookie, x", max-age="5"',
      [
        ["private", "set-cookie, x"],
        ["max-age", "5"],
      ],
    ],
    ["max-age=1, max-age=9", [["max-age", "1"]]],
    [",, ,", []],
  ])("%s reads as %j", (value, directives) => {
    expect([...cacheDirectives(`Cache-Control: ${value}\r\n`)]).toEqual(directives);
  });

  test("in several lines is one", () => {
    expect([...cacheDirectives("cache-control: a\r\nX: y\r\nCache-Control: b\r\n").keys()]).toEqual([
      "a",
      "b",
    ]);
  });

  test.each([
    ["max-age=60", 60_000],
    ["max-age=soon", 0],
    ["max-age=-1", 0],
    ["max-age", 0],
    ["public", null],
  ])("%s counts %s ms", (value, ms) => {
    expect(directiveMs(cacheDirectives(`Cache-Control: ${value}\r\n`), "max-age")).toBe(ms);
  });
});

describe("a request whose answer may be kept", () => {
  test.each<[string, Partial<RequestParts>, boolean]>([
    ["a plain GET", {}, true],
    ["a conditional one that a whole answer satisfies", { fields: 'If-None-Match: "a"\r\n' }, true],
    ["one that asks for a fresh answer", { fields: "Cache-Control: no-cache\r\n" }, true],
    ["HEAD", { method: "HEAD" }, false],
    ["POST", { method: "POST" }, false],
    ["a GET with a body", { body: Body.of("x") }, false],
    ["a GET with a body that is still coming", { body: new Source().body }, false],
    ["a change of protocol", { upgrade: "websocket" }, false],
    ["one with Authorization", { fields: "authorization: Bearer x\r\n" }, false],
    ["one with a cookie", { fields: "Cookie: a=b\r\n" }, false],
    ["one for a part", { fields: "Range: bytes=0-1\r\n" }, false],
    ["one with If-Match", { fields: "If-Match: *\r\n" }, false],
    ["one that forbids it", { fields: "Cache-Control: no-store\r\n" }, false],
    ["a presigned one", { path: "/k?X-Amz-SignedHeaders=host&X-Amz-Signature=0" }, false],
  ])("%s: %s", (_, parts, keepable) => {
    expect(isKeepable(call(parts))).toBe(keepable);
  });

  test("is known by its whole target", () => {
    expect(staleKey(call({ path: "/a?b=c" }))).toBe("https://api.example:443/a?b=c");
  });
});

describe("an answer that may be kept", () => {
  test.each([
    ["says nothing about it", "", true],
    ["is public", "Cache-Control: public\r\n", true],
    ["varies by a request header", "Vary: Accept\r\n", true],
    ["varies by everything", "Vary: Accept, *\r\n", false],
    ["forbids to store it", "Cache-Control: no-store\r\n", false],
    ["is one user's", "Cache-Control: private\r\n", false],
    ["is one user's in part", 'Cache-Control: private="x"\r\n', false],
    ["has to be asked for each time", "Cache-Control: no-cache\r\n", false],
    ["sets a cookie", "Set-Cookie: a=b\r\n", false],
    ["is older than the policy allows already", "Age: 600\r\n", false],
    ["is older by its Date", "Date: Tue, 24 Nov 2026 23:00:00 GMT\r\n", false],
    ["has to be revalidated when stale, and is stale at once", "Cache-Control: must-revalidate\r\n", false],
  ])("%s: %s", (_, fields, kept) => {
    expect(keep(fields) !== null).toBe(kept);
  });

  test.each([201, 203, 204, 206, 301, 304, 404, 500])("has no status %i", (status) => {
    expect(keep("", "", status)).toBe(null);
  });

  test.each([
    ["the policy's word alone", "", MAX, 0],
    ["freshness shortens nothing", "Cache-Control: max-age=10\r\n", MAX, 10_000],
    ["nor lengthens it", "Cache-Control: max-age=9999\r\n", MAX, 9_999_000],
    [
      "stale-if-error is the upstream's own bound",
      "Cache-Control: max-age=60, stale-if-error=30\r\n",
      90_000,
      60_000,
    ],
    ["fresh only: must-revalidate", "Cache-Control: max-age=60, must-revalidate\r\n", 60_000, 60_000],
    ["fresh only: proxy-revalidate", "Cache-Control: max-age=60, proxy-revalidate\r\n", 60_000, 60_000],
    [
      "fresh only: s-maxage, which goes before max-age",
      "Cache-Control: max-age=5, s-maxage=60\r\n",
      60_000,
      60_000,
    ],
    [
      "strict goes before stale-if-error",
      "Cache-Control: max-age=60, must-revalidate, stale-if-error=99\r\n",
      60_000,
      60_000,
    ],
    [
      "freshness by Expires",
      "Date: Wed, 25 Nov 2026 00:00:00 GMT\r\nExpires: Wed, 25 Nov 2026 00:01:00 GMT\r\nCache-Control: stale-if-error=10\r\n",
      70_000,
      60_000,
    ],
  ])("up to an age: %s", (_, fields, ageMsMax, freshMs) => {
    expect(keep(fields)).toMatchObject({ ageMsMax, freshMs });
  });

  test.each([
    ["", 0],
    ["Age: 7\r\n", 7000],
    ["Date: Tue, 24 Nov 2026 23:59:50 GMT\r\n", 10_000],
    ["Age: 30\r\nDate: Tue, 24 Nov 2026 23:59:50 GMT\r\n", 30_000],
    ["Date: Wed, 25 Nov 2026 00:00:30 GMT\r\n", 0],
    ["Age: old\r\n", 0],
  ])("%j is so old on arrival: %i ms", (fields, ageMs) => {
    expect(keep(fields)?.ageMs).toBe(ageMs);
  });
});

describe("an answer that was kept is served", () => {
  const served = (kept: string, ageMs: number, now = "", then = "") =>
    mayServe(keep(kept, then)!, ageMs, call({ fields: now }));

  test.each<[string, boolean, Parameters<typeof served>]>([
    ["at the greatest age", true, ["", MAX]],
    ["no longer than that", false, ["", MAX + 1]],
    [
      "to a request with the header that it varies by",
      true,
      ["Vary: X-Lang\r\n", 1, "x-lang: de\r\n", "X-Lang: de\r\n"],
    ],
    ["not to one with another value", false, ["Vary: X-Lang\r\n", 1, "x-lang: en\r\n", "X-Lang: de\r\n"]],
    ["not to one without it", false, ["Vary: X-Lang\r\n", 1, "", "X-Lang: de\r\n"]],
    ["not to one with it, if there was none", false, ["Vary: X-Lang\r\n", 1, "x-lang: de\r\n"]],
    ["not to another caller's API key, Vary or not", false, ["", 1, "X-Api-Key: b\r\n", "X-Api-Key: a\r\n"]],
    ["not to one that wants no kept answer", false, ["", 1, "Cache-Control: no-cache\r\n"]],
    ["nor in the old way", false, ["", 1, "Pragma: no-cache\r\n"]],
    ["to one that wants it younger than that", true, ["", 4000, "Cache-Control: max-age=4\r\n"]],
    ["not to one that wants it younger than it is", false, ["", 4001, "Cache-Control: max-age=4\r\n"]],
    [
      "to one that allows so much staleness",
      true,
      ["Cache-Control: max-age=10\r\n", 15_000, "Cache-Control: stale-if-error=5\r\n"],
    ],
    [
      "not to one that allows less",
      false,
      ["Cache-Control: max-age=10\r\n", 15_001, "Cache-Control: stale-if-error=5\r\n"],
    ],
  ])("%s: %s", (_, may, parts) => {
    expect(served(...parts)).toBe(may);
  });
});

describe("what was kept is forgotten", () => {
  test.each([
    [200, true],
    [301, true],
    [403, true],
    [404, true],
    [410, true],
    [304, false],
    [408, false],
    [429, false],
    [500, false],
    [503, false],
  ])("when the target answers %i: %s", (status, forgotten) => {
    expect(supersedes(status)).toBe(forgotten);
  });

  test.each([
    ["PUT", 204, true],
    ["DELETE", 200, true],
    ["POST", 303, true],
    ["PUT", 500, false],
    ["PUT", 409, false],
    ["HEAD", 200, false],
    ["OPTIONS", 204, false],
  ])("when %s is answered %i (RFC 9111 §4.4): %s", (method, status, forgotten) => {
    expect(invalidates(method, status)).toBe(forgotten);
  });
});
