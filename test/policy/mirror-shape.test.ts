import { describe, expect, test } from "vitest";
import { type Answer, sameShape, shapeOf } from "../../src/policy/mirror-shape.ts";

function answer(text: string | null, type = "application/json", more = ""): Answer {
  return { fields: `Content-Type: ${type}\r\n${more}`, bytes: text?.length ?? 5000, text };
}

const json = (value: unknown) => answer(JSON.stringify(value));

describe("answers in JSON have the same shape when their keys and types are the same", () => {
  test.each<[string, unknown, unknown, boolean]>([
    ["other values", { id: 1, name: "a" }, { id: 22, name: "bbb" }, true],
    ["another order of keys", { a: 1, b: 2 }, { b: 3, a: 4 }, true],
    ["a key more", { a: 1 }, { a: 1, b: 2 }, false],
    ["a key less", { a: 1, b: 2 }, { a: 1 }, false],
    ["another key", { a: 1 }, { b: 1 }, false],
    ["another type", { a: 1 }, { a: "1" }, false],
    ["null in place of a value", { a: 1 }, { a: null }, false],
    ["an integer and a fraction", { a: 1 }, { a: 1.5 }, true],
    ["true and false", true, false, true],
    ["another depth", { a: { b: 1 } }, { a: 1 }, false],
    ["an object and an array", {}, [], false],
    ["a longer list of the same", [{ a: 1 }], [{ a: 2 }, { a: 3 }], true],
    ["a list of other things", [{ a: 1 }], [{ b: 1 }], false],
    ["a mixed list in another order", [1, "a"], ["b", "c", 2], true],
    ["an empty list and a full one", { a: [] }, { a: [1] }, false],
    ["two empty lists", [], [], true],
    ["keys that are names of Object.prototype", JSON.parse('{"__proto__":1}'), { constructor: 1 }, false],
    ["keys that look like structure", { 'a":number,"b': 1 }, { a: 1, b: 1 }, false],
  ])("%s", (_, a, b, expected) => {
    expect(sameShape(json(a), json(b))).toBe(expected);
    expect(sameShape(json(b), json(a))).toBe(expected);
  });

  test.each([
    ["application/json", "application/json; charset=utf-8", true],
    ["application/problem+json", "application/problem+json", true],
    ["application/json", "APPLICATION/JSON", true],
    ["application/json", "application/problem+json", false],
    ["application/json", "text/html", false],
  ])("as %s and %s: %s", (typeA, typeB, expected) => {
    expect(sameShape(answer('{"a":1}', typeA), answer('{"a":2}', typeB))).toBe(expected);
  });

  test("what says that it is JSON and is none differs from what is", () => {
    expect(sameShape(answer("{}"), answer("{"))).toBe(false);
    expect(sameShape(answer("<a>"), answer("<b>"))).toBe(true);
  });

  test("longer JSON than can be looked into in no time is compared by its length", () => {
    const long = (key: string, bytes: number) => answer(`{"${key}":"${"x".repeat(bytes)}"}`);
    expect(sameShape(long("a", 60_000), long("b", 60_000))).toBe(false);
    expect(sameShape(long("a", 70_000), long("b", 70_000))).toBe(true);
    expect(sameShape(long("a", 60_000), long("b", 70_000))).toBe(true);
  });

  test("nesting is looked into up to a bound, however deep it is", () => {
    const deep = (depth: number, leaf: string) => "[".repeat(depth) + leaf + "]".repeat(depth);
    expect(sameShape(answer(deep(60, "1")), answer(deep(60, '"a"')))).toBe(false);
    expect(sameShape(answer(deep(30_000, "1")), answer(deep(30_000, '"a"')))).toBe(true);
  });
});

describe("other answers have the same shape when their media type is the same and their length about so", () => {
  const bytes = (count: number, more = "") => ({ ...answer(null, "image/png", more), bytes: count });

  test.each([
    [0, 0, true],
    [0, 1, false],
    [100, 100, true],
    [100, 200, true],
    [100, 201, false],
    [200, 100, true],
  ])("%i and %i bytes: %s", (a, b, expected) => {
    expect(sameShape(bytes(a), bytes(b))).toBe(expected);
  });

  test("so are those that are too long to be compared as a whole", () => {
    expect(sameShape(answer(null), answer(null))).toBe(true);
  });

  test("so are compressed ones, which nobody unpacks here", () => {
    const packed = (text: string) => answer(text, "application/json", "Content-Encoding: gzip\r\n");
    expect(sameShape(packed('{"a":1}'), packed('{"b":1}'))).toBe(true);
    expect(sameShape(packed("a"), packed("a".repeat(50)))).toBe(false);
  });

  test("so are those without a media type", () => {
    expect(sameShape({ fields: "", bytes: 2, text: "ab" }, { fields: "", bytes: 3, text: "abc" })).toBe(true);
  });
});

test("a shape is written the same whatever the order of its parts", () => {
  expect(shapeOf({ b: [1, "x", 2, null], a: true })).toBe('{"a":boolean,"b":[null|number|string],}');
});
