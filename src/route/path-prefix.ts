/**
 * Whether a path lies under a prefix: as it stands, and by every way in which a server may read it.
 *
 * A path is forwarded as it came, but servers decode escapes, resolve `..`, take `\` for `/`, and drop parameters behind `;`, each in
 * a way of its own. A rule that looks only at the raw text is walked around with `/public/..%2fadmin`. So access rules ask about all
 * readings: an allowance holds when every reading is covered, a refusal when any is. Pure text work.
 */

/** Whether `prefix` covers whole segments of `path`: `/v1` covers `/v1`, `/v1/x` and `/v1?x`, not `/v10`. */
export function underPrefix(path: string, prefix: string): boolean {
  if (!path.startsWith(prefix)) return false;
  if (path.length === prefix.length || prefix === "" || prefix.endsWith("/")) return true;
  const next = path[prefix.length];
  return next === "/" || next === "?";
}

/** Escapes in escapes that are followed. A path that still changes behind the last one has no certain reading. */
const DECODINGS_MAX = 3;

/** What makes servers differ: escapes, empty and dotted segments, backslashes, parameters (RFC 3986 §3.3), fragments. */
const READ_DIFFERENTLY = /%|\/\/|\/\.|[\\;#]/;

/**
 * The readings of the path of `target` (origin form, query or not), the text as it stands first; nearly always the only one. `null`:
 * escaped so often that it cannot be said what a server would make of it.
 */
export function pathReadings(target: string): readonly string[] | null {
  const query = target.indexOf("?");
  const raw = query < 0 ? target : target.slice(0, query);
  if (!READ_DIFFERENTLY.test(raw)) return [raw];
  const readings = new Set([raw]);
  let decoded = raw;
  for (let decodings = 0; decodings <= DECODINGS_MAX; decodings++) {
    for (const reading of resolved(decoded)) readings.add(reading);
    const next = percentDecoded(decoded);
    if (next === decoded) return [...readings];
    decoded = next;
  }
  return null;
}

/** Whether every reading is under one of `prefixes`, so that an allowance for them covers the call. */
export function surelyUnder(readings: readonly string[] | null, prefixes: readonly string[]): boolean {
  return readings?.every((path) => prefixes.some((prefix) => underPrefix(path, prefix))) ?? false;
}

/** Whether some reading is under one of `prefixes`, so that a refusal of them meets the call. */
export function possiblyUnder(readings: readonly string[] | null, prefixes: readonly string[]): boolean {
  return readings === null || readings.some((path) => prefixes.some((prefix) => underPrefix(path, prefix)));
}

function percentDecoded(path: string): string {
  return path.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

/** What servers make of a path whose escapes are decoded: they differ in empty segments, which some take away before `..` is resolved. */
function resolved(path: string): string[] {
  const fragment = path.search(/[#?]/);
  const bare = fragment < 0 ? path : path.slice(0, fragment);
  const segments = bare
    .replaceAll("\\", "/")
    .split("/")
    .slice(1)
    .map((segment) => segment.split(";", 1)[0]!);
  const last = segments.length - 1;
  const filled = segments.filter((segment, at) => segment !== "" || at === last);
  return [withoutDots(segments), withoutDots(filled)];
}

/** RFC 3986 §5.2.4. */
function withoutDots(segments: readonly string[]): string {
  const kept: string[] = [];
  for (const segment of segments) {
    if (segment === "..") kept.pop();
    else if (segment !== ".") kept.push(segment);
  }
  const endsInDots = /^\.{1,2}$/.test(segments.at(-1) ?? "");
  return `/${kept.join("/")}${endsInDots && kept.length > 0 ? "/" : ""}`;
}
