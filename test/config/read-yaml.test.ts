/** Text → value and places; what is wrong with a text by itself. */
import { describe, expect, test } from "vitest";
import { type ReadValue, readYaml } from "../../src/config/read-yaml.ts";

function problemsIn(text: string): string[] {
  const read = readYaml(text);
  return read.ok ? [] : read.problems.map(({ line, column, message }) => `${line}:${column}: ${message}`);
}

function readable(text: string): ReadValue {
  const read = readYaml(text);
  if (!read.ok) throw new Error(`cannot be read: ${JSON.stringify(read.problems)}`);
  return read;
}

describe("a readable text", () => {
  test("words that YAML 1.1 took for booleans are texts", () => {
    const { value } = readable("timeout: off\non: [yes, no, 502-504, 5xx]\n");
    expect({ ...(value as object) }).toEqual({ timeout: "off", on: ["yes", "no", "502-504", "5xx"] });
  });

  test("JSON is read too, with tabs and escapes", () => {
    const { value } = readable('{\n\t"a": "\\u0041\\/",\n\t"b": [1, true, null]\n}');
    expect({ ...(value as object) }).toEqual({ a: "A/", b: [1, true, null] });
  });

  test("an alias repeats a whole value", () => {
    const { value } = readable("a: &r [1, 2]\nb: *r\n");
    expect({ ...(value as object) }).toEqual({ a: [1, 2], b: [1, 2] });
  });

  test("an alias means the nearest anchor before it", () => {
    const { value } = readable("a: &r 1\nb: *r\nc: &r 2\nd: *r\n");
    expect({ ...(value as object) }).toEqual({ a: 1, b: 1, c: 2, d: 2 });
  });

  test("prototype names are keys like others", () => {
    const { value } = readable("__proto__: { polluted: true }\nconstructor: 1\n");
    expect(Object.getPrototypeOf(value)).toBeNull();
    expect(Object.keys(value as object)).toEqual(["__proto__", "constructor"]);
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });

  test("brackets in texts and comments do not count as nesting", () => {
    const brackets = "[".repeat(100);
    const { value } = readable(`a: "${brackets}"\nb: x${brackets}\nc: |\n  ${brackets}\n# ${brackets}\n`);
    expect(Object.keys(value as object)).toEqual(["a", "b", "c"]);
  });

  test.each([
    [["destinations", 1, "name"], "value", 4, 11],
    [["destinations", 1, "name"], "key", 4, 5],
    [["destinations", 1], "value", 4, 5],
    [["destinations", 1, "retry", "max_retries"], "value", 5, 28],
    [["destinations", 1, "retry", "absent"], "value", 5, 5],
    [["destinations", 1, "absent"], "value", 4, 5],
    [["absent"], "value", 1, 1],
    [[], "value", 1, 1],
  ] as const)("%j (%s) is at %i:%i", (path, at, line, column) => {
    const text = "version: 1\ndestinations:\n  - name: a\n  - name: b\n    retry: { max_retries:  2 }\n";
    expect(readable(text).locate(path, at)).toEqual({ line, column });
  });

  test("a value behind an alias is located where the alias stands", () => {
    const read = readable("a: &r\n  x: 1\nb: *r\n");
    expect(read.locate(["b"], "value")).toEqual({ line: 3, column: 4 });
  });
});

describe("an unreadable text", () => {
  test.each([
    ["a: [1, 2\nb: }", "2:1", "not valid YAML"],
    ["a: 1\na: 2\n", "2:1", 'the key "a" stands here a second time'],
    ["x: {b: 1, c: 2, b: 3}", "1:17", 'the key "b" stands here a second time'],
    ["a: 1\n---\nb: 2\n", "2:1", "a second document begins here"],
    ["a: !ruby/object 1", "1:4", "tags have no meaning"],
    ["a: !!binary aGk=", "1:13", "neither text"],
    ["a: *nope", "1:4", "*nope is used here"],
    ["a: &a { b: *a }", "1:12", "*a is used here"],
    ["a\0b: 1", "1:2", "control character 0x00"],
    ["a: 1\nb: \u001b[31m", "2:4", "control character 0x1b"],
    ["\u007fELF\u0002", "1:1", "control character 0x7f"],
    ["{a: 1}: 2", "1:1", "keys must be strings"],
  ])("%j is refused at %s: %s", (text, place, message) => {
    const [first] = problemsIn(text);
    expect(first).toContain(message);
    expect(first).toMatch(new RegExp(`^${place}`));
  });

  test("every mistake is reported, not only the first", () => {
    expect(problemsIn("a: 1\na: 2\nb: 1\nb: 2\n")).toHaveLength(2);
  });

  test.each([
    ["brackets", "[".repeat(500_000)],
    ["closed brackets", `${"[".repeat(200_000)}${"]".repeat(200_000)}`],
    ["block lists", "- ".repeat(5000)],
    ["block mappings", Array.from({ length: 500 }, (_, i) => `${" ".repeat(i)}a:`).join("\n")],
    [
      "aliases of aliases",
      Array.from({ length: 40 }, (_, i) => (i === 0 ? "a0: &a0 [x]" : `a${i}: &a${i} [*a${i - 1}]`)).join(
        "\n",
      ),
    ],
  ])("deep nesting by %s ends with a message", (_, text) => {
    expect(problemsIn(text)[0]).toContain("nested more than 32 deep");
  });

  test("aliases that would grow to millions of values end with a message", () => {
    const lines = Array.from({ length: 9 }, (_, i) => `a${i + 1}: &a${i + 1} [${`*a${i},`.repeat(9)}]`);
    const [first] = problemsIn(`a0: &a0 [x, x, x]\n${lines.join("\n")}\n`);
    expect(first).toContain("more than 200000 values");
  });

  test("a mapping of many keys is read", () => {
    const text = Array.from({ length: 20_000 }, (_, i) => `k${i}: v`).join("\n");
    expect(Object.keys(readable(text).value as object)).toHaveLength(20_000);
    expect(problemsIn(`${text}\nk7: again`)[0]).toContain('"k7" stands here a second time');
  });
});
