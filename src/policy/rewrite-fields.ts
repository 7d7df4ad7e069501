/** Other header fields for a request: what is removed, what is set, and which values a sandbox has drawn. Pure. */
import type { RewriteOptions } from "../config/types.ts";
import type { FieldLines } from "../exchange.ts";
import { fieldFinder, withField, withoutFields } from "../http1/fields.ts";

/**
 * What belongs to one hop or to the framing is written anew for every hop and cannot be rewritten (RFC 9110 §7.6.1, RFC 9112 §3.2, §6):
 * lower case.
 */
export const UNWRITABLE_FIELDS: ReadonlySet<string> = new Set([
  "host",
  "content-length",
  "transfer-encoding",
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "upgrade",
  "http2-settings",
  "expect",
]);

/** Names that `fieldFinder` takes. */
const FINDER_NAMES_MAX = 31;

/** A change of one field: `line` is written in place of every field `name` (lower case); "" only removes them. */
export interface FieldChange {
  readonly name: string;
  readonly line: FieldLines;
}

/**
 * The changes that `options` ask for, one for each name: what is removed, then what is set, then the flags; the last word about a name
 * holds.
 *
 * @param draw uniform in [0, 1), the same whenever it is asked for the same header (lower case)
 * @throws RangeError for a name that cannot be written and for a value that is none: the policy's check lets neither through
 */
export function fieldChanges(
  options: Pick<RewriteOptions, "setHeaders" | "removeHeaders" | "flags">,
  draw: (header: string) => number,
): FieldChange[] {
  const changes = new Map<string, FieldChange>();
  const change = (written: string, line: FieldLines) => {
    const name = written.toLowerCase();
    if (UNWRITABLE_FIELDS.has(name))
      throw new RangeError(`rewrite: ${written} belongs to the proxy's own hop`);
    changes.set(name, { name, line });
  };
  for (const name of options.removeHeaders) change(name, "");
  for (const { name, value } of options.setHeaders) change(name, withField("", name, value));
  for (const { header, values } of options.flags) {
    const value = chooseFlag(values, draw(header.toLowerCase()));
    if (value !== null) change(header, withField("", header, value));
  }
  return [...changes.values()];
}

/** The value at `point` in [0, 1) of the weights' sum; `null` when they sum to nothing. */
export function chooseFlag(
  values: readonly { readonly value: string; readonly weight: number }[],
  point: number,
): string | null {
  const total = values.reduce((sum, { weight }) => sum + weight, 0);
  let share = 0;
  for (const { value, weight } of values) {
    share += weight;
    if (point * total < share) return value;
  }
  return null;
}

/** `fields` with `changes` applied; what is set stands at the end. */
export function rewriteFields(fields: FieldLines, changes: readonly FieldChange[]): FieldLines {
  return fieldRewriter(changes)(fields);
}

/** `rewriteFields` with changes that many requests get: what is the same for all of them is done here, once. */
export function fieldRewriter(changes: readonly FieldChange[]): (fields: FieldLines) => FieldLines {
  const names = changes.map(({ name }) => name);
  const nameSet = new Set(names);
  const lines = changes.map(({ line }) => line).join("");
  // Most requests have none of the fields, which is found out without cutting names out; more names than it takes are cut out.
  const find = names.length <= FINDER_NAMES_MAX ? fieldFinder(names) : () => 1;
  return (fields) => (find(fields) === 0 ? fields : withoutFields(fields, nameSet)) + lines;
}
