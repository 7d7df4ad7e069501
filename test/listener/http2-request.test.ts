import { describe, expect, test } from "vitest";
import { readHttp2Head } from "../../src/listener/http2-request.ts";
import { testConfig } from "../kit/proxy.ts";

const LIMITS = { ...testConfig().limits, headerCountMax: 4, headBytesMax: 300, targetBytesMax: 50 };
const ROLE = { kind: "tunnel", scheme: "http", host: "a.test", port: 80 } as const;

/** A header list that asks for `http://a.test/` with `method`, then `more`. */
const list = (method: string, ...more: string[]): string[] => [
  ":method",
  method,
  ":scheme",
  "http",
  ":authority",
  "a.test",
  ":path",
  "/",
  ...more,
];

const read = (raw: readonly string[], ended = false) => readHttp2Head(raw, ended, ROLE, LIMITS);

describe("the head of an HTTP/2 request", () => {
  test.each([
    ["a body without a length", list("POST"), false, { bodyLength: null, hasLength: false }],
    ["a body with one", list("POST", "content-length", "5"), false, { bodyLength: 5, hasLength: true }],
    ["no body", list("GET"), true, { bodyLength: 0, hasLength: false }],
    [
      "no body, and so it says",
      list("POST", "content-length", "0"),
      true,
      { bodyLength: 0, hasLength: true },
    ],
    [
      "nothing behind a length of 0",
      list("POST", "content-length", "0"),
      false,
      { bodyLength: 0, hasLength: true },
    ],
    ["HEAD with a length", list("HEAD", "content-length", "5"), false, { bodyLength: 5, hasLength: true }],
    ["100-continue", list("POST", "expect", "100-Continue"), false, { expectContinue: true }],
    ["100-continue for no body", list("GET", "expect", "100-continue"), true, { expectContinue: false }],
    ["te", list("GET", "te", "trailers"), true, { teTrailers: true }],
    ["fields in their order", list("GET", "x-b", "1", "x-a", "2"), true, { fields: "x-b: 1\r\nx-a: 2\r\n" }],
  ])("is read: %s", (_what, raw, ended, expected) => {
    expect(read(raw, ended)).toMatchObject(expected);
  });

  test.each([
    ["a malformed list", list("GET", "connection", "close"), "BAD_REQUEST"],
    ["too many fields", list("GET", ..."abcde".split("").flatMap((name) => [name, "1"])), "HEAD_TOO_LARGE"],
    ["too many bytes", list("GET", "a", "1".repeat(300)), "HEAD_TOO_LARGE"],
    ["another target", list("GET").with(5, "b.test"), "MISDIRECTED"],
    ["a long target", list("GET").with(7, `/${"a".repeat(50)}`), "TARGET_TOO_LONG"],
    ["an unknown expectation", list("POST", "expect", "magic"), "EXPECTATION_FAILED"],
    [
      "two expectations",
      list("POST", "expect", "100-continue", "expect", "100-continue"),
      "EXPECTATION_FAILED",
    ],
    ["a length, and no content", list("POST", "content-length", "5"), "BAD_REQUEST", true],
    ["HEAD with content of unknown length", list("HEAD"), "BAD_REQUEST"],
  ] as [string, string[], string, boolean?][])("is refused: %s", (_what, raw, code, ended = false) => {
    expect(read(raw, ended)).toMatchObject({ error: { code } });
  });

  test("keeps its fields when it is refused, so that a gRPC call is told so in its own way", () => {
    const raw = list("POST", "content-type", "application/grpc").with(5, "b.test");
    expect(read(raw)).toMatchObject({ fields: "content-type: application/grpc\r\n" });
  });

  test("gives away nothing of a list that is malformed", () => {
    expect(read(list("GET", "x-a", "1", "connection", "close"))).toMatchObject({ fields: "" });
  });
});
