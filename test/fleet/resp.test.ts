import { describe, expect, test } from "vitest";
import {
  commandBytes,
  REPLY_BYTES_MAX,
  type Reply,
  ReplyReader,
  RespError,
  StoreRefusal,
} from "../../src/fleet/resp.ts";

/** Bytes and what they say; the examples of Redis' own specification of the protocol among them. */
const REPLIES: readonly [bytes: string, reply: Reply][] = [
  ["+OK\r\n", "OK"],
  [":1000\r\n", 1000],
  [":-2\r\n", -2],
  ["$5\r\nhello\r\n", "hello"],
  ["$0\r\n\r\n", ""],
  ["$-1\r\n", null],
  ["$4\r\na\r\nb\r\n", "a\r\nb"],
  ["$3\r\n☂\r\n", "☂"],
  ["*0\r\n", []],
  ["*-1\r\n", null],
  ["*3\r\n:1\r\n:2\r\n:3\r\n", [1, 2, 3]],
  ["*2\r\n*1\r\n$1\r\na\r\n$-1\r\n", [["a"], null]],
];

describe("a reply", () => {
  test.each(REPLIES)("%j is %j", (bytes, reply) => {
    expect(new ReplyReader().read(Buffer.from(bytes))).toEqual([reply]);
  });

  test("that is an error is a value", () => {
    const [reply] = new ReplyReader().read(Buffer.from("-NOAUTH Authentication required.\r\n"));
    expect(reply).toBeInstanceOf(StoreRefusal);
    expect((reply as StoreRefusal).message).toBe("NOAUTH Authentication required.");
  });

  test("is the same wherever its bytes are cut", () => {
    const bytes = Buffer.from(REPLIES.map(([text]) => text).join(""));
    const wanted = REPLIES.map(([, reply]) => reply);
    for (let cut = 1; cut < bytes.length; cut++) {
      const reader = new ReplyReader();
      expect([...reader.read(bytes.subarray(0, cut)), ...reader.read(bytes.subarray(cut))]).toEqual(wanted);
    }
    const reader = new ReplyReader();
    expect([...bytes].flatMap((byte) => reader.read(Buffer.of(byte)))).toEqual(wanted);
  });

  test.each([
    ["begins with nothing that is known", "HTTP/1.1 400\r\n"],
    ["is a number that is none", ":1e3\r\n"],
    ["is a string of a negative length", "$-2\r\n"],
    ["is a string that is too long", `$${REPLY_BYTES_MAX + 1}\r\n`],
    ["is an array that is too deep", "*1\r\n".repeat(5)],
    ["never ends", `+${"x".repeat(REPLY_BYTES_MAX)}`],
  ])("that %s is refused", (_what, bytes) => {
    expect(() => new ReplyReader().read(Buffer.from(bytes))).toThrow(RespError);
  });
});

test("a command is an array of strings, with their lengths in bytes", () => {
  expect(commandBytes(["SET", "☂", 5])).toBe("*3\r\n$3\r\nSET\r\n$3\r\n☂\r\n$1\r\n5\r\n");
});
