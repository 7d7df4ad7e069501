/** What of a path is the API's and what is one call's: the prefix before the first segment that looks like an identifier. Pure. */

/** What was made of one path. */
export interface PathTemplate {
  /** What a rule allows: whole segments, without the first identifier and what follows it; `/` when nothing is left. */
  readonly prefix: string;
  /** For people: the whole path, each identifier as `{id}`. The same as `prefix` when it holds none. */
  readonly template: string;
}

/** Segments that are looked at. What lies deeper is covered by the prefix above it. */
const SEGMENTS_MAX = 12;

/** Characters that mean themselves in a path (RFC 3986 §3.3) and in a policy; a segment with any other is one call's. */
const PLAIN = /^[A-Za-z0-9._~!$&'()+=-]{1,100}$/;

/** Segments that are one call's: numbers, UUIDs, hashes, dates, keys such as `cus_9s6XKzkNRiz8i3` and long random texts. */
const IDENTIFIERS: readonly RegExp[] = [
  /^\d+$/,
  /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i,
  /^(?=.*\d)[0-9a-f]{8,}$/i,
  /^\d{4}-\d{2}(?:-\d{2})?(?:T.*)?$/,
  /^[a-z]{1,5}[-_](?=.*\d)[A-Za-z0-9]{6,}$/,
  /^(?=.*\d)(?=.*[A-Za-z])[A-Za-z0-9_=-]{20,}$/,
  // What telemetry writes in place of a secret.
  /REDACTED/,
];

/** A version in front of an API: `/2/…`, and AWS's dates, `/2015-03-31/functions`. */
const VERSION = /^(?:\d{1,2}|\d{4}-\d{2}-\d{2})$/;

/** Behind this a path was cut in the log. */
const CUT = "...";

/** The template of a call's path as the log has it, query or not. */
export function pathTemplate(target: string): PathTemplate {
  const query = target.indexOf("?");
  const path = query < 0 ? target : target.slice(0, query);
  const segments = path.split("/").slice(1);
  const kept: string[] = [];
  const shown: string[] = [];
  let isOwn = true;
  for (const [at, segment] of segments.slice(0, SEGMENTS_MAX).entries()) {
    const isId = isIdentifier(segment, at, segments.length, query < 0);
    if (isId) isOwn = false;
    if (isOwn) kept.push(segment);
    shown.push(isId ? "{id}" : segment);
  }
  if (segments.length > SEGMENTS_MAX) shown.push(CUT);
  return { prefix: `/${kept.join("/")}`, template: `/${shown.join("/")}` };
}

function isIdentifier(segment: string, at: number, length: number, isLastCut: boolean): boolean {
  if (segment === "") return at !== length - 1;
  if (segment === "." || segment === ".." || !PLAIN.test(segment)) return true;
  if (at === length - 1 && isLastCut && segment.endsWith(CUT)) return true;
  if (at === 0 && VERSION.test(segment)) return false;
  return IDENTIFIERS.some((identifier) => identifier.test(segment));
}
