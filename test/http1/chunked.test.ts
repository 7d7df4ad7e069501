import { describe, expect, test } from "vitest";
import { ChunkedDecoder } from "../../src/http1/chunked.ts";

interface Decoded {
  readonly data: string;
  readonly trailers: string;
  readonly rest: string;
  readonly problem: string | null;
}

/** Feeds `pieces` one after the other, each in a buffer of its own. */
function decode(pieces: readonly string[], trailerBytesMax = 1000): Decoded {
  const decoder = new ChunkedDecoder(trailerBytesMax);
  let data = "";
  for (const [index, piece] of pieces.entries()) {
    const bytes = Buffer.from(piece, "latin1");
    const end = decoder.feed(bytes, 0);
    if (typeof end === "string") return { data, trailers: "", rest: "", problem: end };
    data += bytes.latin1Slice(decoder.dataFrom, decoder.dataTo);
    if (decoder.done) {
      const rest = bytes.latin1Slice(end, bytes.length) + pieces.slice(index + 1).join("");
      return { data, trailers: decoder.trailers, rest, problem: null };
    }
  }
  return { data, trailers: "", rest: "", problem: "not over" };
}

const bytewise = (text: string): string[] => Array.from(text);

const BODIES: readonly (readonly [name: string, framed: string, data: string, trailers: string])[] = [
  ["nothing", "0\r\n\r\n", "", ""],
  ["one chunk", "5\r\nhello\r\n0\r\n\r\n", "hello", ""],
  ["several chunks", "5\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\n\r\n", "hello world", ""],
  [
    "upper and lower case digits",
    "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
    "01234567890123456789",
    "",
  ],
  ["leading zeros", "005\r\nhello\r\n000\r\n\r\n", "hello", ""],
  ["data that looks like frames", "7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n\r\n", ""],
  ["extensions", '5;a;b=c;d="x;\\"y\\r";e="\xff"\r\nhello\r\n0;last\r\n\r\n', "hello", ""],
  ["trailers", "1\r\nx\r\n0\r\nX-Sum: 1\r\ny:\t2\r\n\r\n", "x", "X-Sum: 1\r\ny:\t2\r\n"],
  ["bytes above 127", "3\r\n\xff\x00\r\r\n0\r\n\r\n", "\xff\x00\r", ""],
];

describe("a body is read the same however it arrives:", () => {
  test.each(BODIES)("%s", (_, framed, data, trailers) => {
    const stream = `${framed}GET / HTTP/1.1\r\n`;
    const expected = { data, trailers, rest: "GET / HTTP/1.1\r\n", problem: null };
    expect(decode([stream]), "whole").toEqual(expected);
    expect(decode(bytewise(stream)), "byte by byte").toEqual(expected);
    for (let at = 1; at < stream.length; at++) {
      expect(decode([stream.slice(0, at), stream.slice(at)]), `split at ${at}`).toEqual(expected);
    }
    for (let at = 1; at < framed.length; at++) {
      for (let to = at + 1; to < framed.length; to++) {
        const pieces = [stream.slice(0, at), stream.slice(at, to), stream.slice(to)];
        expect(decode(pieces), `split at ${at} and ${to}`).toEqual(expected);
      }
    }
  });
});

test("the data of many chunks in one piece is handed on as one piece", () => {
  const framed = "1\r\nx\r\n".repeat(1000);
  const decoder = new ChunkedDecoder(1000);
  const bytes = Buffer.from(`${framed}2\r\ny`, "latin1");
  expect(decoder.feed(bytes, 0)).toBe(bytes.length);
  expect(bytes.latin1Slice(decoder.dataFrom, decoder.dataTo)).toBe(`${"x".repeat(1000)}y`);
  expect(decoder.done).toBe(false);
});

