/**
 * Things by the host patterns that they are for: exact names, `*.suffix`, `*`. Compiled once per configuration; a look-up walks the
 * labels of one name. Keys live in Maps, so that a host named `__proto__` is only a name.
 */
import { isIP } from "node:net";
import { canonicalHost } from "./target-host.ts";

/** Lists of items by pattern, each in the order in which the items were given. */
export interface HostIndex<T> {
  readonly exact: ReadonlyMap<string, readonly T[]>;
  /** By `.suffix`, the pattern's text without its asterisk. */
  readonly suffixes: ReadonlyMap<string, readonly T[]>;
  /** Those with the pattern `*`. */
  readonly anyHost: readonly T[];
}

/** Compiles `items`, each for the patterns that `patternsOf` gives. */
export function indexHosts<T>(items: readonly T[], patternsOf: (item: T) => readonly string[]): HostIndex<T> {
  const exact = new Map<string, T[]>();
  const suffixes = new Map<string, T[]>();
  const anyHost: T[] = [];
  for (const item of items) {
    for (const pattern of patternsOf(item)) {
      if (pattern === "*") anyHost.push(item);
      else if (pattern.startsWith("*.")) append(suffixes, canonicalHost(pattern.slice(1)), item);
      else append(exact, canonicalHost(pattern), item);
    }
  }
  return { exact, suffixes, anyHost };
}

function append<T>(map: Map<string, T[]>, key: string, item: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [item]);
  else list.push(item);
}

/**
 * Shows `look` the lists for `host`, the closest pattern first: the exact name, the suffixes from the longest to the shortest,
 * `*`. Ends with the first result that is not `undefined`.
 */
export function firstForHost<T, R>(
  index: HostIndex<T>,
  host: string,
  look: (items: readonly T[]) => R | undefined,
): R | undefined {
  const name = canonicalHost(host);
  const exact = index.exact.get(name);
  const found = exact === undefined ? undefined : look(exact);
  if (found !== undefined) return found;
  return (index.suffixes.size > 0 ? firstForSuffix(index, name, look) : undefined) ?? look(index.anyHost);
}

function firstForSuffix<T, R>(
  { suffixes }: HostIndex<T>,
  name: string,
  look: (items: readonly T[]) => R | undefined,
): R | undefined {
  // An address has no parent domain: `*.0.0.1` does not match 127.0.0.1. Those with dots end in a digit, names rarely do.
  const last = name.charCodeAt(name.length - 1);
  if (last >= 48 && last <= 57 && isIP(name) !== 0) return undefined;
  for (let dot = name.indexOf(".", 1); dot > 0; dot = name.indexOf(".", dot + 1)) {
    const items = suffixes.get(name.slice(dot));
    const found = items === undefined ? undefined : look(items);
    if (found !== undefined) return found;
  }
  return undefined;
}
