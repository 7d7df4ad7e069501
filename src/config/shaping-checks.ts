/**
 * What the keys of splits, rewrites, mirrors and faults must be to each other. Pure; called by `policy-checks.ts`.
 *
 * Mappings that add up from several levels may state their needed keys on any of them, so "needed" is judged here.
 */
import { doubt, type Finding, isStated, refusal } from "./finding.ts";
import type { Layer, MergedPolicy } from "./merge.ts";
import { STICKY_DEFAULT } from "./resolve-stages.ts";
import { formatInstant, parseInstant } from "./units.ts";

/** How far ahead `fault.expires` may be: a fault that nobody looks at for a month is forgotten. */
const FAULT_DAYS_MAX = 30;

const DAY_MS = 86_400_000;

/** Every finding about these stages of one merged policy; `wallMs` is the time of the check. */
export function checkShaping(policy: MergedPolicy, layers: readonly Layer[], wallMs: number): Finding[] {
  return [
    ...checkSplit(policy),
    ...checkRewrite(policy, layers),
    ...checkMirror(policy),
    ...checkFault(policy),
    ...checkExpiry(policy, wallMs),
  ];
}

function checkSplit({ split }: MergedPolicy): Finding[] {
  const findings: Finding[] = [];
  const sum = split.reduce((total, { weight }) => total + weight, 0);
  // Weights such as 33.3 add up with an error in the last digits.
  if (sum > 100 + 1e-9) {
    const message = `the weights add up to ${Math.round(sum * 1000) / 1000} percent, more than 100; lower them`;
    findings.push(refusal([["split"]], message));
  }
  const keys = new Set(split.map(({ sticky }) => (sticky ?? STICKY_DEFAULT).toLowerCase()));
  if (keys.size > 1) {
    const message = `a caller cannot keep its side by several things at once (${[...keys].join(", ")}); state the same sticky in all entries`;
    findings.push(refusal([["split"]], message));
  }
  return findings;
}

function checkRewrite({ rewrite }: MergedPolicy, layers: readonly Layer[]): Finding[] {
  if (rewrite === "off") return [];
  const { path_prefix: prefix, path_replacement: replacement, set_headers, remove_headers, flags } = rewrite;
  const findings: Finding[] = [];
  if ((prefix === "") !== (replacement === "")) {
    const lacking =
      prefix === "" ? "path_prefix, what is replaced" : "path_replacement, what takes its place; / for none";
    const keys = [
      ["rewrite", "path_prefix"],
      ["rewrite", "path_replacement"],
    ];
    findings.push(refusal(keys, `needs ${lacking}`));
  }
  if (
    prefix === "" &&
    replacement === "" &&
    set_headers.length + remove_headers.length + flags.length === 0
  ) {
    const stated = ["set_headers", "remove_headers", "flags"].map((key) => ["rewrite", key]);
    const emptied = stated.some((key) => isStated(layers, key));
    if (!emptied)
      findings.push(refusal([["rewrite"]], "changes nothing; state what it changes, or write rewrite: off"));
  }
  const written = [...set_headers.map(({ name }) => name), ...flags.map(({ header }) => header)];
  const seen = new Set<string>();
  for (const name of [...remove_headers, ...written].map((stated) => stated.toLowerCase())) {
    if (!seen.has(name)) {
      seen.add(name);
      continue;
    }
    const keys = ["remove_headers", "set_headers", "flags"].map((key) => ["rewrite", key]);
    findings.push(refusal(keys, `the header "${name}" is rewritten twice; name it once`));
  }
  for (const { header, values } of flags) {
    if (values.some(({ weight }) => weight > 0)) continue;
    findings.push(
      refusal(
        [["rewrite", "flags"]],
        `all values of "${header}" have the weight 0; give one of them another`,
      ),
    );
  }
  return findings;
}

function checkMirror({ mirror }: MergedPolicy): Finding[] {
  if (mirror === "off") return [];
  const needed = [
    ...(mirror.host === "" ? ["host, where the copies go"] : []),
    ...(mirror.percent === 0 ? ["percent, how many of the calls are copied"] : []),
  ];
  return needed.length === 0 ? [] : [refusal([["mirror"]], `needs ${needed.join(", and ")}`)];
}

function checkFault({ fault }: MergedPolicy): Finding[] {
  if (fault === "off") return [];
  const findings: Finding[] = [];
  const needed = [
    ...(fault.percent === 0 ? ["percent, how many of the calls fail"] : []),
    ...(fault.expires === "" ? ["expires, the date on which it ends"] : []),
  ];
  if (needed.length > 0) findings.push(refusal([["fault"]], `needs ${needed.join(", and ")}`));
  const ends = [
    ...(fault.abort === "off" ? [] : ["abort"]),
    ...(fault.reset ? ["reset"] : []),
    ...(fault.tls_failure ? ["tls_failure"] : []),
  ];
  const bodies = ["body_rate", "truncate_after"].filter((key) => fault[key as "body_rate"] !== "off");
  if (ends.length + bodies.length === 0 && fault.delay === "off") {
    const message =
      "does nothing; state one of delay, abort, reset, tls_failure, body_rate and truncate_after, or write fault: off";
    findings.push(refusal([["fault"]], message));
  }
  if (ends.length > 1) {
    const message = `a call can end in one way only; state one of ${ends.join(", ")}`;
    findings.push(
      refusal(
        ends.map((key) => ["fault", key]),
        message,
      ),
    );
  }
  if (ends.length > 0 && bodies.length > 0) {
    const message = `there is no body of the upstream to change when ${ends[0]} ends the call; state one or the other`;
    findings.push(
      refusal(
        [...ends, ...bodies].map((key) => ["fault", key]),
        message,
      ),
    );
  }
  return findings;
}

function checkExpiry({ fault }: MergedPolicy, wallMs: number): Finding[] {
  if (fault === "off" || fault.expires === "") return [];
  const expiresMs = parseInstant(fault.expires)!;
  const key = ["fault", "expires"];
  if (expiresMs <= wallMs) {
    return [
      doubt([key], `${fault.expires} is over, so there are no faults; delete fault, or state a later date`),
    ];
  }
  const latestMs = wallMs + FAULT_DAYS_MAX * DAY_MS;
  if (expiresMs <= latestMs) return [];
  const message = `${fault.expires} is more than ${FAULT_DAYS_MAX} days ahead; state a date up to ${formatInstant(latestMs).slice(0, 10)}`;
  return [refusal([key], message)];
}
