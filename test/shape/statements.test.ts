/** Each statement of SECURITY.md's kind, and each fault that production brings, is shown by a test whose name begins with its number. */
import { globSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

/** What a test or a group of tests has to begin with: `S7: …`, `fault 27: …`. */
const REQUIRED: readonly string[] = [
  ...[2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 16, 19, 20, 21, 22].map((number) => `S${number}`),
  ...[5, 6, 7, 8, 9, 10, 20, 21, 22, 23, 24, 25, 26, 27, 28, 30].map((number) => `fault ${number}`),
];

/** Whether some test of `text` has a name that begins with `label`. */
function shows(text: string, label: string): boolean {
  return new RegExp(`\\b(?:test|describe)\\b[^"'\`\\n]*\\(\\s*["'\`]${label}\\b`).test(text);
}

const tests = globSync("test/**/*.test.ts")
  .filter((file) => !file.startsWith("test/shape/"))
  .map((file) => readFileSync(file, "utf8"));

test.each(REQUIRED)("%s is shown by a test", (label) => {
  expect(tests.some((text) => shows(text, label))).toBe(true);
});

test("a label in passing, or the beginning of a longer number, shows nothing", () => {
  expect(shows('test("S7: bytes behind an answer", () => {})', "S7")).toBe(true);
  expect(shows('describe.skipIf(!linux)(\n  "fault 2: x", () => {})', "fault 2")).toBe(true);
  expect(shows('test.each(cases)("fault 2: %s", () => {})', "fault 2")).toBe(true);
  expect(shows('test("fault 28: x", () => {})', "fault 2")).toBe(false);
  expect(shows('// as in "S7"', "S7")).toBe(false);
  expect(shows('test("what S7 says", () => {})', "S7")).toBe(false);
});
