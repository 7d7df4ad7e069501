/**
 * Calls that were observed → the fewest rules of the acl that allow them and nothing beside them, as far as prefixes of paths can say.
 *
 * Rules are cross products of hosts, ports, methods and paths, so only what was observed in all combinations shares one. Bounded:
 * a target with too many paths is allowed as a whole, and targets beyond the bound are counted and left out.
 */
import type { AccessRule } from "../config/types.ts";
import { pathReadings, surelyUnder, underPrefix } from "../route/path-prefix.ts";
import type { ObservedCall } from "./observed-call.ts";
import { pathTemplate } from "./path-template.ts";

/** Hosts and ports that are learned. Overflow: counted in `leftOut`. */
export const TARGETS_MAX = 1000;
/** Paths below one that are told apart; more are taken for identifiers, and the path above is allowed instead. */
export const CHILDREN_MAX = 32;
/** Paths of one target. Overflow: the target is allowed as a whole. */
const PATHS_MAX = 1000;
/** Templates that are shown for a path. */
const TEMPLATES_SHOWN_MAX = 3;

/** Bounds of one rule's lists in a policy file. A longer list becomes several rules. */
const LIST_MAX = { hosts: 256, ports: 64, methods: 32, paths: 256 } as const;

/** A host and port that were called. */
export interface SeenTarget {
  readonly host: string;
  readonly port: number;
  calls: number;
  /** Of the earliest line; "" when no line had a time. */
  firstSeen: string;
}

/** A rule, and for its paths what was called under them, where that is more than the path itself. */
export interface LearnedRule extends AccessRule {
  readonly templates: ReadonlyMap<string, readonly string[]>;
}

interface Target extends SeenTarget {
  tunnels: boolean;
  /** Prefix → methods. */
  paths: Map<string, Set<string>>;
}

/** Learns from calls, one after the other. */
export class AllowList {
  /** Calls that no rule was made for because there were too many targets. */
  leftOut = 0;
  /** Calls whose path a server may read in several ways: no rule of paths can allow them. */
  ambiguous = 0;
  readonly #targets = new Map<string, Target>();
  readonly #templates = new Map<string, Set<string>>();

