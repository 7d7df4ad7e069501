/**
 * A merged policy → the options of the stages: notations turned into numbers, header names into lower case.
 *
 * Pure; as `resolve.ts`, of which it is a part.
 */
import type { MergedPolicy } from "./merge.ts";
import {
  adaptiveConcurrencyOf,
  circuitBreakerOf,
  fallbackOf,
  faultOf,
  hedgeOf,
  invocationBudgetOf,
  mirrorOf,
  rewriteOf,
  splitOf,
  staleIfErrorOf,
} from "./resolve-stages.ts";
import type { RateLimitOptions, RetryCondition, RoutePolicy } from "./types.ts";
import {
  grpcStatusesOf,
  headerNamed,
  headerOrOff,
  msOrOff,
  parseDuration,
  parseRate,
  parseSize,
  RETRY_CONDITIONS,
  statusesOf,
} from "./units.ts";

/** A merged policy in numbers. */
export function policyOf(merged: MergedPolicy): RoutePolicy {
  const { retry, limits } = merged;
  return {
    timeoutMs: msOrOff(merged.timeout),
    perTryTimeoutMs: msOrOff(merged.per_try_timeout),
    dnsTimeoutMs: parseDuration(merged.dns_timeout)!,
    connectTimeoutMs: parseDuration(merged.connect_timeout)!,
    tlsTimeoutMs: parseDuration(merged.tls_timeout)!,
    idleTimeoutMs: msOrOff(merged.idle_timeout),
    deadlineReserveMs: parseDuration(merged.deadline_reserve)!,
    deadlineHeaders: merged.deadline_headers.map(({ name, format }) => ({
      name: name.toLowerCase(),
      format,
    })),
    deadlinePropagateHeader: headerOrOff(merged.deadline_header),
    hedge: hedgeOf(merged),
    circuitBreaker: circuitBreakerOf(merged),
    adaptiveConcurrency: adaptiveConcurrencyOf(merged),
    fallback: fallbackOf(merged),
    staleIfError: staleIfErrorOf(merged),
    invocationBudget: invocationBudgetOf(merged),
    split: splitOf(merged),
    rewrite: rewriteOf(merged),
    mirror: mirrorOf(merged),
    fault: faultOf(merged),
    retry: {
      maxRetries: retry.max_retries,
      on: retry.on.filter(isCondition),
      statuses: statusesOf(retry.on),
      responseHeaders: [...new Set(retry.on.flatMap((entry) => headerNamed(entry) ?? []))],
      grpcStatuses: grpcStatusesOf(retry.on),
      methods: retry.methods,
      idempotencyHeaders: retry.idempotency_headers.map((name) => name.toLowerCase()),
      backoffBaseMs: parseDuration(retry.backoff.base)!,
      backoffMaxMs: parseDuration(retry.backoff.max)!,
      budgetRatio: retry.budget.ratio,
      budgetFloor: retry.budget.floor,
      replayBufferBytes: parseSize(retry.replay_buffer)!,
    },
    rateLimit: rateLimitOf(limits),
    concurrency:
      limits.max_concurrency === "off" ? null : { max: limits.max_concurrency, queueMax: limits.queue },
    propagate: merged.propagate,
  };
}

function rateLimitOf(limits: MergedPolicy["limits"]): RateLimitOptions | null {
  const { rate, burst, overflow, key_header, keys, fleet, descriptors } = limits;
  if (rate === "off") return null;
  const perSecond = parseRate(rate)!;
  return {
    perSecond,
    burst: burst ?? Math.max(1, Math.ceil(perSecond)),
    overflow,
    keyHeader: headerOrOff(key_header),
    keysMax: keys,
    fleet,
    descriptors,
  };
}

function isCondition(entry: number | string): entry is RetryCondition {
  return RETRY_CONDITIONS.some((condition) => condition === entry);
}
