/** The frames and header blocks of the h2 load generator, against the protocol's own examples and against node:http2. */

import { once } from "node:events";
import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { describe, expect, test } from "vitest";
import {
  beginsWithStatus200,
  FrameReader,
  fieldsOfRequest,
  frame,
  frameType,
  headerBlock,
  settingIn,
  settingsFrame,
  windowUpdate,
} from "../../bench/load/h2-frames.ts";
import { Http2Connection } from "../../bench/load/http2-connection.ts";

const hex = (bytes: Buffer): string => bytes.toString("hex");
const bytes = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");

describe("frames", () => {
  test.each([
    ["DATA", frame(0, 1, 5, Buffer.from("abc")), "000003 00 01 00000005 616263"],
    ["SETTINGS", settingsFrame([[1, 0]]), "000006 04 00 00000000 0001 00000000"],
    ["WINDOW_UPDATE", windowUpdate(7, 65_536), "000004 08 00 00000007 00010000"],
  ])("%s is written as RFC 9113 says", (_name, written, expected) => {
    expect(hex(written)).toBe(expected.replaceAll(" ", ""));
  });

  test("are read one by one wherever the bytes are cut, and what is kept is a copy", () => {
    const all = Buffer.concat([frame(0, 1, 5, Buffer.from("abc")), frame(6, 0, 0, Buffer.alloc(8, 1))]);
    for (let cut = 0; cut <= all.length; cut++) {
      const reader = new FrameReader();
      const taken: unknown[] = [];
      for (const part of [all.subarray(0, cut), all.subarray(cut)]) {
        const lent = Buffer.from(part);
        reader.read(lent, (type, flags, stream, payload) => taken.push([type, flags, stream, hex(payload)]));
        lent.fill(0xff);
      }
      expect(taken).toEqual([
        [0, 1, 5, "616263"],
        [6, 0, 0, "0101010101010101"],
      ]);
    }
  });

  test("that are longer than agreed are refused", () => {
    expect(() => new FrameReader().read(bytes("004001 00 00 00000001"), () => undefined)).toThrow("16385");
  });

  test("are not what a server of HTTP/1 answers, and the error says so", () => {
    const answer = Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n");
    expect(() => new FrameReader().read(answer, () => undefined)).toThrow("got an answer in HTTP/1");
  });

  test("of settings give the value that is asked for, or nothing", () => {
    const payload = bytes("0003 00000064 0004 0000ffff");
    expect([settingIn(payload, 3), settingIn(payload, 4), settingIn(payload, 1)]).toEqual([
      100,
      65_535,
      undefined,
    ]);
  });
});

describe("header blocks", () => {
  test.each([
    [[["password", "secret"]], "00 08 70617373776f7264 06 736563726574"],
    [[["a", "x".repeat(127)]], `00 01 61 7f00 ${"78".repeat(127)}`],
    [[["a", "x".repeat(1337)]], `00 01 61 7fba09 ${"78".repeat(1337)}`],
  ] as const)(
    "of case %# are literals without indexing (RFC 7541 sections 5.1 and 6.2.2)",
    (fields, expected) => {
      expect(hex(headerBlock(fields))).toBe(expected.replaceAll(" ", ""));
    },
  );

  test.each([
    ["88", true],
    ["20 88", true],
    ["3f e1 1f 88", true],
    ["20 3f e1 1f 88 7f", true],
    ["8d", false],
    ["20", false],
    ["", false],
    ["48 03 353032", false],
  ])("of %j begin with status 200: %s", (block, expected) => {
    expect(beginsWithStatus200(bytes(block))).toBe(expected);
  });

  test("of an HTTP/1.1 request begin with the pseudo-fields, and Host becomes :authority", () => {
    const text = "GET /a?b=1 HTTP/1.1\r\nHost: localhost:1\r\nAccept: */*\r\n\r\n";
    expect(fieldsOfRequest(text, "https")).toEqual([
      [":method", "GET"],
      [":scheme", "https"],
      [":authority", "localhost:1"],
      [":path", "/a?b=1"],
      ["accept", "*/*"],
    ]);
  });
});

/** An answer of a server of node:http2: its status and its body, or an error code to reset the stream with. */
type Scripted = { readonly status: number; readonly body: string } | { readonly reset: number };

async function askTwice(scripted: Scripted): Promise<string> {
  const seen: string[] = [];
  const server = createServer();
  server.on("stream", (stream, headers) => {
    seen.push(`${headers[":method"]} ${headers[":path"]} ${headers.accept}`);
    stream.on("error", () => undefined);
    if ("reset" in scripted) return stream.close(scripted.reset);
    stream.respond({ ":status": scripted.status });
    stream.end(scripted.body);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  const request = "GET /a HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\n\r\n";
  const outcome = Promise.withResolvers<string>();
  let done = 0;
  const connection = await Http2Connection.open(
    { port },
    { request, body: "abcd" },
    () => ++done === 2 && outcome.resolve(`right: ${seen.join(", ")}`),
    (why) => outcome.resolve(why),
  );
  connection.send();
  connection.send();
  try {
    return await outcome.promise;
  } finally {
    connection.close();
    server.close();
  }
}

test.each<[string, Scripted, string]>([
  [
    "accepts the expected answer",
    { status: 200, body: "abcd" },
    "right: GET /a text/plain, GET /a text/plain",
  ],
  ["refuses another status", { status: 502, body: "abcd" }, "expected status 200"],
  ["refuses another body", { status: 200, body: "abce" }, "the body of an answer differs"],
  ["refuses a longer body", { status: 200, body: "abcde" }, "the body of an answer differs"],
  ["refuses a shorter body", { status: 200, body: "abc" }, "an answer of 3 bytes, expected 4"],
  ["refuses a reset", { reset: 8 }, "was reset with error 8"],
])("the connection %s", async (_what, scripted, expected) => {
  expect(await askTwice(scripted)).toContain(expected);
});

test("knows the frames by the numbers of RFC 9113 section 6", () => {
  expect(frameType).toEqual({
    data: 0,
    headers: 1,
    resetStream: 3,
    settings: 4,
    ping: 6,
    goAway: 7,
    windowUpdate: 8,
  });
});
