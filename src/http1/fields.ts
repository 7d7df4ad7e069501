/**
 * Reading and editing `FieldLines`, the validated field lines of a head. Pure string work: values that nobody asks for are never cut out.
 * Names are given in lower case. A line ends at its LF: there is no other in it, and one character is found faster than two.
 */
import type { FieldLines } from "../exchange.ts";

const COLON = 58;
const SPACE = 32;
const TAB = 9;

/** Whether `text` has `name` (lower case) at `at`, whatever its case there. */
export function nameAt(text: string, at: number, name: string): boolean {
  for (let i = 0; i < name.length; i++) {
    let code = text.charCodeAt(at + i);
    if (code >= 65 && code <= 90) code += 32;
    if (code !== name.charCodeAt(i)) return false;
  }
  return true;
}

/** Start of the first line named `name` at or after `from`, or -1. */
function lineOf(fields: FieldLines, name: string, from: number): number {
  let at = from;
  while (at < fields.length) {
    if (fields.charCodeAt(at + name.length) === COLON && nameAt(fields, at, name)) return at;
    at = fields.indexOf("\n", at) + 1;
  }
  return -1;
}

/**
 * `text` from `from` to `to` without the spaces and tabs around it (OWS, RFC 9110 §5.6.3). Not `trim`: that also takes away U+00A0,
 * which is a byte of the value here, so that a length or a coding with one around it would pass for a clean one.
 */
export function trimBlanks(text: string, from: number, to: number): string {
  let start = from;
  let end = to;
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

const isBlank = (code: number): boolean => code === SPACE || code === TAB;

function valueAt(fields: FieldLines, name: string, line: number): string {
  return trimBlanks(fields, line + name.length + 1, fields.indexOf("\r\n", line));
}

/** The value of the first field named `name`, without the blanks around it; `undefined` when there is none. */
export function fieldValue(fields: FieldLines, name: string): string | undefined {
  const line = lineOf(fields, name, 0);
  return line < 0 ? undefined : valueAt(fields, name, line);
}

/** The values of all fields named `name`, in order. */
export function fieldValues(fields: FieldLines, name: string): string[] {
  const values: string[] = [];
  for (let line = lineOf(fields, name, 0); line >= 0; ) {
    values.push(valueAt(fields, name, line));
    line = lineOf(fields, name, fields.indexOf("\n", line) + 1);
  }
  return values;
}

/** The fields without any named `name`. */
export function withoutField(fields: FieldLines, name: string): FieldLines {
  let rest = fields;
  for (let line = lineOf(rest, name, 0); line >= 0; line = lineOf(rest, name, line)) {
    rest = rest.slice(0, line) + rest.slice(rest.indexOf("\n", line) + 1);
  }
  return rest;
}

/** The fields without any whose name (lower case) is in `names`, in one walk however many there are of either. */
export function withoutFields(fields: FieldLines, names: ReadonlySet<string>): FieldLines {
  let kept = "";
  let keepFrom = 0;
  for (let line = 0; line < fields.length; ) {
    const next = fields.indexOf("\n", line) + 1;
    if (names.has(fields.slice(line, fields.indexOf(":", line)).toLowerCase())) {
      kept += fields.slice(keepFrom, line);
      keepFrom = next;
    }
    line = next;
  }
  return keepFrom === 0 ? fields : kept + fields.slice(keepFrom);
}

/**
 * The fields with exactly one named `name` (written as `name`), at the end; earlier ones are dropped.
 * @throws RangeError when `value` has a character that a field value cannot have: the caller let outside text through
 */
export function withField(fields: FieldLines, name: string, value: string): FieldLines {
  if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(value)) throw new RangeError(`not a field value for ${name}`);
  return `${withoutField(fields, name)}${name}: ${value}\r\n`;
}

/**
 * A test for the presence of `names` (lower case, at most 31): the bits of the result stand for the names in their order. One walk
 * for all of them, for stages that ask about fields which most calls do not have.
 */
export function fieldFinder(names: readonly string[]): (fields: FieldLines) => number {
  const byLength: { name: string; bit: number }[][] = [];
  names.forEach((name, index) => void (byLength[name.length] ??= []).push({ name, bit: 1 << index }));
  return (fields) => {
    let found = 0;
    for (let at = 0; at < fields.length; ) {
      const colon = fields.indexOf(":", at);
      const candidates = byLength[colon - at];
      if (candidates !== undefined) {
        for (const { name, bit } of candidates) if (nameAt(fields, at, name)) found |= bit;
      }
      at = fields.indexOf("\n", colon) + 1;
    }
    return found;
  };
}