describe("refused however it arrives:", () => {
  test.each([
    ["bare LF behind a size", "5\nhello\r\n0\r\n\r\n"],
    ["bare CR behind a size", "5\rhello\r\n0\r\n\r\n"],
    ["bare LF behind the data", "5\r\nhello\n0\r\n\r\n"],
    ["bare LF behind the last chunk", "0\n\r\n"],
    ["bare LF behind the trailers", "0\r\nA: b\n\r\n"],
    ["bare LF at the end", "0\r\n\n"],
    ["data longer than its size", "4\r\nhello\r\n0\r\n\r\n"],
    ["data shorter than its size", "6\r\nhello\r\n0\r\n\r\n"],
    ["a size with a sign", "+5\r\nhello\r\n0\r\n\r\n"],
    ["a negative size", "-5\r\nhello\r\n0\r\n\r\n"],
    ["a size with a prefix", "0x5\r\nhello\r\n0\r\n\r\n"],
    ["a blank before the size", " 5\r\nhello\r\n0\r\n\r\n"],
    ["a blank behind the size", "5 \r\nhello\r\n0\r\n\r\n"],
    ["a tab behind the size", "5\t\r\nhello\r\n0\r\n\r\n"],
    ["a blank before an extension", "5 ;a\r\nhello\r\n0\r\n\r\n"],
    ["a blank in front of an extension's name", "5; a\r\nhello\r\n0\r\n\r\n"],
    ["an underscore in the size", "1_0\r\nhello\r\n0\r\n\r\n"],
    ["no size", "\r\nhello\r\n0\r\n\r\n"],
    ["a size of 14 digits", "00000000000005\r\nhello\r\n0\r\n\r\n"],
    ["a size beyond 2^53", "fffffffffffffff\r\n"],
    ["an empty extension", "5;\r\nhello\r\n0\r\n\r\n"],
    ["an extension without a value", "5;a=\r\nhello\r\n0\r\n\r\n"],
    ["an extension with an open quote", '5;a="b\r\nhello\r\n0\r\n\r\n'],
    ["a control character in an extension", '5;a="\x01"\r\nhello\r\n0\r\n\r\n'],
    ["a folded trailer", "0\r\nA: b\r\n c\r\n\r\n"],
    ["a trailer without a colon", "0\r\nA\r\n\r\n"],
    ["a blank before a trailer's colon", "0\r\nA : b\r\n\r\n"],
    ["NUL in a trailer", "0\r\nA: \x00\r\n\r\n"],
    ["a bare CR in a trailer", "0\r\nA: b\rC: d\r\n\r\n"],
  ])("%s", (_, framed) => {
    const stream = `${framed}${"z".repeat(40)}`;
    expect(decode([stream]).problem).toEqual(expect.any(String));
    expect(decode([stream]).problem).not.toBe("not over");
    expect(decode(bytewise(stream)).problem).not.toBe(null);
    expect(decode(bytewise(stream)).problem).not.toBe("not over");
  });
});

describe("limits:", () => {
  test("a size line of more than 1 KiB, whether it ends or not (CVE-2024-22019)", () => {
    const extension = `;${"a".repeat(1100)}`;
    expect(decode([`5${extension}`]).problem).toBe("chunk size line too long");
    expect(decode([`5${extension}\r\nhello\r\n`]).problem).toBe("malformed chunk size");
    expect(decode(bytewise(`5${extension}`)).problem).toBe("chunk size line too long");
  });

  test("extensions of more than 16 KiB in all", () => {
    const chunk = `1;${"a".repeat(900)}\r\nx\r\n`;
    expect(decode([chunk.repeat(18), "0\r\n\r\n"]).problem).toBe(null);
    expect(decode([chunk.repeat(19), "0\r\n\r\n"]).problem).toBe("too many chunk extensions");
  });

  test("trailers, whether they end or not", () => {
    expect(decode([`0\r\nA: ${"b".repeat(1000)}`]).problem).toBe("trailer section too large");
    expect(decode([`0\r\n${"A: b\r\n".repeat(167)}`]).problem).toBe("trailer section too large");
    expect(decode([`0\r\n${"A: b\r\n".repeat(166)}\r\n`]).problem).toBe(null);
    expect(decode(bytewise(`0\r\n${"A: b\r\n".repeat(167)}`)).problem).toBe("trailer section too large");
  });
});

test.each([
  "Transfer-Encoding: chunked",
  "content-length: 5",
  "HOST: evil",
  "Connection: close",
  "Authorization: x",
  "Set-Cookie: a=b",
  "Content-Type: text/html",
  "Proxy: x",
  "Proxy-Authorization: x",
  "Cache-Control: no-store",
  "Location: /",
])("the trailer %s is dropped (RFC 9110 §6.5.1)", (line) => {
  expect(decode([`0\r\nX-A: 1\r\n${line}\r\n${line}\r\nX-B: 2\r\n\r\n`]).trailers).toBe(
    "X-A: 1\r\nX-B: 2\r\n",
  );
});
