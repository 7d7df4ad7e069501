/**
 * Which destination of the policy a target belongs to, and which route of it.
 *
 * Pure look-ups on a matcher that is compiled once per configuration. Whether the target may be called at all is decided in
 * `access.ts`.
 */
import type { Destination, Route } from "../config/types.ts";
import { firstForHost, type HostIndex, indexHosts } from "./host-index.ts";
import { underPrefix } from "./path-prefix.ts";

/** Destinations by host pattern. Within one pattern those that name ports come first, else the order is the file's. */
export interface Matcher {
  readonly byHost: HostIndex<Destination>;
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
  // A stable sort: who names ports is asked before who takes any.
  const ordered = destinations.toSorted(
    (a, b) => Number(a.ports.length === 0) - Number(b.ports.length === 0),
  );
  return { byHost: indexHosts(ordered, ({ hosts }) => hosts), fallback };
}

/**
 * The destination of a target: an exact host first, then the longest suffix, then `*`, then the implicit one. A destination
 * whose ports do not include `port` is passed over.
 */
export function matchDestination({ byHost, fallback }: Matcher, host: string, port: number): Destination {
  const takes = ({ ports }: Destination) => ports.length === 0 || ports.includes(port);
  return firstForHost(byHost, host, (destinations) => destinations.find(takes)) ?? fallback;
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
