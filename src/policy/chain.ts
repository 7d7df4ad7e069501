/**
 * The stages of a route in their one order. Composed when the configuration is loaded; a stage that is not configured is not there.
 *
 * deadline → rate limit → concurrency limit → retry → trace context → upstream
 *
 * The deadline comes first, so that every wait counts against it. Limits count calls, not attempts, and the rate comes before
 * the slot, so that no slot is held while a call waits for a token. Trace context is innermost: each attempt is a span.
 */
import type { Clock } from "../clock.ts";
import type { RoutePolicy } from "../config/types.ts";
import type { Policy } from "../exchange.ts";
import type { Lifecycle } from "../lifecycle.ts";
import { concurrencyLimit } from "./concurrency-limit.ts";
import { deadline } from "./deadline.ts";
import { RandomPool } from "./random.ts";
import { rateLimit } from "./rate-limit.ts";
import { retry } from "./retry.ts";
import { traceContext } from "./trace-context.ts";

/** What the stages are given besides their options. */
export interface PolicySurroundings {
  readonly clock: Clock;
  readonly lifecycle: Pick<Lifecycle, "phase" | "work">;
}

/** The stages that `policy` configures, outermost first, for `compose`. Each call makes stages with a state of their own. */
export function policyChain(policy: RoutePolicy, { clock, lifecycle }: PolicySurroundings): Policy[] {
  const workSequence = () => lifecycle.work?.sequence ?? 0;
  const random = new RandomPool(workSequence);
  // Always there: which invocation runs, and until when, is only known at the call.
  const policies = [deadline(policy, clock, (begunMs) => workDeadlineMs(lifecycle, begunMs))];
  if (policy.rateLimit !== null) policies.push(rateLimit(policy.rateLimit, clock));
  if (policy.concurrency !== null) policies.push(concurrencyLimit(policy.concurrency, clock));
  if (policy.retry.maxRetries > 0 || policy.perTryTimeoutMs > 0) {
    policies.push(retry(policy, clock, { random: () => random.fraction(), workSequence }));
  }
  if (policy.propagate.length > 0) {
    policies.push(traceContext(policy.propagate, random, () => lifecycle.work?.trace ?? ""));
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
