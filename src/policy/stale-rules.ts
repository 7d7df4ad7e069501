/**
 * What may be kept of the answers that pass, and for which calls a kept one may be served when the upstream fails: RFC 9111 for a shared
 * cache, since a function serves many users, and RFC 5861 §4. Pure. Where the RFCs leave it open, and where the answer may be one user's
 * own (Authorization, Cookie, Set-Cookie, a signature), nothing is kept.
 */
import type { EgressRequest, EgressResponse, FieldLines } from "../exchange.ts";
import { fieldFinder, fieldValue, fieldValues } from "../http1/fields.ts";
import { parseHttpDate } from "./http-date.ts";
import { signedHeaders } from "./signature.ts";
import { type CacheDirectives, cacheDirectives, directiveMs, NO_DIRECTIVES } from "./stale-directives.ts";

/** Statuses that are an error for stale-if-error (RFC 5861 §4). */
export const STALE_IF_STATUSES: readonly number[] = [500, 502, 503, 504];

/** What is remembered of an answer besides its bytes. */
export interface Keeping {
  /** Oldest that it may be served at, milliseconds: the policy's bound or, where that is nearer, the upstream's own. */
  readonly ageMsMax: number;
  /** Its age when it came. */
  readonly ageMs: number;
  /** How long it counts as fresh, by the upstream's word. */
  readonly freshMs: number;
  /** Request fields that choose the answer, `name: value` each (RFC 9111 §4.1). */
  readonly selecting: readonly SelectingField[];
}

/** A request field and its value; `undefined` for a request without it. */
export interface SelectingField {
  readonly name: string;
  readonly value: string | undefined;
}

/** A request with one of these asks for something of its own: a user's answer, a part, or an answer only if something holds. */
const OWN = ["authorization", "cookie", "range", "if-match", "if-unmodified-since", "if-range"];

/** The bits of `OWN`, and behind them that of Cache-Control, which has to be read. */
const findOwnOrCacheControl = fieldFinder([...OWN, "cache-control"]);
const CACHE_CONTROL = 1 << OWN.length;

const findSetCookieAndCacheControl = fieldFinder(["set-cookie", "cache-control"]);
const SET_COOKIE = 1;

/** Chooses an answer without being named in Vary: many APIs know their callers by it. */
const ALWAYS_SELECTING = ["x-api-key"];

/** Whether an answer to `request` may be kept, or a kept one served, as far as the request says. */
export function isKeepable(request: EgressRequest): boolean {
  const { method, upgrade, body, fields, path } = request;
  if (method !== "GET" || upgrade !== "" || body.whole !== "") return false;
  const found = findOwnOrCacheControl(fields);
  if ((found & ~CACHE_CONTROL) !== 0) return false;
  if (signedHeaders(fields, path) !== "") return false;
  return found === 0 || !cacheDirectives(fields).has("no-store");
}

/** One answer for each: the target in full. */
export function staleKey({ scheme, host, port, path }: EgressRequest): string {
  return `${scheme}://${host}:${port}${path}`;
}

/**
 * What to remember of `response`, an answer to a request that is keepable; `null` when it may not be kept.
 *
 * @param maxAgeMs the policy's bound
 */
export function keepingOf(
  request: Pick<EgressRequest, "fields">,
  response: Pick<EgressResponse, "status" | "fields">,
  maxAgeMs: number,
  wallMs: number,
): Keeping | null {
  const { status, fields } = response;
  if (status !== 200) return null;
  const found = findSetCookieAndCacheControl(fields);
  if ((found & SET_COOKIE) !== 0) return null;
  const directives = found === 0 ? NO_DIRECTIVES : cacheDirectives(fields);
  if (directives.has("no-store") || directives.has("private") || directives.has("no-cache")) return null;
  const selecting = selectingFields(request.fields, fields);
  if (selecting === null) return null;
  const ageMs = ageOf(fields, wallMs);
  const freshMs = freshnessOf(directives, fields, wallMs);
  const ageMsMax = Math.min(maxAgeMs, ownAgeMsMax(directives, freshMs));
  return ageMs >= ageMsMax ? null : { ageMsMax, ageMs, freshMs, selecting };
}

