/**
 * Whether two answers have the same shape: the same structure of keys and types where both are JSON, else the same media type and
 * about the same length. Pure. Values are not compared: a mirror has data of its own.
 */
import type { FieldLines } from "../exchange.ts";
import { fieldValue } from "../http1/fields.ts";

/** What of an answer is compared. */
export interface Answer {
  readonly fields: FieldLines;
  /** Stated by its framing, else as many as were read. */
  readonly bytes: number;
  /** The whole body, one latin1 character per byte; `null` when it is longer than what is compared. */
  readonly text: string | null;
}

/**
 * Longer JSON is compared as other answers are: at this length looking into one takes about 2 ms of the only thread there is, in which
 * calls wait.
 */
const JSON_BYTES_MAX = 65_536;

/** Below this nesting JSON is not looked into. */
const DEPTH_MAX = 64;

/** See the file's header. */
export function sameShape(a: Answer, b: Answer): boolean {
  if (mediaTypeOf(a) !== mediaTypeOf(b)) return false;
  if (a.text !== null && a.text === b.text) return true;
  if (isReadableJson(a) && isReadableJson(b)) return jsonShapeOf(a.text) === jsonShapeOf(b.text);
  return sameLengthClass(a.bytes, b.bytes);
}

/** Lower case, without parameters; "" for none. */
function mediaTypeOf({ fields }: Answer): string {
  return (fieldValue(fields, "content-type") ?? "").split(";", 1)[0]!.trim().toLowerCase();
}

/** Whether it says that it is JSON (RFC 8259, RFC 6839 §3.1), is here as a whole, not compressed, and can be looked into. */
function isReadableJson(answer: Answer): answer is Answer & { readonly text: string } {
  if (answer.text === null || answer.text.length > JSON_BYTES_MAX) return false;
  if (!/^[^/]+\/(?:json|.*\+json)$/.test(mediaTypeOf(answer))) return false;
  return fieldValue(answer.fields, "content-encoding") === undefined;
}

/** `null` for what is no JSON after all. Bytes of JSON are valid JSON as latin1 too. */
function jsonShapeOf(text: string): string | null {
  try {
    return shapeOf(JSON.parse(text));
  } catch {
    return null;
  }
}

/** Keys in their order by name and the types of their values; of an array the different shapes of its elements, in no order. */
export function shapeOf(value: unknown, depth = 0): string {
  if (value === null) return "null";
  if (typeof value !== "object") return typeof value;
  if (depth === DEPTH_MAX) return "…";
  if (Array.isArray(value)) {
    const elements = new Set<string>();
    for (const element of value) elements.add(shapeOf(element, depth + 1));
    return `[${[...elements].sort().join("|")}]`;
  }
  let members = "";
  for (const key of Object.keys(value).sort()) {
    members += `${JSON.stringify(key)}:${shapeOf((value as Record<string, unknown>)[key], depth + 1)},`;
  }
  return `{${members}}`;
}

/** Both empty, or neither more than twice as long as the other. */
function sameLengthClass(a: number, b: number): boolean {
  return Math.max(a, b) <= 2 * Math.min(a, b);
}
