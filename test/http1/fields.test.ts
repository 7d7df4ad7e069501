import { expect, test } from "vitest";
import {
  fieldValue,
  fieldValues,
  trimBlanks,
  withField,
  withoutField,
  withoutFields,
} from "../../src/http1/fields.ts";

const FIELDS = "Accept: a/b\r\nX-Empty:\r\nset-cookie: 1\r\nSet-Cookie:\t2 \r\nAccepted: no\r\n";

test("a value is found whatever the case of its name, without the blanks around it", () => {
  expect(fieldValue(FIELDS, "accept")).toBe("a/b");
  expect(fieldValue(FIELDS, "set-cookie")).toBe("1");
  expect(fieldValues(FIELDS, "set-cookie")).toEqual(["1", "2"]);
  expect(fieldValue(FIELDS, "x-empty")).toBe("");
  expect(fieldValue(FIELDS, "accep")).toBeUndefined();
  expect(fieldValue("", "accept")).toBeUndefined();
});

test("a value that looks like a field is not taken for one", () => {
  expect(fieldValue("A: host: b\r\n", "host")).toBeUndefined();
});

test("fields are dropped without touching the others", () => {
  expect(withoutField(FIELDS, "set-cookie")).toBe("Accept: a/b\r\nX-Empty:\r\nAccepted: no\r\n");
  expect(withoutField(FIELDS, "cookie")).toBe(FIELDS);
  expect(withoutFields(FIELDS, new Set(["accept", "accepted"]))).toBe(
    "X-Empty:\r\nset-cookie: 1\r\nSet-Cookie:\t2 \r\n",
  );
  expect(withoutFields(FIELDS, new Set(["x"]))).toBe(FIELDS);
  expect(withoutFields("a: 1\r\nb: 2\r\n", new Set(["a", "b"]))).toBe("");
});

test("a field that is set replaces all of its name and stands last", () => {
  expect(withField("a: 1\r\nB: 2\r\nA: 3\r\n", "a", "4")).toBe("B: 2\r\na: 4\r\n");
});

test.each(["a\r\nb: c", "a\nb", "a\rb", "a\0b", "\x7f", "\u0100"])("a value %j is never written", (value) => {
  expect(() => withField("", "a", value)).toThrow(RangeError);
});

test.each([
  [" \ta\t ", "a"],
  ["a b", "a b"],
  [" ", ""],
  ["", ""],
  // U+00A0 and U+0085 are bytes of a value, not blanks (RFC 9110 §5.6.3).
  ["\xa05\xa0", "\xa05\xa0"],
  ["\x855", "\x855"],
])("the blanks around %j", (text, trimmed) => {
  expect(trimBlanks(text, 0, text.length)).toBe(trimmed);
});

test("names from the prototype of objects are ordinary names", () => {
  const fields = "__proto__: 1\r\nconstructor: 2\r\n";
  expect(fieldValue(fields, "__proto__")).toBe("1");
  expect(fieldValue(fields, "tostring")).toBeUndefined();
  expect(withoutFields(fields, new Set(["__proto__"]))).toBe("constructor: 2\r\n");
});
