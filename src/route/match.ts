/**
 * Which destination of the policy a target belongs to, and which route of it.
 *
 * Pure look-ups on a matcher that is compiled once per configuration. Keys live in Maps, so that a host named `__proto__` is
 * only a name. Whether the target may be called at all is decided in `admit.ts`.
 */
import { isIP } from "node:net";
import type { Destination, Route } from "../config/types.ts";
import { canonicalHost } from "./target-host.ts";

/** Destinations by host pattern. Within one pattern those that name ports come first, else the order is the file's. */
export interface Matcher {
  readonly exact: ReadonlyMap<string, readonly Destination[]>;
  /** By `.suffix`, the pattern's text without its asterisk. */
  readonly suffixes: ReadonlyMap<string, readonly Destination[]>;
  /** Those with the pattern `*`. */
  readonly anyHost: readonly Destination[];
  /** The implicit last destination: it takes what no other does. */
  readonly fallback: Destination;
}

/**
 * Compiles the destinations of a configuration.
 * @throws RangeError when the list does not end with the implicit destination, the one without hosts
 */
export function compileMatcher(destinations: readonly Destination[]): Matcher {
  const fallback = destinations.at(-1);
  if (fallback === undefined || fallback.hosts.length > 0) {
    throw new RangeError(
      "the list of destinations does not end with the implicit one: compile the policy again",
    );
  }
  const exact = new Map<string, Destination[]>();
  const suffixes = new Map<string, Destination[]>();
  const anyHost: Destination[] = [];
  // A stable sort: who names ports is asked before who takes any.
  const ordered = destinations.toSorted(
    (a, b) => Number(a.ports.length === 0) - Number(b.ports.length === 0),
  );
  for (const destination of ordered) {
    for (const pattern of destination.hosts) {
      if (pattern === "*") anyHost.push(destination);
      else if (pattern.startsWith("*.")) append(suffixes, canonicalHost(pattern.slice(1)), destination);
      else append(exact, canonicalHost(pattern), destination);
    }
  }
  return { exact, suffixes, anyHost, fallback };
}

function append(map: Map<string, Destination[]>, key: string, destination: Destination): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [destination]);
  else list.push(destination);
}

/**
 * The destination of a target: an exact host first, then the longest suffix, then `*`, then the implicit one. A destination
 * whose ports do not include `port` is passed over.
 */
export function matchDestination(matcher: Matcher, host: string, port: number): Destination {
  const name = canonicalHost(host);
  return (
    withPort(matcher.exact.get(name), port) ??
    (matcher.suffixes.size > 0 ? bySuffix(matcher, name, port) : undefined) ??
    withPort(matcher.anyHost, port) ??
    matcher.fallback
  );
}

function bySuffix(matcher: Matcher, name: string, port: number): Destination | undefined {
  // An address has no parent domain: `*.0.0.1` does not match 127.0.0.1. Those with dots end in a digit, names rarely do.
  const last = name.charCodeAt(name.length - 1);
  if (last >= 48 && last <= 57 && isIP(name) !== 0) return undefined;
  for (let dot = name.indexOf(".", 1); dot > 0; dot = name.indexOf(".", dot + 1)) {
    const found = withPort(matcher.suffixes.get(name.slice(dot)), port);
    if (found !== undefined) return found;
  }
  return undefined;
}

function withPort(destinations: readonly Destination[] | undefined, port: number): Destination | undefined {
  return destinations?.find(({ ports }) => ports.length === 0 || ports.includes(port));
}

/**
 * The first route of `destination` that matches, or `null` when the destination's own policy applies. `path` is the target as
 * it came, query included; it is compared as it stands, because it is forwarded as it stands.
 */
export function matchRoute(destination: Destination, method: string, path: string): Route | null {
  for (const route of destination.routes) {
    const { methods } = route.match;
    if ((methods.length === 0 || methods.includes(method)) && underPrefix(path, route.match.path))
      return route;
  }
  return null;
}

/** Whether `prefix` covers whole segments of `path`: `/v1` covers `/v1`, `/v1/x` and `/v1?x`, not `/v10`. */
function underPrefix(path: string, prefix: string): boolean {
  if (!path.startsWith(prefix)) return false;
  if (path.length === prefix.length || prefix === "" || prefix.endsWith("/")) return true;
  const next = path[prefix.length];
  return next === "/" || next === "?";
}
