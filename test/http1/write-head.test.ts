import { expect, test } from "vitest";
import {
  CHUNKED,
  formatAuthority,
  NO_BODY,
  writeRequestHead,
  writeResponseHead,
} from "../../src/http1/write-head.ts";

const REQUEST = {
  method: "POST",
  path: "/a",
  authority: "h:1",
  upgrade: "",
  expectContinue: false,
  teTrailers: false,
};
const RESPONSE = { status: 200, reason: "OK", keepAlive: true, sayKeepAlive: false, upgrade: "" };

test.each([
  [REQUEST, NO_BODY, ""],
  [REQUEST, { kind: "length", bytes: 5 } as const, "Content-Length: 5\r\n"],
  [REQUEST, CHUNKED, "Transfer-Encoding: chunked\r\n"],
  [{ ...REQUEST, expectContinue: true }, CHUNKED, "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n"],
  [{ ...REQUEST, teTrailers: true }, NO_BODY, "Connection: TE\r\nTE: trailers\r\n"],
  [{ ...REQUEST, upgrade: "websocket" }, NO_BODY, "Connection: Upgrade\r\nUpgrade: websocket\r\n"],
])("a request head: %j %j", (line, framing, hop) => {
  expect(writeRequestHead(line, "X: y\r\n", framing)).toBe(
    `POST /a HTTP/1.1\r\nHost: h:1\r\nX: y\r\n${hop}\r\n`,
  );
});

test.each([
  [RESPONSE, NO_BODY, ""],
  [RESPONSE, { kind: "length", bytes: 0 } as const, "Content-Length: 0\r\n"],
  [RESPONSE, CHUNKED, "Transfer-Encoding: chunked\r\n"],
  [{ ...RESPONSE, keepAlive: false }, NO_BODY, "Connection: close\r\n"],
  [{ ...RESPONSE, sayKeepAlive: true }, NO_BODY, "Connection: keep-alive\r\n"],
  [{ ...RESPONSE, keepAlive: false, sayKeepAlive: true }, NO_BODY, "Connection: close\r\n"],
  [{ ...RESPONSE, upgrade: "x" }, NO_BODY, "Connection: Upgrade\r\nUpgrade: x\r\n"],
])("a response head: %j %j", (line, framing, hop) => {
  expect(writeResponseHead(line, "X: y\r\n", framing)).toBe(`HTTP/1.1 200 OK\r\nX: y\r\n${hop}\r\n`);
});

test.each([
  ["a", 80, "http", "a"],
  ["a", 443, "https", "a"],
  ["a", 443, "http", "a:443"],
  ["a", 80, "https", "a:80"],
  ["::1", 80, "http", "[::1]"],
  ["::1", 8080, "http", "[::1]:8080"],
] as const)("%s:%i over %s is written %s", (host, port, scheme, text) => {
  expect(formatAuthority(host, port, scheme)).toBe(text);
});