/** Whether an answer says that what was kept before is no longer so: gone, moved, forbidden. A failure says nothing, nor does 304. */
export function supersedes(status: number): boolean {
  return status < 500 && status !== 304 && status !== 408 && status !== 425 && status !== 429;
}

/** Methods that change nothing at the target (RFC 9110 §9.2.1). */
const SAFE: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "CONNECT"]);

/** Whether no answer to it can make what is kept invalid. */
export function isSafe(method: string): boolean {
  return SAFE.has(method);
}

/** Whether an exchange makes what is kept for its target invalid (RFC 9111 §4.4): an unsafe method that did not fail. */
export function invalidates(method: string, status: number): boolean {
  return !SAFE.has(method) && status >= 200 && status < 400;
}

/**
 * Whether an answer that was kept as `keeping` and is `ageMs` old now may be served to `request`, which is keepable. The request's own
 * word counts: `no-cache`, `max-age`, and its `stale-if-error` (RFC 5861 §4).
 */
export function mayServe(keeping: Keeping, ageMs: number, request: Pick<EgressRequest, "fields">): boolean {
  if (ageMs > keeping.ageMsMax) return false;
  const { fields } = request;
  if (keeping.selecting.some(({ name, value }) => selectingValue(fields, name) !== value)) return false;
  const directives = cacheDirectives(fields);
  if (directives.has("no-cache")) return false;
  if (directives.size === 0 && fieldValue(fields, "pragma")?.toLowerCase() === "no-cache") return false;
  const maxAgeMs = directiveMs(directives, "max-age") ?? Number.POSITIVE_INFINITY;
  const staleMs = directiveMs(directives, "stale-if-error") ?? Number.POSITIVE_INFINITY;
  return ageMs <= maxAgeMs && ageMs <= keeping.freshMs + staleMs;
}

/** The fields that choose the answer, by its Vary; `null` for `*`, which nobody can match. */
function selectingFields(request: FieldLines, response: FieldLines): SelectingField[] | null {
  const named = fieldValues(response, "vary")
    .join(",")
    .split(",")
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== "");
  if (named.includes("*")) return null;
  const names = [...new Set([...ALWAYS_SELECTING, ...named])];
  return names.map((name) => ({ name, value: selectingValue(request, name) }));
}

/** Lines of one name are one value (RFC 9110 §5.3). */
function selectingValue(fields: FieldLines, name: string): string | undefined {
  const values = fieldValues(fields, name);
  return values.length === 0 ? undefined : values.join(", ");
}

/** Age on arrival (RFC 9111 §4.2.3): what its Age says, or its Date where that is further back. */
function ageOf(fields: FieldLines, wallMs: number): number {
  const stated = fieldValue(fields, "age") ?? "";
  const date = parseHttpDate(fieldValue(fields, "date") ?? "", wallMs);
  const apparentMs = date === null ? 0 : Math.max(0, wallMs - date);
  // Date has whole seconds: less than one is no age.
  return Math.max(apparentMs < 1000 ? 0 : apparentMs, /^\d{1,10}$/.test(stated) ? Number(stated) * 1000 : 0);
}

/** Freshness lifetime (RFC 9111 §4.2.1). */
function freshnessOf(directives: CacheDirectives, fields: FieldLines, wallMs: number): number {
  const statedMs = directiveMs(directives, "s-maxage") ?? directiveMs(directives, "max-age");
  if (statedMs !== null) return statedMs;
  const expires = parseHttpDate(fieldValue(fields, "expires") ?? "", wallMs);
  const date = parseHttpDate(fieldValue(fields, "date") ?? "", wallMs) ?? wallMs;
  return expires === null ? 0 : Math.max(0, expires - date);
}

/**
 * The upstream's own word about the greatest age: not stale at all (RFC 9111 §4.2.4), so much stale (RFC 5861 §4), or none; then the
 * policy's is the only one.
 */
function ownAgeMsMax(directives: CacheDirectives, freshMs: number): number {
  const strict =
    directives.has("must-revalidate") || directives.has("proxy-revalidate") || directives.has("s-maxage");
  if (strict) return freshMs;
  const staleMs = directiveMs(directives, "stale-if-error");
  return staleMs === null ? Number.POSITIVE_INFINITY : freshMs + staleMs;
}
