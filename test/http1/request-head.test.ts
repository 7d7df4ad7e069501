import { describe, expect, test } from "vitest";
import { EgressError, type ErrorCode } from "../../src/errors.ts";
import { parseRequestHead, type RequestHead } from "../../src/http1/request-head.ts";
import { LIMITS } from "./limits.ts";

function parse(head: string): RequestHead {
  const parsed = parseRequestHead(head, LIMITS);
  if (parsed instanceof EgressError) throw parsed;
  return parsed;
}

function refusal(head: string): ErrorCode | "accepted" {
  const parsed = parseRequestHead(head, LIMITS);
  return parsed instanceof EgressError ? parsed.code : "accepted";
}

const get = (fields: string): string => `GET / HTTP/1.1\r\n${fields}`;
const post = (fields: string): string => `POST / HTTP/1.1\r\nHost: a\r\n${fields}`;

test("a plain request", () => {
  expect(parse("GET http://a/b?c HTTP/1.1\r\nHost: a\r\nAccept: x\r\n")).toEqual({
    method: "GET",
    target: "http://a/b?c",
    minor: 1,
    fields: "Accept: x\r\n",
    host: "a",
    bodyLength: 0,
    hasLength: false,
    keepAlive: true,
    expectContinue: false,
    teTrailers: false,
    upgrade: "",
  });
});

test("end-to-end fields keep their order, case, blanks and repetitions", () => {
  const kept = "b: 1\r\nB:2\r\nHost-X: 3\r\nX-A:\t 4 \r\nC:\r\n";
  expect(parse(get(`Host: a\r\n${kept}`)).fields).toBe(kept);
  expect(parse(get(`b: 1\r\nhOST: a\r\nB:2\r\nHost-X: 3\r\nX-A:\t 4 \r\nC:\r\n`)).fields).toBe(kept);
});

describe("fields of the hop are not passed on:", () => {
  test.each([
    "Connection: close",
    "Keep-Alive: timeout=5",
    "Proxy: http://evil/",
    "Proxy-Authenticate: x",
    "Proxy-Authentication-Info: x",
    "Proxy-Authorization: Basic eA==",
    "Proxy-Connection: keep-alive",
    "HTTP2-Settings: AAMAAABk",
    "TE: trailers, deflate",
    "Upgrade: websocket",
    "Expect: 100-continue",
    "Trailer: X-Sum",
    "Content-Length: 0",
  ])("%s", (line) => {
    for (const written of [line, line.toUpperCase(), line.toLowerCase()]) {
      if (/^EXPECT/.test(written)) continue;
      expect(parse(get(`Host: a\r\nX: 1\r\n${written}\r\nY: 2\r\n`)).fields).toBe("X: 1\r\nY: 2\r\n");
    }
  });

  test("those that Connection names, wherever they stand", () => {
    const head = get(
      "X-One: 1\r\nHost: a\r\nConnection: close, x-ONE\r\nY: 2\r\nConnection:\tX-Two\r\nx-two: 3\r\n",
    );
    expect(parse(head).fields).toBe("Y: 2\r\n");
  });

  test("names that only begin or end like one are kept", () => {
    const kept = "Connections: a\r\nX-Connection: b\r\nProxyy: c\r\nHosts: d\r\nContent-Lengthy: 5\r\n";
    expect(parse(get(`Host: a\r\n${kept}`)).fields).toBe(kept);
  });

  test("a trailer announcement is kept when there will be chunks", () => {
    const head = parse(post("Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n"));
    expect(head.fields).toBe("Trailer: X-Sum\r\n");
  });
});

