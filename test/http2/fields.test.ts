import { describe, expect, test } from "vitest";
import { parseRequestHead } from "../../src/http1/request-head.ts";
import { fieldLinesOf, headerListOf, trailerLinesOf } from "../../src/http2/fields.ts";
import { LIMITS } from "../http1/limits.ts";

const read = (...raw: string[]) => fieldLinesOf(raw, LIMITS);

describe("a header list becomes field lines", () => {
  test("in order, with repeated names, and with its pseudo-headers apart", () => {
    const list = read(":method", "GET", ":path", "/a?b", "accept", "*/*", "x", "1", "x", "2", "empty", "");
    expect(list.problem).toBe("");
    expect([...list.pseudo]).toEqual([
      [":method", "GET"],
      [":path", "/a?b"],
    ]);
    expect(list.fields).toBe("accept: */*\r\nx: 1\r\nx: 2\r\nempty: \r\n");
  });

  test("without what stands for itself: host, length, te, expect", () => {
    const list = read("host", "a:1", "content-length", "07", "te", "trailers", "expect", "100-Continue");
    expect(list).toMatchObject({
      problem: "",
      fields: "",
      host: "a:1",
      contentLength: 7,
      teTrailers: true,
      expect: "100-continue",
    });
  });

  test("that say nothing where nothing was said", () => {
    expect(read()).toMatchObject({
      problem: "",
      fields: "",
      host: null,
      contentLength: -1,
      teTrailers: false,
      expect: "",
    });
  });

  test("with the crumbs of a cookie in one line (RFC 9113 §8.2.3)", () => {
    expect(read("cookie", "", "cookie", "a=1", "cookie", "").fields).toBe("cookie: a=1\r\n");
    expect(read("cookie", "a=1", "x", "y", "cookie", "b=2").fields).toBe("x: y\r\ncookie: a=1; b=2\r\n");
  });

  test("without what is of one hop in HTTP/1.1", () => {
    const list = read("proxy-authorization", "Basic x", "proxy", "evil", "http2-settings", "AAMA", "x", "y");
    expect(list).toMatchObject({ problem: "", fields: "x: y\r\n" });
  });

  test("with names of Object.prototype like any others (S25)", () => {
    expect(read("__proto__", "1", "constructor", "2").fields).toBe("__proto__: 1\r\nconstructor: 2\r\n");
  });

  test("with bytes beyond ASCII as they are", () => {
    expect(read("x", "caf\xe9\xa0").fields).toBe("x: caf\xe9\xa0\r\n");
  });
});

