/**
 * What the keys of hedging, the breaker, the limits that find or count themselves, and the answers in place of a failure must be to
 * each other. Pure; called by `policy-checks.ts`.
 */
import { doubt, type Finding, isStated, refusal } from "./finding.ts";
import type { Layer, MergedPolicy } from "./merge.ts";
import { parseSize } from "./units.ts";

/** Every finding about these stages of one merged policy. */
export function checkStages(policy: MergedPolicy, layers: readonly Layer[]): Finding[] {
  return [
    ...checkHedge(policy, layers),
    ...checkBreaker(policy, layers),
    ...checkAdaptive(policy),
    ...checkInvocation(policy),
    ...checkFallback(policy),
    ...checkStale(policy),
  ];
}

/** Methods whose repetition is known to do harm: neither is idempotent (RFC 9110 §9.2.2, RFC 5789 §2). */
export const REPEATS_EFFECTS = ["POST", "PATCH"];

function checkHedge({ hedge }: MergedPolicy, layers: readonly Layer[]): Finding[] {
  if (hedge === "off") return [];
  const findings: Finding[] = [];
  if (hedge.delay !== "off" && isStated(layers, ["hedge", "percentile"])) {
    const keys = [
      ["hedge", "delay"],
      ["hedge", "percentile"],
    ];
    const message = `hedge.delay (${hedge.delay}) and hedge.percentile (${hedge.percentile}) exclude each other; state one of them, and delay: off where an outer level states a delay`;
    findings.push(refusal(keys, message));
  }
  if (hedge.methods.length === 0) {
    findings.push(
      doubt(
        [["hedge", "methods"]],
        "is empty, so nothing is ever sent twice; name methods, or write hedge: off",
      ),
    );
  }
  const harmful = hedge.methods.filter((method) => REPEATS_EFFECTS.includes(method));
  if (harmful.length > 0) {
    const message = `${harmful.join(" and ")} may reach the upstream twice at once, which repeats the effect; leave out what is not idempotent`;
    findings.push(doubt([["hedge", "methods"]], message));
  }
  return findings;
}

function checkBreaker({ circuit_breaker: breaker }: MergedPolicy, layers: readonly Layer[]): Finding[] {
  if (breaker === "off") return [];
  const at = (key: string) => ["circuit_breaker", key];
  if (breaker.isolated) {
    return [doubt([at("isolated")], "no call goes out; write isolated: false to let them go")];
  }
  const { consecutive_failures, error_ratio, slow_call } = breaker;
  const hasRatio = error_ratio !== "off" || slow_call !== "off";
  if (consecutive_failures === "off" && !hasRatio) {
    const message =
      "nothing can open it: consecutive_failures, error_ratio and slow_call are all off; state one, or write circuit_breaker: off";
    return [refusal([at("slow_call"), at("error_ratio"), at("consecutive_failures")], message)];
  }
  const findings: Finding[] = [];
  if (slow_call === "off" && isStated(layers, at("slow_ratio"))) {
    const message = "has no effect without circuit_breaker.slow_call; state one, such as slow_call: 2s";
    findings.push(refusal([at("slow_call"), at("slow_ratio")], message));
  }
  for (const key of ["window", "min_calls"]) {
    if (hasRatio || !isStated(layers, at(key))) continue;
    const message = "has no effect while error_ratio and slow_call are off; state one of them";
    findings.push(refusal([at("slow_call"), at("error_ratio"), at(key)], message));
  }
  return findings;
}

function checkAdaptive({ limits: { adaptive_concurrency: adaptive } }: MergedPolicy): Finding[] {
  if (adaptive === "off" || adaptive.min <= adaptive.max) return [];
  const keys = ["max", "min"].map((key) => ["limits", "adaptive_concurrency", key]);
  const message = `adaptive_concurrency.min (${adaptive.min}) is larger than its max (${adaptive.max}); lower min or raise max`;
  return [refusal(keys, message)];
}

function checkInvocation({ limits: { per_invocation: budget } }: MergedPolicy): Finding[] {
  if (budget === "off" || budget.calls !== "off" || budget.bytes !== "off") return [];
  const keys = [
    ["limits", "per_invocation"],
    ...["bytes", "calls"].map((key) => ["limits", "per_invocation", key]),
  ];
  return [refusal(keys, "bounds nothing; state calls or bytes, or write per_invocation: off")];
}

function checkFallback({ fallback }: MergedPolicy): Finding[] {
  if (fallback === "off") return [];
  if (fallback.status === 0) {
    return [refusal([["fallback"]], "needs status, the status of the answer, such as status: 200")];
  }
  const isJson = /^application\/json\s*(?:;|$)/i.test(fallback.content_type);
  if (!isJson || fallback.body === "" || isJsonText(fallback.body)) return [];
  const message = `the body is no JSON, although content_type is "${fallback.content_type}"; mend it, or state another content_type`;
  return [
    doubt(
      [
        ["fallback", "content_type"],
        ["fallback", "body"],
      ],
      message,
    ),
  ];
}

function isJsonText(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function checkStale({ stale_if_error: stale }: MergedPolicy): Finding[] {
  if (stale === "off" || parseSize(stale.body_bytes)! <= parseSize(stale.bytes)!) return [];
  const keys = ["bytes", "body_bytes"].map((key) => ["stale_if_error", key]);
  const message = `body_bytes (${stale.body_bytes}) is larger than bytes (${stale.bytes}), which all answers together may take; lower body_bytes or raise bytes`;
  return [refusal(keys, message)];
}