  /** Every host and port that was learned, the earliest first. */
  get targets(): readonly SeenTarget[] {
    return [...this.#targets.values()].sort((a, b) => compare(a.firstSeen, b.firstSeen));
  }

  /** Learns one call. */
  add(call: ObservedCall): void {
    const target = this.#target(call);
    if (target === null) {
      this.leftOut += 1;
      return;
    }
    target.calls += 1;
    if (call.time !== "" && (target.firstSeen === "" || call.time < target.firstSeen))
      target.firstSeen = call.time;
    if (call.method === "CONNECT") {
      target.tunnels = true;
      return;
    }
    const { prefix, template } = pathTemplate(call.path);
    if (!surelyUnder(pathReadings(call.path), [prefix])) {
      this.ambiguous += 1;
      return;
    }
    addTo(target.paths, prefix, call.method);
    if (template !== prefix) this.#show(`${call.host}:${call.port}${prefix}`, template);
    if (target.paths.size > PATHS_MAX) target.paths = wholeTarget(collapsed(target.paths));
  }

  /** The rules; their names are none of `taken`. */
  rules(taken: ReadonlySet<string> = new Set()): readonly LearnedRule[] {
    const names = new Set(taken);
    return grouped([...this.#targets.values()].flatMap(grantsOf)).flatMap((grant) =>
      chunks(grant).map((lists) => ({
        ...lists,
        name: nameFor(lists, names),
        action: "allow",
        identities: [],
        templates: this.#shown(lists),
      })),
    );
  }

  #target({ host, port }: ObservedCall): Target | null {
    const key = `${host}:${port}`;
    const known = this.#targets.get(key);
    if (known !== undefined) return known;
    if (this.#targets.size >= TARGETS_MAX) return null;
    const target = { host, port, calls: 0, firstSeen: "", tunnels: false, paths: new Map() };
    this.#targets.set(key, target);
    return target;
  }

  #show(key: string, template: string): void {
    const shown = this.#templates.get(key);
    if (shown === undefined) {
      if (this.#templates.size < PATHS_MAX) this.#templates.set(key, new Set([template]));
    } else if (shown.size < TEMPLATES_SHOWN_MAX) shown.add(template);
  }

  #shown({ hosts, ports, paths }: Lists): ReadonlyMap<string, readonly string[]> {
    const targets = hosts.flatMap((host) => ports.map((port) => `${host}:${port}`));
    const shown = (path: string) =>
      targets.flatMap((target) => [...(this.#templates.get(target + path) ?? [])]);
    const rows = paths.map(
      (path) => [path, [...new Set(shown(path))].slice(0, TEMPLATES_SHOWN_MAX)] as const,
    );
    return new Map(rows.filter(([, templates]) => templates.length > 0));
  }
}

type Lists = Pick<AccessRule, "hosts" | "ports" | "methods" | "paths">;

/** What was observed of one target under one set of methods. */
function grantsOf({ host, port, tunnels, paths }: Target): Lists[] {
  const byMethods = new Map<string, Lists & { paths: string[] }>();
  for (const [path, methods] of uncovered(collapsed(paths))) {
    const sorted = [...methods].sort();
    const key = sorted.join();
    const grant = byMethods.get(key);
    if (grant === undefined)
      byMethods.set(key, { hosts: [host], ports: [port], methods: sorted, paths: [path] });
    else grant.paths.push(path);
  }
  const tunnel = { hosts: [host], ports: [port], methods: ["CONNECT"], paths: [] };
  const grants = [...byMethods.values()].map((grant) => ({ ...grant, paths: grant.paths.sort() }));
  return tunnels ? [tunnel, ...grants] : grants;
}

/** Too many paths below one become that one, from the deepest on. */
function collapsed(paths: ReadonlyMap<string, ReadonlySet<string>>): Map<string, Set<string>> {
  let now = new Map([...paths].map(([path, methods]) => [path, new Set(methods)]));
  for (;;) {
    const children = Map.groupBy(now.keys(), parentOf);
    const crowded = [...children].filter(([parent, below]) => parent !== "" && below.length > CHILDREN_MAX);
    if (crowded.length === 0) return now;
    const next = new Map<string, Set<string>>();
    const merged = new Set(crowded.map(([parent]) => parent));
    for (const [path, methods] of now) {
      const parent = parentOf(path);
      for (const method of methods) addTo(next, merged.has(parent) ? parent : path, method);
    }
    now = next;
  }
}

/** The path above, "" for the root. */
function parentOf(path: string): string {
  if (path === "/") return "";
  return path.slice(0, path.lastIndexOf("/")) || "/";
}

function wholeTarget(paths: Map<string, Set<string>>): Map<string, Set<string>> {
  if (paths.size <= PATHS_MAX) return paths;
  return new Map([["/", new Set([...paths.values()].flatMap((methods) => [...methods]))]]);
}

/** Without the methods that a shorter path allows already. */
function uncovered(paths: ReadonlyMap<string, ReadonlySet<string>>): [string, Set<string>][] {
  const all = [...paths];
  return all
    .map(([path, methods]): [string, Set<string>] => {
      const above = all.filter(([other]) => other !== path && underPrefix(path, other));
      return [
        path,
        new Set([...methods].filter((method) => !above.some(([, allowed]) => allowed.has(method)))),
      ];
    })
    .filter(([, methods]) => methods.size > 0);
}

/** Grants that differ only in their port become one, then those that differ only in their host. */
function grouped(grants: readonly Lists[]): Lists[] {
  const byHost = joined(grants, "ports", ({ hosts, methods, paths }) =>
    JSON.stringify([hosts, methods, paths]),
  );
  return joined(byHost, "hosts", ({ ports, methods, paths }) => JSON.stringify([ports, methods, paths]));
}

function joined(grants: readonly Lists[], key: "ports" | "hosts", restOf: (grant: Lists) => string): Lists[] {
  return [...Map.groupBy(grants, restOf).values()].map((same) => ({
    ...same[0]!,
    [key]: same
      .flatMap((grant): (string | number)[] => [...grant[key]])
      .sort((a, b) => (typeof a === "number" ? a - Number(b) : compare(a, String(b)))),
  }));
}

/** As many rules as the bounds of lists ask for; nearly always one. */
function chunks(grant: Lists): Lists[] {
  let parts: Lists[] = [grant];
  for (const key of ["hosts", "ports", "methods", "paths"] as const) {
    const size = LIST_MAX[key];
    parts = parts.flatMap((part) => {
      const pieces = Math.max(1, Math.ceil(part[key].length / size));
      return Array.from({ length: pieces }, (_, i) => ({
        ...part,
        [key]: part[key].slice(i * size, (i + 1) * size),
      }));
    });
  }
  return parts;
}

/** A name that says what the rule is for, none of `names`, to which it is added. */
function nameFor({ hosts, ports, methods }: Lists, names: Set<string>): string {
  const isTunnel = methods[0] === "CONNECT";
  const subject = hosts.length === 1 ? hosts[0]! : isTunnel ? `tunnels-${ports[0]}` : `hosts-${ports[0]}`;
  const base = subject
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "")
    .slice(0, 50);
  const wanted = isTunnel && hosts.length === 1 ? `${base}-tunnel` : base;
  let name = wanted;
  for (let number = 2; names.has(name) || name === "default"; number++) name = `${wanted}-${number}`;
  names.add(name);
  return name;
}

function addTo(paths: Map<string, Set<string>>, path: string, method: string): void {
  const methods = paths.get(path);
  if (methods === undefined) paths.set(path, new Set([method]));
  else methods.add(method);
}

/** By code units, so that the order is the same on every machine. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