describe("S6: a header list is malformed with", () => {
  test.each<[string, string[]]>([
    ["CR LF in a value", ["x", "a\r\nContent-Length: 0"]],
    ["CR in a value", ["x", "a\rb"]],
    ["LF in a value", ["x", "a\nb"]],
    ["NUL in a value", ["x", "a\0b"]],
    ["DEL in a value", ["x", "a\x7fb"]],
    ["another control character in a value", ["x", "a\x01b"]],
    ["a blank in front of a value", ["x", " a"]],
    ["a blank behind a value", ["x", "a "]],
    ["a tab in front of a value", ["x", "\ta"]],
    ["a tab behind a value", ["x", "a\t"]],
    ["a value of one blank", ["x", " "]],
    ["CR LF in the host", ["host", "a\r\nx: y"]],
    ["CR LF in a cookie", ["cookie", "a\r\nx: y"]],
    ["CR LF in a pseudo-header", [":path", "/ HTTP/1.1\r\nx: y"]],
    ["NUL in a pseudo-header", [":authority", "a\0"]],
    ["no name", ["", "a"]],
    ["a capital in a name", ["X", "a"]],
    ["a blank in a name", ["x y", "a"]],
    ["a blank behind a name", ["x ", "a"]],
    ["a colon in a name", ["x:y", "a"]],
    ["a colon behind a name", ["x:", "a"]],
    ["CR LF in a name", ["x\r\ny", "a"]],
    ["NUL in a name", ["x\0", "a"]],
    ["a byte beyond ASCII in a name", ["x\xe9", "a"]],
    ["transfer-encoding", ["transfer-encoding", "chunked"]],
    ["connection", ["connection", "close"]],
    ["keep-alive", ["keep-alive", "5"]],
    ["proxy-connection", ["proxy-connection", "close"]],
    ["upgrade", ["upgrade", "websocket"]],
    ["te other than trailers", ["te", "gzip"]],
    ["te of more than trailers", ["te", "trailers, gzip"]],
    ["two lengths", ["content-length", "1", "content-length", "1"]],
    ["a length that is no number", ["content-length", "+1"]],
    ["a length of two numbers", ["content-length", "1, 1"]],
    ["an empty length", ["content-length", ""]],
    ["a length that cannot be counted", ["content-length", "9".repeat(16)]],
    ["two hosts", ["host", "a", "host", "a"]],
    ["an unknown pseudo-header", [":x", "a"]],
    ["a bare colon", [":", "a"]],
    ["a pseudo-header twice", [":method", "GET", ":method", "GET"]],
    ["a pseudo-header behind a field", ["x", "a", ":method", "GET"]],
  ])("%s", (_, raw) => {
    expect(read(...raw)).toMatchObject({ tooLarge: false });
    expect(read(...raw).problem).not.toBe("");
    // The same with good company on both sides.
    expect(read(":scheme", "https", ...raw, "z", "1").problem).not.toBe("");
  });

  test("more fields than limits.header_count", () => {
    const fields = (count: number) => Array.from({ length: 2 * count }, () => "x");
    expect(read(":method", "GET", ...fields(128))).toMatchObject({ problem: "", tooLarge: false });
    expect(read(":method", "GET", ...fields(129))).toMatchObject({ tooLarge: true });
    expect(read(...fields(129)).problem).toContain("128 fields");
  });

  test("more bytes than limits.head_bytes", () => {
    const bytes = LIMITS.headBytesMax - "x".length - 4;
    expect(read("x", "y".repeat(bytes))).toMatchObject({ problem: "", tooLarge: false });
    expect(read("x", "y".repeat(bytes + 1))).toMatchObject({ tooLarge: true });
  });
});

test("S6: whatever a list holds, its fields are lines that the HTTP/1.1 codec reads as the same fields", () => {
  const bytes = Array.from({ length: 256 }, (_, code) => String.fromCharCode(code));
  let accepted = 0;
  for (const byte of bytes) {
    for (const raw of [
      ["x", `a${byte}b`],
      ["x", byte],
      [`x${byte}`, "a"],
      [byte, "a"],
    ]) {
      const { problem, fields, pseudo } = read(...raw);
      if (problem !== "" || pseudo.size > 0) continue;
      accepted += 1;
      const head = parseRequestHead(`GET / HTTP/1.1\r\n${fields}`, LIMITS);
      expect(head).toMatchObject({ fields: `${raw[0]}: ${raw[1]}\r\n` });
    }
  }
  // Otherwise the loop above showed nothing.
  expect(accepted).toBeGreaterThan(400);
});

describe("trailers", () => {
  test("become field lines, without those that mean something in a head", () => {
    const raw = ["grpc-status", "0", "content-length", "9", "host", "a", "x", "y", "set-cookie", "a=b"];
    expect(trailerLinesOf(raw, LIMITS)).toEqual({ fields: "grpc-status: 0\r\nx: y\r\n", problem: "" });
  });

  test.each<[string, string[]]>([
    ["a pseudo-header", [":status", "200"]],
    ["CR LF", ["x", "a\r\nb: c"]],
    ["more fields than limits.header_count", Array(258).fill("x")],
  ])("are malformed with %s", (_, raw) => {
    expect(trailerLinesOf(raw, LIMITS).problem).not.toBe("");
  });
});

describe("a header list is made of field lines", () => {
  test("with names in lower case, values without their blanks, in order", () => {
    const fields = "X-A:  1 \r\nAuthorization: AWS4 x\r\nx-a:2\r\nEmpty:\r\n";
    expect(headerListOf([":method", "GET"], fields)).toEqual([
      ":method",
      "GET",
      "x-a",
      "1",
      "authorization",
      "AWS4 x",
      "x-a",
      "2",
      "empty",
      "",
    ]);
  });

  test("and becomes the same field lines again", () => {
    const fields = "accept: */*\r\nx: 1\r\nx: 2\r\n";
    expect(fieldLinesOf(headerListOf([], fields), LIMITS)).toMatchObject({ fields, problem: "" });
  });

  test("of nothing is what it begins with", () => {
    expect(headerListOf([], "")).toEqual([]);
  });
});
