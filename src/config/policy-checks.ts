/**
 * What the values of one merged policy must be to each other. Pure; called for `defaults`, for each destination and each route.
 *
 * A finding is reported only by the run for the level that has the last word in it: a destination does not repeat what is wrong
 * with `defaults`.
 */
import { type Layer, layerOf, type MergedPolicy, mergeLayers } from "./merge.ts";
import type { Problem } from "./problem.ts";
import { parseDuration } from "./units.ts";

/** A problem before its place is known. */
interface Finding {
  readonly severity: Problem["severity"];
  /** The keys that have a part in it; the last one that the level states is pointed at. */
  readonly keys: readonly (readonly string[])[];
  readonly message: string;
}

const PER_TRY_TIMEOUT = ["per_try_timeout"];
const MAX_RETRIES = ["retry", "max_retries"];
const RETRY_ON = ["retry", "on"];
const RETRY_METHODS = ["retry", "methods"];

/** Methods whose repetition is known to do harm: neither is idempotent (RFC 9110 §9.2.2, RFC 5789 §2). */
const REPEATS_EFFECTS = ["POST", "PATCH"];

/** Every problem of the policy that `layers` make, as far as their last one has a part in it. */
export function checkPolicy(layers: readonly Layer[]): Problem[] {
  const policy = mergeLayers(layers);
  const findings = [
    ...checkTimeouts(policy),
    ...checkBackoff(policy),
    ...checkRetries(policy),
    ...checkLimits(layers),
  ];
  const own = layers.at(-1)!;
  return findings.flatMap(({ severity, keys, message }) => {
    const key = keys.findLast((involved) => layerOf(layers, involved) === own);
    return key === undefined
      ? []
      : [{ severity, path: [...own.path, ...key], at: "value", message } as const];
  });
}

function checkTimeouts({ timeout, per_try_timeout }: MergedPolicy): Finding[] {
  if (timeout === "off" || per_try_timeout === "off" || ms(per_try_timeout) <= ms(timeout)) return [];
  const message = `per_try_timeout (${per_try_timeout}) is longer than timeout (${timeout}), which ends the whole call; make it shorter, or off`;
  return [{ severity: "error", keys: [["timeout"], PER_TRY_TIMEOUT], message }];
}

function checkBackoff({ retry: { backoff } }: MergedPolicy): Finding[] {
  if (ms(backoff.base) <= ms(backoff.max)) return [];
  const keys = [
    ["retry", "backoff", "max"],
    ["retry", "backoff", "base"],
  ];
  const message = `backoff.base (${backoff.base}) is longer than backoff.max (${backoff.max}); lower base or raise max`;
  return [{ severity: "error", keys, message }];
}

function checkRetries({ retry, per_try_timeout }: MergedPolicy): Finding[] {
  if (retry.max_retries === 0) return [];
  const findings: Finding[] = [];
  if (retry.on.length === 0) {
    const message =
      "retry.on is empty, so nothing is ever sent again; name conditions, or set max_retries: 0";
    findings.push({ severity: "warning", keys: [MAX_RETRIES, RETRY_ON], message });
  }
  const harmful = retry.methods.filter((method) => REPEATS_EFFECTS.includes(method));
  if (harmful.length > 0) {
    const message = `${harmful.join(" and ")} may be sent again after the upstream acted, which repeats the effect; prefer an idempotency header (retry.idempotency_headers)`;
    findings.push({ severity: "warning", keys: [MAX_RETRIES, RETRY_METHODS], message });
  }
  if (retry.on.includes("per_try_timeout") && per_try_timeout === "off") {
    const message =
      "retry.on names per_try_timeout, which is off; state per_try_timeout, or take it out of the list";
    findings.push({ severity: "warning", keys: [MAX_RETRIES, PER_TRY_TIMEOUT, RETRY_ON], message });
  }
  return findings;
}

/** Keys of `limits` that mean nothing without another one. Where some level switched the other off, they wait for being needed. */
function checkLimits(layers: readonly Layer[]): Finding[] {
  const isStated = (key: string) => layerOf(layers, ["limits", key]).origin !== "built-in";
  const needs = (key: string, needed: string, example: string): Finding[] => {
    if (!isStated(key) || isStated(needed)) return [];
    const message = `has no effect without limits.${needed}; state one, such as ${needed}: ${example}`;
    return [{ severity: "error", keys: [["limits", key]], message }];
  };
  return [
    ...needs("burst", "rate", "100/s"),
    ...needs("overflow", "rate", "100/s"),
    ...needs("queue", "max_concurrency", "20"),
  ];
}

function ms(text: string): number {
  return parseDuration(text)!;
}
