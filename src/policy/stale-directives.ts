/** Reads `Cache-Control` (RFC 9111 §5.2), of requests and of responses alike. Pure; what the directives mean is in stale-rules.ts. */
import type { FieldLines } from "../exchange.ts";
import { fieldValues } from "../http1/fields.ts";

/** Name (lower case) and argument, "" for none. Of a directive that comes twice the first counts (RFC 9111 §4.2.1). */
export type CacheDirectives = ReadonlyMap<string, string>;

const DIRECTIVE = /([!#$%&'*+\-.^_`|~0-9A-Za-z]+)(?:=(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?/g;

/** Those of a head without the field. */
export const NO_DIRECTIVES: CacheDirectives = new Map();

/** The directives of a head. */
export function cacheDirectives(fields: FieldLines): CacheDirectives {
  const values = fieldValues(fields, "cache-control");
  if (values.length === 0) return NO_DIRECTIVES;
  const text = values.length === 1 ? values[0]! : values.join(",");
  const directives = new Map<string, string>();
  // Not `matchAll`, which takes half as long again. The expression begins anew: it has always been run to the end of a text.
  for (let parts = DIRECTIVE.exec(text); parts !== null; parts = DIRECTIVE.exec(text)) {
    const key = parts[1]!.toLowerCase();
    if (!directives.has(key)) directives.set(key, parts[2] ?? parts[3] ?? "");
  }
  return directives;
}

/**
 * Argument of a directive that counts seconds, as milliseconds; `null` when it is not there. One that cannot be read is 0: what is
 * unclear counts as stale (RFC 9111 §4.2.1).
 */
export function directiveMs(directives: CacheDirectives, name: string): number | null {
  const argument = directives.get(name);
  if (argument === undefined) return null;
  return /^\d{1,10}$/.test(argument) ? Number(argument) * 1000 : 0;
}
