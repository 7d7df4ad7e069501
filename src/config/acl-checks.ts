/** What the keys of `acl` must be to each other and to the rest of the file. Pure; called by `cross-checks.ts`. */
import { DEFAULTS } from "./defaults.ts";
import { errorAt, type Problem, warningAt } from "./problem.ts";
import type { PolicyFile } from "./schema.ts";
import { show } from "./show.ts";

/** As much of a file as the checks need; destinations that the schema refused are `null`. */
interface AclFile extends Pick<PolicyFile, "acl" | "on_proxy_failure"> {
  readonly destinations: readonly unknown[];
}

/** Every finding about `acl`. */
export function checkAcl(file: AclFile): Problem[] {
  return [...checkDefault(file), ...checkRules(file.acl?.rules ?? [])];
}

function checkDefault({ acl, on_proxy_failure, destinations }: AclFile): Problem[] {
  if (acl?.default !== "deny") return [];
  const problems: Problem[] = [];
  const allows = acl.rules?.some(({ action }) => action === "allow") ?? false;
  if (destinations.length === 0 && !allows) {
    const message = "denies every call, because the file names no destination and no rule allows one";
    problems.push(warningAt(["acl", "default"], message));
  }
  if ((acl.mode ?? DEFAULTS.acl.mode) === "enforce" && on_proxy_failure === undefined) {
    const message = `denies by default, yet on_proxy_failure is "${DEFAULTS.onProxyFailure}" where the file does not say: calls go out unchecked while the proxy cannot run; state on_proxy_failure: closed (or open, if you want that)`;
    problems.push(warningAt(["acl", "default"], message));
  }
  return problems;
}

type Rule = NonNullable<NonNullable<PolicyFile["acl"]>["rules"]>[number];

function checkRules(rules: readonly Rule[]): Problem[] {
  const first = new Map<string, number>();
  const all = rules.findIndex(matchesEverything);
  return rules.flatMap((rule, i) => {
    const problems: Problem[] = [];
    const before = first.get(rule.name);
    if (before === undefined) first.set(rule.name, i);
    else {
      const message = `${show(rule.name)} is the name of acl.rules[${before}] too; choose another`;
      problems.push(errorAt(["acl", "rules", i, "name"], message));
    }
    if (all >= 0 && all < i) {
      const message = `is never reached, because acl.rules[${all}] takes every call; put it before that one`;
      problems.push(warningAt(["acl", "rules", i], message));
    }
    return problems;
  });
}

function matchesEverything({ hosts, ports, methods, paths, identities }: Rule): boolean {
  const lists = [hosts?.includes("*") ? [] : hosts, ports, methods, paths, identities];
  return lists.every((list) => list === undefined || list.length === 0);
}
