/**
 * The mappings that are off by default → the options of their stages, `null` for off.
 *
 * Pure; as `resolve.ts`, of which it is a part. What has to be stated has been: `stage-checks.ts` says so before.
 */
import type { MergedPolicy } from "./merge.ts";
import type {
  AdaptiveConcurrencyOptions,
  CircuitBreakerOptions,
  FallbackOptions,
  FaultOptions,
  HedgeOptions,
  InvocationBudgetOptions,
  MirrorOptions,
  RewriteOptions,
  SplitTarget,
  StaleOptions,
} from "./types.ts";
import {
  bytesOrOff,
  countOrOff,
  grpcStatusesOf,
  msOrOff,
  parseDuration,
  parseInstant,
  parseSize,
  statusesOf,
} from "./units.ts";

/** `hedge`. */
export function hedgeOf({ hedge }: MergedPolicy): HedgeOptions | null {
  if (hedge === "off") return null;
  const delayMs = msOrOff(hedge.delay);
  return {
    delayMs,
    percentile: delayMs > 0 ? 0 : hedge.percentile,
    maxHedges: hedge.max_hedges,
    methods: hedge.methods,
    budgetRatio: hedge.budget_ratio,
  };
}

/** `circuit_breaker`. */
export function circuitBreakerOf({ circuit_breaker: breaker }: MergedPolicy): CircuitBreakerOptions | null {
  if (breaker === "off") return null;
  return {
    consecutiveFailures: countOrOff(breaker.consecutive_failures),
    errorRatio: countOrOff(breaker.error_ratio),
    slowCallMs: msOrOff(breaker.slow_call),
    slowRatio: breaker.slow_ratio,
    windowMs: parseDuration(breaker.window)!,
    minCalls: breaker.min_calls,
    openForMs: parseDuration(breaker.open_for)!,
    halfOpenProbes: breaker.half_open_probes,
    statuses: statusesOf(breaker.on),
    grpcStatuses: grpcStatusesOf(breaker.on),
    isolated: breaker.isolated,
    shared: breaker.shared,
  };
}

/** `limits.adaptive_concurrency`. */
export function adaptiveConcurrencyOf({ limits }: MergedPolicy): AdaptiveConcurrencyOptions | null {
  const { adaptive_concurrency: adaptive } = limits;
  return adaptive === "off" ? null : { min: adaptive.min, max: adaptive.max, queueMax: adaptive.queue };
}

/** `limits.per_invocation`. */
export function invocationBudgetOf({ limits }: MergedPolicy): InvocationBudgetOptions | null {
  const { per_invocation: budget } = limits;
  return budget === "off" ? null : { calls: countOrOff(budget.calls), bytes: bytesOrOff(budget.bytes) };
}

/** `fallback`. */
export function fallbackOf({ fallback }: MergedPolicy): FallbackOptions | null {
  if (fallback === "off") return null;
  const { on, status, content_type: contentType, body } = fallback;
  return { statuses: statusesOf(on), status, contentType, body };
}

/** `stale_if_error`. */
export function staleIfErrorOf({ stale_if_error: stale }: MergedPolicy): StaleOptions | null {
  if (stale === "off") return null;
  return {
    maxAgeMs: parseDuration(stale.max_age)!,
    bytesMax: parseSize(stale.bytes)!,
    bodyBytesMax: parseSize(stale.body_bytes)!,
  };
}

/** `split`. */
export function splitOf({ split }: MergedPolicy): readonly SplitTarget[] {
  return split.map(({ host, port, weight, sticky }) => ({
    host: host.toLowerCase(),
    port: port ?? 0,
    weight,
    // Only a header's name can have capitals in it.
    sticky: (sticky ?? STICKY_DEFAULT).toLowerCase(),
  }));
}

/** `split[].sticky` where the file does not say. */
export const STICKY_DEFAULT = "trace";

/** `rewrite`. */
export function rewriteOf({ rewrite }: MergedPolicy): RewriteOptions | null {
  if (rewrite === "off") return null;
  return {
    pathPrefix: rewrite.path_prefix,
    pathReplacement: rewrite.path_replacement,
    setHeaders: rewrite.set_headers,
    removeHeaders: rewrite.remove_headers.map((name) => name.toLowerCase()),
    flags: rewrite.flags,
  };
}

/** `mirror`. */
export function mirrorOf({ mirror }: MergedPolicy): MirrorOptions | null {
  if (mirror === "off") return null;
  return {
    host: mirror.host.toLowerCase(),
    port: mirror.port,
    percent: mirror.percent,
    bodyBytesMax: parseSize(mirror.body_bytes)!,
    concurrencyMax: mirror.concurrency,
    keepCredentials: mirror.keep_credentials,
  };
}

/** `fault`. */
export function faultOf({ fault }: MergedPolicy): FaultOptions | null {
  if (fault === "off") return null;
  return {
    percent: fault.percent,
    delayMs: msOrOff(fault.delay),
    abortStatus: countOrOff(fault.abort),
    reset: fault.reset,
    tlsFailure: fault.tls_failure,
    bodyBytesPerSecond: bytesOrOff(fault.body_rate),
    truncateAfterBytes: fault.truncate_after === "off" ? -1 : parseSize(fault.truncate_after)!,
    expiresWallMs: parseInstant(fault.expires)!,
    killSwitchFile: fault.kill_switch === "off" ? "" : fault.kill_switch.slice("file:".length),
  };
}
