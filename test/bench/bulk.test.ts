/** The words and the bytes of the bench `tunnel`. */

import { describe, expect, test } from "vitest";
import {
  headBytes,
  PatternReader,
  patternBytes,
  patternOf,
  readHead,
  writeHead,
} from "../../bench/load/bulk.ts";
import { spokenBy } from "../../src/capture/first-bytes.ts";

describe("the head", () => {
  test.each([
    ["send", 0],
    ["receive", 2 ** 40],
    ["greet", 32],
  ] as const)("that wishes to %s %d bytes is read as it was written", (wish, bytes) => {
    const head = writeHead(wish, bytes);
    expect(head).toHaveLength(headBytes);
    expect(readHead(head)).toEqual({ wish, bytes });
  });

  test("is taken for no HTTP, so that a proxy passes it on as it is", () => {
    expect(spokenBy(writeHead("send", 0x20202020))).toBe("other");
  });

  test.each(["", "00", "0000000000000000000000", "01000000000000000000", "00030000000000000000"])(
    "is not %j",
    (text) => {
      expect(() => readHead(Buffer.from(text, "hex"))).toThrow("expected a head");
    },
  );
});

describe("the pattern", () => {
  const pattern = patternOf(3);
  const twice = Buffer.concat([pattern, pattern]);

  test("is the same for the same seed only", () => {
    expect(pattern).toHaveLength(patternBytes);
    expect(patternOf(3).equals(pattern)).toBe(true);
    expect(patternOf(4).equals(pattern)).toBe(false);
  });

  test.each([1, 1000, patternBytes - 1, patternBytes, patternBytes + 1])(
    "is known when it comes in pieces of %d",
    (size) => {
      const total = twice.length - 5;
      const reader = new PatternReader(pattern, total);
      for (let at = 0; at < total; at += size) {
        expect(reader.complete).toBe(false);
        reader.read(twice.subarray(at, Math.min(at + size, total)));
      }
      expect(reader.complete).toBe(true);
    },
  );

  test.each([
    ["changed", (bytes: Buffer) => bytes.fill(bytes[100]! ^ 1, 100, 101)],
    ["left out", (bytes: Buffer) => Buffer.concat([bytes.subarray(0, 99), bytes.subarray(100)])],
    ["repeated", (bytes: Buffer) => Buffer.concat([bytes.subarray(0, 100), bytes.subarray(99)])],
  ])("is not known when a byte is %s", (_how, edit) => {
    const bytes = edit(Buffer.from(pattern));
    expect(() => new PatternReader(pattern, twice.length).read(bytes)).toThrow("the bytes differ");
  });

  test("is not known when there is too much of it", () => {
    expect(() => new PatternReader(pattern, 10).read(pattern.subarray(0, 11))).toThrow("more than 10 bytes");
  });
});
