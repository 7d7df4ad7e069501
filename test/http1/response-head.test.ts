import { describe, expect, test } from "vitest";
import { EgressError } from "../../src/errors.ts";
import { parseResponseHead, type ResponseHead } from "../../src/http1/response-head.ts";
import { LIMITS } from "./limits.ts";

function parse(head: string, method = "GET"): ResponseHead {
  const parsed = parseResponseHead(head, method, LIMITS);
  if (parsed instanceof EgressError) throw parsed;
  return parsed;
}

const ok = (fields: string): string => `HTTP/1.1 200 OK\r\n${fields}`;

test("a plain response", () => {
  expect(parse(ok("Server: x\r\nContent-Length: 5\r\n"))).toEqual({
    status: 200,
    reason: "OK",
    fields: "Server: x\r\n",
    framing: "length",
    contentLength: 5,
    keepAlive: true,
    upgrade: "",
  });
});

describe("the status line:", () => {
  test.each([
    ["HTTP/1.1 200 OK\r\n", 200, "OK"],
    ["HTTP/1.1 200 \r\n", 200, ""],
    ["HTTP/1.1 200\r\n", 200, ""],
    ["HTTP/1.1 200  two  blanks \r\n", 200, " two  blanks "],
    ["HTTP/1.1 500 Ori\xc3\xabntatie\r\n", 500, "Ori\xc3\xabntatie"],
    ["HTTP/1.0 404 Not Found\r\n", 404, "Not Found"],
    ["HTTP/1.1 999 x\r\n", 999, "x"],
  ])("%j", (head, status, reason) => {
    expect(parse(head)).toMatchObject({ status, reason });
  });

  test.each([
    "HTTP/1.1 20 OK\r\n",
    "HTTP/1.1 2000 OK\r\n",
    "HTTP/1.1 099 OK\r\n",
    "HTTP/1.1 000 OK\r\n",
    "HTTP/1.1 2x0 OK\r\n",
    "HTTP/1.1  200 OK\r\n",
    "HTTP/1.1\t200 OK\r\n",
    "HTTP/1.1 200\tOK\r\n",
    "HTTP/2.0 200 OK\r\n",
    "HTTP/0.9 200 OK\r\n",
    "HTTP/1.2 200 OK\r\n",
    "HTTP/1.1 200 O\x00K\r\n",
    "HTTP/1.1 200 O\rK\r\n",
    "http/1.1 200 OK\r\n",
    "ICY 200 OK\r\n",
    " HTTP/1.1 200 OK\r\n",
    "HTTP/1.1\r\n",
    "GET / HTTP/1.1\r\n",
    "\r\n",
  ])("%j is no answer", (head) => {
    expect(parseResponseHead(head, "GET", LIMITS)).toMatchObject({ code: "UPSTREAM_INVALID" });
  });
});

describe("framing:", () => {
  test.each([
    ["GET", 200, "Content-Length: 5\r\n", "length", 5],
    ["GET", 200, "Content-Length: 0\r\n", "length", 0],
    ["GET", 200, "Transfer-Encoding: chunked\r\n", "chunked", -1],
    ["GET", 200, "", "close", -1],
    ["GET", 204, "Content-Length: 5\r\n", "none", -1],
    ["GET", 204, "Transfer-Encoding: chunked\r\n", "none", -1],
    ["GET", 304, "Content-Length: 5\r\n", "none", 5],
    ["HEAD", 200, "Content-Length: 5\r\n", "none", 5],
    ["HEAD", 200, "Transfer-Encoding: chunked\r\n", "none", -1],
    ["HEAD", 200, "", "none", -1],
    ["GET", 100, "", "none", -1],
    ["GET", 103, "Content-Length: 5\r\n", "none", -1],
    ["CONNECT", 200, "Content-Length: 5\r\n", "none", 5],
    ["CONNECT", 403, "Content-Length: 5\r\n", "length", 5],
  ])("%s %i %j → %s %i", (method, status, fields, framing, contentLength) => {
    expect(parse(`HTTP/1.1 ${status} x\r\n${fields}`, method)).toMatchObject({ framing, contentLength });
  });

  test.each([
    "Content-Length: 5\r\nContent-Length: 5\r\n",
    "Content-Length: 5, 5\r\n",
    "Content-Length: -1\r\n",
    "Content-Length: \xa05\r\n",
    "Content-Length: \r\n",
    "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Transfer-Encoding: chunked, gzip\r\n",
    "Transfer-Encoding: identity\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: \xa0chunked\r\n",
    "A: b\r\n c\r\n",
    "A : b\r\n",
    "A b: c\r\n",
    "A: \x00\r\n",
    "X: y\r\n".repeat(129),
  ])("%j is refused", (fields) => {
    expect(parseResponseHead(ok(fields), "GET", LIMITS)).toMatchObject({ code: "UPSTREAM_INVALID" });
  });

  test("chunks are not for HTTP/1.0", () => {
    const head = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n";
    expect(parseResponseHead(head, "GET", LIMITS)).toMatchObject({ code: "UPSTREAM_INVALID" });
  });
});

describe("the connection afterwards:", () => {
  test.each([
    ["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", true],
    ["HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n", false],
    ["HTTP/1.1 200 OK\r\n", false],
    ["HTTP/1.0 200 OK\r\nContent-Length: 0\r\n", false],
    ["HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n", true],
  ])("%j is kept: %s", (head, keepAlive) => {
    expect(parse(head).keepAlive).toBe(keepAlive);
  });
});

test("fields of the hop and those that Connection names are not passed on", () => {
  const head = ok(
    "A: 1\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 2\r\nProxy-Authenticate: Basic\r\n" +
      "Upgrade: h2\r\nSet-Cookie: a=b\r\nset-cookie: c=d\r\nContent-Length: 0\r\n",
  );
  expect(parse(head).fields).toBe("A: 1\r\nSet-Cookie: a=b\r\nset-cookie: c=d\r\n");
});

test("only a 101 tells a protocol", () => {
  expect(parse("HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n").upgrade).toBe("websocket");
  expect(parse("HTTP/1.1 426 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n").upgrade).toBe("");
});
