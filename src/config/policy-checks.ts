/**
 * What the values of one merged policy must be to each other. Pure; called for `defaults`, for each destination and each route.
 *
 * A finding is reported only by the run for the level that has the last word in it: a destination does not repeat what is wrong
 * with `defaults`.
 */
import { doubt, type Finding, isStated, ownProblems, refusal } from "./finding.ts";
import { type Layer, type MergedPolicy, mergeLayers } from "./merge.ts";
import type { Problem } from "./problem.ts";
import type { PolicyFile } from "./schema.ts";
import { checkShaping } from "./shaping-checks.ts";
import { checkStages, REPEATS_EFFECTS } from "./stage-checks.ts";
import { parseDuration } from "./units.ts";

/** What a policy is judged by besides itself. */
export interface Around {
  /** `null` when the file states it, but in a way that was refused: then nothing is said about what it lacks. */
  readonly fleet: PolicyFile["fleet"] | null;
  /** `Clock.wall()`: faults may expire no later than a while from now. */
  readonly wallMs: number;
}

const PER_TRY_TIMEOUT = ["per_try_timeout"];
const MAX_RETRIES = ["retry", "max_retries"];
const RETRY_ON = ["retry", "on"];
const RETRY_METHODS = ["retry", "methods"];

/** Every problem of the policy that `layers` make, as far as their last one has a part in it. */
export function checkPolicy(layers: readonly Layer[], around: Around): Problem[] {
  const policy = mergeLayers(layers);
  const findings = [
    ...checkTimeouts(policy),
    ...checkBackoff(policy),
    ...checkRetries(policy),
    ...checkLimits(layers),
    ...checkShared(policy, around),
    ...checkStages(policy, layers),
    ...checkShaping(policy, layers, around.wallMs),
  ];
  return ownProblems(findings, layers);
}

function checkTimeouts({ timeout, per_try_timeout }: MergedPolicy): Finding[] {
  if (timeout === "off" || per_try_timeout === "off" || ms(per_try_timeout) <= ms(timeout)) return [];
  const message = `per_try_timeout (${per_try_timeout}) is longer than timeout (${timeout}), which ends the whole call; make it shorter, or off`;
  return [refusal([["timeout"], PER_TRY_TIMEOUT], message)];
}

function checkBackoff({ retry: { backoff } }: MergedPolicy): Finding[] {
  if (ms(backoff.base) <= ms(backoff.max)) return [];
  const keys = [
    ["retry", "backoff", "max"],
    ["retry", "backoff", "base"],
  ];
  const message = `backoff.base (${backoff.base}) is longer than backoff.max (${backoff.max}); lower base or raise max`;
  return [refusal(keys, message)];
}

function checkRetries({ retry, per_try_timeout }: MergedPolicy): Finding[] {
  if (retry.max_retries === 0) return [];
  const findings: Finding[] = [];
  if (retry.on.length === 0) {
    const message =
      "retry.on is empty, so nothing is ever sent again; name conditions, or set max_retries: 0";
    findings.push(doubt([MAX_RETRIES, RETRY_ON], message));
  }
  const harmful = retry.methods.filter((method) => REPEATS_EFFECTS.includes(method));
  if (harmful.length > 0) {
    const message = `${harmful.join(" and ")} may be sent again after the upstream acted, which repeats the effect; prefer an idempotency header (retry.idempotency_headers)`;
    findings.push(doubt([MAX_RETRIES, RETRY_METHODS], message));
  }
  if (retry.on.includes("per_try_timeout") && per_try_timeout === "off") {
    const message =
      "retry.on names per_try_timeout, which is off; state per_try_timeout, or take it out of the list";
    findings.push(doubt([MAX_RETRIES, PER_TRY_TIMEOUT, RETRY_ON], message));
  }
  return findings;
}

/** Keys of `limits` that mean nothing without another one. Where some level switched the other off, they wait for being needed. */
function checkLimits(layers: readonly Layer[]): Finding[] {
  const needs = (key: string, needed: string, example: string): Finding[] => {
    if (!isStated(layers, ["limits", key]) || isStated(layers, ["limits", needed])) return [];
    return [
      refusal(
        [["limits", key]],
        `has no effect without limits.${needed}; state one, such as ${needed}: ${example}`,
      ),
    ];
  };
  return [
    ...needs("burst", "rate", "100/s"),
    ...needs("overflow", "rate", "100/s"),
    ...needs("key_header", "rate", "100/s"),
    ...needs("fleet", "rate", "100/s"),
    ...needs("descriptors", "rate", "100/s"),
    ...needs("keys", "key_header", "x-tenant"),
    ...needs("queue", "max_concurrency", "20"),
  ];
}

/** What needs something that sandboxes share. */
function checkShared({ limits, circuit_breaker: breaker }: MergedPolicy, { fleet }: Around): Finding[] {
  if (fleet === null) return [];
  const findings: Finding[] = [];
  const store = "needs a store that sandboxes share; state fleet.store, such as redis://cache.internal:6379";
  if (limits.fleet && limits.rate !== "off" && fleet?.store === undefined)
    findings.push(refusal([["limits", "fleet"]], store));
  if (breaker !== "off" && breaker.shared && fleet?.store === undefined) {
    findings.push(refusal([["circuit_breaker", "shared"]], store));
  }
  if (limits.descriptors.length > 0 && limits.rate !== "off" && fleet?.rate_limit_service === undefined) {
    const message =
      "needs a service that judges calls by them; state fleet.rate_limit_service, such as ratelimit.internal:8081";
    findings.push(refusal([["limits", "descriptors"]], message));
  }
  return findings;
}

function ms(text: string): number {
  return parseDuration(text)!;
}
