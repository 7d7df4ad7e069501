/** The bound on one field of a line, and the queue that forgets. */
import { expect, test } from "vitest";
import { detached, FIELD_BYTES_MAX, field } from "../../src/telemetry/field.ts";
import { Ring } from "../../src/telemetry/ring.ts";

/** What the log makes of a text: JSON with everything outside printable ASCII escaped. */
function bytesInLine(text: string): number {
  return JSON.stringify(text)
    .slice(1, -1)
    .replace(/[^\x20-\x7e]/g, "\\u0000").length;
}

const long: readonly [what: string, text: string][] = [
  ["plain text", "a".repeat(5000)],
  ["quotes", '"'.repeat(5000)],
  ["control characters", "\x1b".repeat(5000)],
  ["text outside ASCII", "ü".repeat(5000)],
  ["surrogate pairs", "😀".repeat(5000)],
  ["text that fits but for one byte", "a".repeat(FIELD_BYTES_MAX + 1)],
];

test.each(long)("a field of %s takes at most 1 KiB in its line and shows that it was cut", (_what, text) => {
  const cut = field(text);
  expect(bytesInLine(cut)).toBeLessThanOrEqual(FIELD_BYTES_MAX);
  expect(bytesInLine(cut)).toBeGreaterThan(FIELD_BYTES_MAX - 10);
  expect(cut.endsWith("...")).toBe(true);
  expect(text.startsWith(cut.slice(0, -3))).toBe(true);
});

test("a field that fits to the byte is not cut", () => {
  const text = "a".repeat(FIELD_BYTES_MAX);
  expect(field(text)).toBe(text);
});

test("a detached text is equal to the one it was taken from", () => {
  const head = `GET /v1/charges/\xe4\xff-and-more HTTP/1.1\r\n${"x".repeat(500)}`;
  for (const text of [head.slice(4, 30), head.slice(4, 8), "", head]) expect(detached(text)).toBe(text);
});

test("a full ring drops its oldest entry and counts it", () => {
  const ring = new Ring<number>(3);
  for (let n = 1; n <= 5; n++) ring.push(n);
  expect(ring.dropped).toBe(2);
  expect([ring.shift(), ring.shift(), ring.shift(), ring.shift()]).toEqual([3, 4, 5, undefined]);
});

test("a ring gives entries in the order in which they came, however it wraps", () => {
  const ring = new Ring<number>(4);
  const taken: number[] = [];
  for (let n = 0; n < 100; n++) {
    ring.push(n);
    if (n % 3 !== 0) taken.push(ring.shift()!);
    if (ring.size === 4) taken.push(ring.shift()!);
  }
  while (ring.size > 0) taken.push(ring.shift()!);
  expect(taken).toEqual(Array.from({ length: 100 }, (_, n) => n));
  expect(ring.dropped).toBe(0);
});