describe("framing:", () => {
  test.each([
    ["", 0, false],
    ["Content-Length: 0\r\n", 0, true],
    ["Content-Length: 5\r\n", 5, true],
    ["Content-Length:\t5 \r\n", 5, true],
    ["Content-Length: 005\r\n", 5, true],
    ["Content-Length: 999999999999999\r\n", 999_999_999_999_999, true],
    ["Transfer-Encoding: chunked\r\n", null, false],
    ["transfer-encoding:CHUNKED\r\n", null, false],
  ])("%j", (fields, bodyLength, hasLength) => {
    expect(parse(post(fields))).toMatchObject({ bodyLength, hasLength });
  });

  test.each<[string, ErrorCode]>([
    ["Content-Length: 5\r\nContent-Length: 5\r\n", "BAD_REQUEST"],
    ["Content-Length: 5\r\ncontent-length: 6\r\n", "BAD_REQUEST"],
    ["Content-Length: 5, 5\r\n", "BAD_REQUEST"],
    ["Content-Length: +5\r\n", "BAD_REQUEST"],
    ["Content-Length: -5\r\n", "BAD_REQUEST"],
    ["Content-Length: 0x5\r\n", "BAD_REQUEST"],
    ["Content-Length: 5.0\r\n", "BAD_REQUEST"],
    ["Content-Length: 1e2\r\n", "BAD_REQUEST"],
    ["Content-Length: 5 5\r\n", "BAD_REQUEST"],
    ["Content-Length: \r\n", "BAD_REQUEST"],
    ["Content-Length: ,5\r\n", "BAD_REQUEST"],
    ["Content-Length: 1000000000000000\r\n", "BAD_REQUEST"],
    // U+00A0, U+0085: blanks for String.prototype.trim and for some servers, bytes of the value for RFC 9110.
    ["Content-Length: \xa05\r\n", "BAD_REQUEST"],
    ["Content-Length: 5\xa0\r\n", "BAD_REQUEST"],
    ["Content-Length: \x855\r\n", "BAD_REQUEST"],
    ["Content-Length : 5\r\n", "BAD_REQUEST"],
    ["Content-Length\t: 5\r\n", "BAD_REQUEST"],
    [" Content-Length: 5\r\n", "BAD_REQUEST"],
    ["Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "BAD_REQUEST"],
    ["Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", "BAD_REQUEST"],
    ["Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "BAD_REQUEST"],
    ["Transfer-Encoding: chunked, chunked\r\n", "BAD_REQUEST"],
    ["Transfer-Encoding: chunked, identity\r\n", "BAD_REQUEST"],
    ["Transfer-Encoding: chunked, gzip\r\n", "BAD_REQUEST"],
    ["Transfer-Encoding: xchunked\r\n", "BAD_REQUEST"],
    ["Transfer-Encoding: chunked;q=1\r\n", "BAD_REQUEST"],
    ['Transfer-Encoding: "chunked"\r\n', "BAD_REQUEST"],
    ["Transfer-Encoding: \xa0chunked\r\n", "BAD_REQUEST"],
    ["Transfer-Encoding: chunked\xa0\r\n", "BAD_REQUEST"],
    ["Transfer-Encoding: \x0bchunked\r\n", "BAD_REQUEST"],
    ["Transfer-Encoding: chunked\t\r\n", "BAD_REQUEST"],
    ["Transfer-Encoding: \r\n", "BAD_REQUEST"],
    ["Transfer-Encoding: identity\r\n", "BAD_REQUEST"],
    ["Transfer-Encoding:\r\n chunked\r\n", "BAD_REQUEST"],
    ["Transfer-Encoding : chunked\r\n", "BAD_REQUEST"],
    ["Transfer_Encoding: chunked\r\nTransfer-Encoding: x\r\n", "BAD_REQUEST"],
    ["Transfer-Encoding: gzip, chunked\r\n", "CODING_UNSUPPORTED"],
    ["Transfer-Encoding: gzip\r\n", "CODING_UNSUPPORTED"],
    ["Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", "CODING_UNSUPPORTED"],
  ])("%j is refused with %s", (fields, code) => {
    expect(refusal(post(fields))).toBe(code);
  });

  test("chunks are not for HTTP/1.0", () => {
    expect(refusal("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n")).toBe("BAD_REQUEST");
  });
});

describe("the request line:", () => {
  test.each<[string, ErrorCode]>([
    ["GET / HTTP/1.1\r\n folded: a\r\n", "BAD_REQUEST"],
    ["GET  / HTTP/1.1\r\n", "BAD_REQUEST"],
    ["GET /  HTTP/1.1\r\n", "BAD_REQUEST"],
    [" GET / HTTP/1.1\r\n", "BAD_REQUEST"],
    ["GET / HTTP/1.1 \r\n", "BAD_REQUEST"],
    ["GET\t/ HTTP/1.1\r\n", "BAD_REQUEST"],
    ["GET /\r\n", "BAD_REQUEST"],
    ["GET\r\n", "BAD_REQUEST"],
    ["\r\n", "BAD_REQUEST"],
    ["GET / http/1.1\r\n", "BAD_REQUEST"],
    ["GET / HTTP/1\r\n", "BAD_REQUEST"],
    ["GET / HTTP/11\r\n", "BAD_REQUEST"],
    ["GET / HTTP/1.10\r\n", "BAD_REQUEST"],
    ["GET / HTTP/0.9\r\n", "VERSION_UNSUPPORTED"],
    ["GET / HTTP/1.2\r\n", "VERSION_UNSUPPORTED"],
    ["GET / HTTP/2.0\r\n", "VERSION_UNSUPPORTED"],
    ["PRI * HTTP/2.0\r\n", "VERSION_UNSUPPORTED"],
    ["GET / RTSP/1.0\r\n", "BAD_REQUEST"],
    ["SOURCE / ICE/1.0\r\n", "BAD_REQUEST"],
    ["GET /\x00 HTTP/1.1\r\n", "BAD_REQUEST"],
    ["GET /\x7f HTTP/1.1\r\n", "BAD_REQUEST"],
    ["GET /\xe9 HTTP/1.1\r\n", "BAD_REQUEST"],
    ["GET /a b HTTP/1.1\r\n", "BAD_REQUEST"],
    ["GET /a#b HTTP/1.1\r\n", "BAD_REQUEST"],
    ["get / HTTP/1.1\r\n", "BAD_REQUEST"],
    ["FOO / HTTP/1.1\r\n", "BAD_REQUEST"],
    ["G(T / HTTP/1.1\r\n", "BAD_REQUEST"],
    ["__proto__ / HTTP/1.1\r\n", "BAD_REQUEST"],
    ["constructor / HTTP/1.1\r\n", "BAD_REQUEST"],
    [`GET /${"a".repeat(8192)} HTTP/1.1\r\n`, "TARGET_TOO_LONG"],
  ])("%j is refused with %s", (head, code) => {
    expect(refusal(head)).toBe(code);
  });

  test.each([
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "PATCH",
    "OPTIONS",
    "TRACE",
    "QUERY",
    "M-SEARCH",
    "PROPFIND",
  ])("%s is a method", (method) => {
    expect(parse(`${method} / HTTP/1.1\r\n`).method).toBe(method);
  });

  test("the target is kept byte for byte", () => {
    const target = "/%2e%2E/..;a=b//c?d=\"{}|\\^`'<>[]@:!$&()*+,;~-._%";
    expect(parse(`GET ${target} HTTP/1.1\r\n`).target).toBe(target);
  });
});

describe("fields:", () => {
  test.each([
    "A b: c\r\n",
    "A : c\r\n",
    ": c\r\n",
    "A\r\n",
    "A(: c\r\n",
    "A\x00: c\r\n",
    "A: \x00\r\n",
    "A: \x01\r\n",
    "A: \x0b\r\n",
    "A: \x7f\r\n",
    "\xe9: c\r\n",
    "A: b\r\n c\r\n",
    "A: b\r\n\tc\r\n",
    "A: b\rC: d\r\n",
    "A: b\nC: d\r\n",
    '"A": b\r\n',
    "A;: b\r\n",
    "A,B: c\r\n",
  ])("%j is refused", (line) => {
    expect(refusal(get(`Host: a\r\n${line}`))).toBe("BAD_REQUEST");
  });

  test("bytes above 127 are part of a value", () => {
    expect(parse(get("Host: a\r\nA: D\xfcsseldorf\xff\r\n")).fields).toBe("A: D\xfcsseldorf\xff\r\n");
  });

  test("as many as the limit allows, and not one more", () => {
    const lines = (count: number): string => get("X: y\r\n".repeat(count));
    expect(refusal(lines(128))).toBe("accepted");
    expect(refusal(lines(129))).toBe("HEAD_TOO_LARGE");
  });

  test.each(["Host: a\r\nHost: a\r\n", "Host: a\r\nhost: b\r\n", "HOST:\r\nHost: a\r\n"])(
    "more than one Host is refused: %j",
    (lines) => {
      expect(refusal(get(lines))).toBe("BAD_REQUEST");
    },
  );

  test("a nomination of thousands of names costs one walk", () => {
    const names = Array.from({ length: 4000 }, (_, i) => i.toString(36)).join(",");
    const head = get(`Connection: ${names}\r\n1: gone\r\nkept: here\r\n`);
    expect(parse(head).fields).toBe("kept: here\r\n");
  });
});

describe("what follows the request:", () => {
  test.each([
    ["1.1", "", true],
    ["1.1", "Connection: close\r\n", false],
    ["1.1", "Connection: Keep-Alive, CLOSE\r\n", false],
    ["1.1", "Connection: x\r\nConnection: close\t\r\n", false],
    ["1.0", "", false],
    ["1.0", "Connection: keep-alive\r\n", true],
    ["1.0", "Connection: keep-alive, close\r\n", false],
  ])("HTTP/%s %j: kept %s", (version, fields, keepAlive) => {
    expect(parse(`GET / HTTP/${version}\r\n${fields}`).keepAlive).toBe(keepAlive);
  });

  test.each([
    ["Upgrade: websocket\r\nConnection: Upgrade\r\n", "websocket"],
    ["Upgrade: websocket\r\n", ""],
    ["Upgrade: a\r\nUpgrade: b/2\r\nConnection: upgrade\r\n", "a, b/2"],
    ["Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: x\r\n", ""],
    ["Upgrade: H2C, websocket\r\nConnection: Upgrade\r\n", "websocket"],
  ])("upgrade %j offers %j", (fields, upgrade) => {
    expect(parse(get(fields)).upgrade).toBe(upgrade);
  });

  test("HTTP/1.0 upgrades to nothing", () => {
    expect(parse("GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: x\r\n").upgrade).toBe("");
  });

  test.each([
    ["Content-Length: 5\r\nExpect: 100-continue\r\n", true],
    ["Content-Length: 5\r\nExpect: 100-Continue\r\n", true],
    ["Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n", true],
    // Without a body there is nothing to wait for (RFC 9110 §10.1.1).
    ["Expect: 100-continue\r\n", false],
  ])("%j waits for a 100: %s", (fields, waits) => {
    expect(parse(post(fields)).expectContinue).toBe(waits);
  });

  test.each([
    "Expect: 200-ok\r\n",
    "Expect: 100-continue\r\nExpect: 100-continue\r\n",
    "Expect: 100-continue;a\r\n",
  ])("%j cannot be met", (fields) => {
    expect(refusal(post(`Content-Length: 1\r\n${fields}`))).toBe("EXPECTATION_FAILED");
  });

  test.each([
    ["TE: trailers\r\n", true],
    ["TE: deflate, Trailers\r\n", true],
    ["TE: deflate\r\n", false],
    ["TE: xtrailers\r\n", false],
  ])("%j takes trailers: %s", (fields, takes) => {
    expect(parse(get(fields)).teTrailers).toBe(takes);
  });
});
