/** Rules that were learned → the text of a policy. Every text of a log is quoted: it may hold whatever a stranger sent. Pure. */
import type { Acl } from "../config/types.ts";
import type { LearnedRule, SeenTarget } from "./allow-list.ts";

/** Targets that are listed one by one. */
const LISTED_MAX = 100;

/** A whole policy that denies all but `rules`. */
export function policyText(
  rules: readonly LearnedRule[],
  targets: readonly SeenTarget[],
  mode: Acl["mode"],
): string {
  const next =
    mode === "enforce"
      ? ""
      : `# Nothing is refused yet. Under mode: report what enforce would refuse has "acl": "would_deny" in the access log;
# when that stays empty, write mode: enforce, and on_proxy_failure: closed.
`;
  return `# Learned by outrider suggest from ${counted(callsOf(targets), "call")}.
${next}${listText(targets)}version: 1
acl:
  default: deny
  mode: ${mode}
  rules:
${rulesText(rules)}`;
}

/** What is missing in the policy `name`. */
export function missingText(
  rules: readonly LearnedRule[],
  targets: readonly SeenTarget[],
  name: string,
): string {
  return `# Missing in ${JSON.stringify(name)}: ${counted(callsOf(targets), "call")} that it does not allow. Add to its rules; the first match decides.
${listText(targets)}acl:
  rules:
${rulesText(rules)}`;
}

function callsOf(targets: readonly SeenTarget[]): number {
  return targets.reduce((sum, { calls }) => sum + calls, 0);
}

/** `1 call`, `2 calls`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

function listText(targets: readonly SeenTarget[]): string {
  const lines = targets.slice(0, LISTED_MAX).map(({ host, port, calls, firstSeen }) => {
    const authority = `${host.includes(":") ? `[${host}]` : host}:${port}`;
    return `#   ${firstSeen === "" ? "" : `${firstSeen}  `}${authority}  ${counted(calls, "call")}\n`;
  });
  const more = targets.length - lines.length;
  return `# First seen:\n${lines.join("")}${more > 0 ? `#   and ${more} more\n` : ""}`;
}

function rulesText(rules: readonly LearnedRule[]): string {
  return rules.map(ruleText).join("");
}

function ruleText({ name, action, hosts, ports, methods, paths, templates }: LearnedRule): string {
  const lines = [`    - name: ${name}`, `      action: ${action}`, `      hosts: ${flow(hosts)}`];
  lines.push(`      ports: [${ports.join(", ")}]`, `      methods: ${flow(methods)}`);
  if (paths.length > 0) {
    lines.push("      paths:");
    for (const path of paths) {
      const seen = templates.get(path);
      lines.push(`        - ${quoted(path)}${seen === undefined ? "" : ` # ${seen.map(shown).join("  ")}`}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

function flow(texts: readonly string[]): string {
  return `[${texts.map((text) => (PLAIN_METHOD.test(text) ? text : quoted(text))).join(", ")}]`;
}

/** Methods that YAML reads as text whichever version of it reads. */
const PLAIN_METHOD = /^(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|CONNECT)$/;

/** A double-quoted scalar: JSON's strings are YAML's (YAML 1.2 §1.3). */
function quoted(text: string): string {
  return JSON.stringify(text);
}

/** A path in a comment: what could end the line is not in it. */
function shown(path: string): string {
  return path.replace(/[^\x21-\x7e]/g, "?").slice(0, 200);
}
