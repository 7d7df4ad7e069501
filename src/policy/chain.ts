/**
 * The stages of a route in their one order. Composed when the configuration is loaded; a stage that is not configured is not there.
 *
 * deadline → fallback, stale → rate limit → invocation budget → concurrency limits → split                    for each call
 *   → retry → hedge → endpoints → circuit breaker → rewrite → mirror → deadline header → trace context → fault   for each attempt
 *
 * The deadline comes first, so that every wait counts against it; what answers in place of a failure comes next, so that it covers
 * refusals too. Limits count calls, not attempts, and the rate comes before the slot, so that no slot is held while a call waits for a
 * token. The breaker is inside the choice of an endpoint, so that each has its own. Trace context is nearly innermost: each attempt is
 * a span. Faults are innermost: they are what the upstream would do.
 */
import type { Clock } from "../clock.ts";
import type { RoutePolicy } from "../config/types.ts";
import type { Policy } from "../exchange.ts";
import type { Lifecycle } from "../lifecycle.ts";
import { adaptiveConcurrency } from "./adaptive-concurrency.ts";
import type { BreakerStore } from "./breaker-store.ts";
import { circuitBreaker } from "./circuit-breaker.ts";
import { concurrencyLimit } from "./concurrency-limit.ts";
import { deadline } from "./deadline.ts";
import { deadlineHeader } from "./deadline-header.ts";
import { type EndpointSet, endpoints } from "./endpoints.ts";
import { fallback } from "./fallback.ts";
import { fault } from "./fault.ts";
import { hedge } from "./hedge.ts";
import { invocationBudget } from "./invocation-budget.ts";
import { mirror } from "./mirror.ts";
import { RandomPool, type RandomSource } from "./random.ts";
import { rateLimitStage } from "./rate-limit-stage.ts";
import type { FleetRates } from "./rate-source.ts";
import { retry } from "./retry.ts";
import { rewrite } from "./rewrite.ts";
import { sandboxDrawOf } from "./sandbox-draw.ts";
import { split } from "./split.ts";
import { staleIfError } from "./stale-if-error.ts";
import { traceContext } from "./trace-context.ts";

/** What the stages are given besides their options. */
export interface PolicySurroundings {
  readonly clock: Clock;
  readonly lifecycle: Pick<Lifecycle, "phase" | "work">;
  /** Breakers that sandboxes share, and the name of the route in their keys; without it each sandbox judges for itself. */
  readonly breakers?: { readonly store: BreakerStore; readonly scope: string };
  /** The places where the destination's calls are dialled, shared by its routes; without it there is one. */
  readonly endpoints?: EndpointSet | null;
  /** What the fleet gives the route's rate limit; without it the limit is this sandbox's own. */
  readonly rates?: FleetRates;
  /** The environment allows faults (fault-permission.ts); not unless the host says so. */
  readonly faultsAllowed?: boolean;
  /** What is drawn from; the operating system's generator unless given, by a simulation that a seed repeats. */
  readonly random?: RandomSource;
}

/** The stages that `policy` configures, outermost first, for `compose`. Each call makes stages with a state of their own. */
export function policyChain(policy: RoutePolicy, surroundings: PolicySurroundings): Policy[] {
  const { clock, lifecycle } = surroundings;
  const workSequence = () => lifecycle.work?.sequence ?? 0;
  const random = surroundings.random ?? new RandomPool(workSequence);
  // Always there: which invocation runs, and until when, is only known at the call.
  const policies = [deadline(policy, clock, (begunMs) => workDeadlineMs(lifecycle, begunMs))];
  if (policy.fallback !== null) policies.push(fallback(policy.fallback));
  if (policy.staleIfError !== null) policies.push(staleIfError(policy.staleIfError, clock));
  if (policy.rateLimit !== null) policies.push(rateLimitStage(policy.rateLimit, clock, surroundings.rates));
  if (policy.invocationBudget !== null) {
    policies.push(invocationBudget(policy.invocationBudget, clock, () => lifecycle.work));
  }
  if (policy.concurrency !== null) policies.push(concurrencyLimit(policy.concurrency, clock));
  if (policy.adaptiveConcurrency !== null) {
    policies.push(adaptiveConcurrency(policy.adaptiveConcurrency, clock));
  }
  if (policy.split.length > 0) {
    const sandbox = sandboxDrawOf(lifecycle, random);
    const workTrace = () => lifecycle.work?.trace ?? "";
    policies.push(split(policy.split, { random: () => random.fraction(), sandbox, workTrace }));
  }
  if (policy.retry.maxRetries > 0 || policy.perTryTimeoutMs > 0) {
    policies.push(retry(policy, clock, { random: () => random.fraction(), workSequence }));
  }
  if (policy.hedge !== null) policies.push(hedge({ hedge: policy.hedge, retry: policy.retry }, clock));
  const set = surroundings.endpoints ?? null;
  if (set !== null) policies.push(endpoints(set, clock, () => random.fraction()));
  if (policy.circuitBreaker !== null) {
    policies.push(circuitBreaker(policy.circuitBreaker, clock, surroundings.breakers));
  }
  if (policy.rewrite !== null) {
    policies.push(rewrite(policy.rewrite, sandboxDrawOf(lifecycle, random)));
  }
  // Inside the rewrite: a header that it sets may be a credential, which a mirror is not to see.
  if (policy.mirror !== null) {
    const workTrace = () => lifecycle.work?.trace ?? "";
    policies.push(mirror(policy.mirror, clock, { random: () => random.fraction(), workTrace }));
  }
  if (policy.deadlinePropagateHeader !== "") {
    policies.push(deadlineHeader(policy.deadlinePropagateHeader, clock));
  }
  if (policy.propagate.length > 0) {
    policies.push(traceContext(policy.propagate, random, () => lifecycle.work?.trace ?? ""));
  }
  if (policy.fault !== null && (surroundings.faultsAllowed ?? false)) {
    policies.push(fault(policy.fault, clock, { random: () => random.fraction(), workSequence }));
  }
  return policies;
}

/**
 * The deadline of the running invocation for a call that began at `begunMs`. After a thaw the function's first call may be here
 * before word of its invocation is; an invocation that was over or past its deadline by then does not bound that call.
 */
function workDeadlineMs({ phase, work }: Pick<Lifecycle, "phase" | "work">, begunMs: number): number {
  if (phase !== "busy" || work === null || work.deadlineMs <= begunMs) return Number.POSITIVE_INFINITY;
  return work.deadlineMs;
}
