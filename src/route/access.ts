/**
 * Whether a call may be made at all: by the rules of the acl, the first that matches, and where none does by the word of the call's
 * destination.
 *
 * Compiled once per configuration; pure decisions with the name of the rule that decided. The addresses behind a name are judged
 * in `admit.ts`, when they are about to be dialled.
 */
import type { AccessRule, Acl } from "../config/types.ts";
import { admissionBy, type TargetAdmission } from "./admit.ts";
import { firstForHost, type HostIndex, indexHosts } from "./host-index.ts";
import { pathReadings, possiblyUnder, surelyUnder, underPrefix } from "./path-prefix.ts";

/** A rule with its verdict made. */
interface CompiledRule {
  readonly rule: AccessRule;
  /** Its place among the rules: the first that matches decides. */
  readonly order: number;
  readonly admission: TargetAdmission;
  /** Its paths in every reading of them, as those of calls are compared. */
  readonly prefixes: readonly string[];
  /** Looks at the method or the path, so that host and port alone do not decide it. */
  readonly isConditional: boolean;
}

/** The rules of the acl, compiled by `compileAccess`. */
export interface Access {
  readonly byHost: HostIndex<CompiledRule>;
  /** There are rules for this identity at all. */
  readonly hasRules: boolean;
}

/**
 * Compiles the rules for one identity.
 *
 * @param identity name of the function or service whose calls are judged; "" when it has none: then no rule with identities but
 *   `*` matches
 */
export function compileAccess(acl: Acl, identity: string): Access {
  const rules = acl.rules
    .filter(({ identities }) => identities.length === 0 || identities.some((one) => matches(one, identity)))
    .map((rule, order) => ({
      rule,
      order,
      admission: admissionBy(acl, rule.action, `acl.rules.${rule.name}`),
      prefixes: rule.paths.flatMap((path) => pathReadings(path) ?? [path]),
      isConditional: rule.methods.length > 0 || rule.paths.length > 0,
    }));
  return {
    byHost: indexHosts(rules, ({ rule }) => (rule.hosts.length === 0 ? ["*"] : rule.hosts)),
    hasRules: rules.length > 0,
  };
}

/** Whether `name` is what `pattern` names; an asterisk at either end stands for anything. */
function matches(pattern: string, name: string): boolean {
  if (pattern === "*") return true;
  if (name === "") return false;
  const begins = pattern.endsWith("*");
  const ends = pattern.startsWith("*");
  const text = pattern.slice(ends ? 1 : 0, begins ? -1 : undefined);
  if (begins && ends) return name.includes(text);
  return begins ? name.startsWith(text) : ends ? name.endsWith(text) : name === text;
}

/** The rules that may decide about calls to a target, in their order; one that decides every call is the last. */
export type TargetRules = readonly CompiledRule[];

/** The rules for `host` and `port`. The same for every call to them: whoever makes many may keep it. */
export function rulesFor({ byHost, hasRules }: Access, host: string, port: number): TargetRules {
  if (!hasRules) return [];
  const found = new Set<CompiledRule>();
  firstForHost(byHost, host, (list): undefined => {
    for (const one of list) if (one.rule.ports.length === 0 || one.rule.ports.includes(port)) found.add(one);
  });
  const ordered = [...found].sort((a, b) => a.order - b.order);
  const decided = ordered.findIndex(({ isConditional }) => !isConditional);
  return decided < 0 ? ordered : ordered.slice(0, decided + 1);
}

/**
 * Judges one call. A tunnel that is not looked into is its CONNECT: the rules that list paths do not match it, those that list
 * methods only where CONNECT is one of them.
 *
 * @param rules what `rulesFor` gave for the call's host and port
 * @param word what `admitTarget` says of its destination, for what no rule decides
 * @param path as it came, query included
 */
export function admitCall(
  rules: TargetRules,
  word: TargetAdmission,
  method: string,
  path: string,
): TargetAdmission {
  let readings: readonly string[] | null | undefined;
  for (const { rule, admission, prefixes } of rules) {
    if (rule.methods.length > 0 && !rule.methods.includes(method)) continue;
    if (rule.paths.length === 0) return admission;
    if (method === "CONNECT") continue;
    // As it stands first: nearly always that decides, and a prefix with dots in it allows no more than it says.
    if (rule.action === "allow" && !rule.paths.some((prefix) => underPrefix(path, prefix))) continue;
    if (readings === undefined) readings = pathReadings(path);
    const under = rule.action === "allow" ? surelyUnder : possiblyUnder;
    if (under(readings, prefixes)) return admission;
  }
  return word;
}

/**
 * Whether some call may pass, whatever its method and path: what can be said of a tunnel that will be looked into, before it is
 * promised.
 */
export function admitsSome(rules: TargetRules, word: TargetAdmission): boolean {
  for (const { admission, isConditional } of rules) {
    if (admission.effect !== "refuse") return true;
    if (!isConditional) return false;
  }
  return word.effect !== "refuse";
}
