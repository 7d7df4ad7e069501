/**
 * Sends a failed call again where the policy allows it, and bounds each attempt's time to its response head.
 *
 * Owns the loop only. The decision is `judge` (retry-judge.ts), its price `RetryBudget` (retry-budget.ts), the body's second
 * reading `ReplayBody` (replay.ts). A response that has been handed on is out of this stage's hands.
 */
import type { Clock } from "../clock.ts";
import type { RetryOptions, RoutePolicy } from "../config/types.ts";
import { asEgressError, EgressError } from "../errors.ts";
import { type EgressRequest, EgressResponse, type Policy, type Send } from "../exchange.ts";
import { fieldValue } from "../http1/fields.ts";
import type { Latch } from "../latch.ts";
import { Attempt, PerTryTimeout } from "./attempt.ts";
import { discard, superseded } from "./discard.ts";
import { ReplayBody } from "./replay.ts";
import { budgetAllows, newRetryBudget, refillFloor, rewardSuccess, spendRetry } from "./retry-budget.ts";
import { conditionMet, type FailedAttempt, judge } from "./retry-judge.ts";
import { signatureEndsMs } from "./signature.ts";

/** What an attempt came to. */
type Outcome = EgressResponse | EgressError;

/** What this stage reads of a route's policy. */
export type RetryStageOptions = Pick<RoutePolicy, "retry" | "perTryTimeoutMs">;

/** What this stage is given besides its options and the clock. */
export interface RetrySurroundings {
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Ordinal of the running invocation, 0 for none; each has its own floor of retries. */
  readonly workSequence: () => number;
}

/** The stage. Its budget is shared by all calls of the route that it is composed into. */
export function retry(options: RetryStageOptions, clock: Clock, surroundings: RetrySurroundings): Policy {
  const { retry: rules, perTryTimeoutMs } = options;
  const budget = newRetryBudget(rules.budgetFloor);
  const timeout = perTryTimeoutMs > 0 ? new PerTryTimeout(perTryTimeoutMs, clock) : null;

  const wentWell = (outcome: Outcome): outcome is EgressResponse => {
    if (outcome instanceof EgressError || conditionMet(rules, outcome) !== null) return false;
    rewardSuccess(budget, rules.budgetRatio);
    return true;
  };

  /** All that follows the failure of the first attempt. */
  const goOn = async (
    next: Send,
    request: EgressRequest,
    replay: ReplayBody | null,
    first: Attempt,
    failure: Outcome,
  ) => {
    let attempt = first;
    let outcome = failure;
    for (let number = 1; ; number++) {
      refillFloor(budget, rules.budgetFloor, surroundings.workSequence());
      const verdict = judge(rules, {
        ...failedAttempt(request, rules, number, outcome, clock),
        replayable: replay === null || replay.replayable,
        budgetAllows: budgetAllows(budget),
        random: surroundings.random,
      });
      const { why } = verdict;
      const failed = attempt.request.attempt;
      if (verdict.kind === "stop") {
        if (rules.maxRetries > 0) request.trail.push({ kind: "no_retry", attempt: failed, why });
        return handOn(outcome);
      }
      spendRetry(budget);
      request.trail.push({ kind: "retry", attempt: failed, why, waitMs: verdict.waitMs });
      attempt.unlink();
      await giveUp(outcome, replay, () => pause(clock, verdict.waitMs, request.cancelled));
      if (replay !== null && replay.failure !== null) return endWith(request, failed, outcome, replay);
      if (clock.now() >= request.deadlineMs) throw tooLate(request, failed);
      const body = replay?.attempt() ?? request.body;
      attempt = new Attempt(request, number + 1 + hedgesOf(request), body, timeout);
      outcome = await next(attempt.request).catch(asEgressError);
      attempt.headArrived();
      if (wentWell(outcome)) return outcome;
    }
  };

  // Nearly every call goes well at once, and then this is all: the loop is an async function, which costs more than the rest.
  return (next) => (request) => {
    const replay = replayOf(request, rules);
    const attempt = new Attempt(request, 1, replay?.attempt() ?? request.body, timeout);
    const ended = (result: unknown) => {
      const outcome = result instanceof EgressResponse ? result : asEgressError(result);
      attempt.headArrived();
      if (!wentWell(outcome))
        return goOn(next, request, replay, attempt, outcome).finally(() => replay?.release());
      replay?.release();
      return outcome;
    };
    return next(attempt.request).then(ended, ended);
  };
}

/** A body that is all here can be sent as often as one likes; a stage that only bounds attempts sends it once. */
function replayOf(request: EgressRequest, rules: RetryOptions): ReplayBody | null {
  if (request.body.whole !== null || rules.maxRetries === 0) return null;
  return new ReplayBody(request.body, rules.replayBufferBytes);
}

/** The copies that a hedge has sent so far are attempts too, so that each has a number of its own. */
function hedgesOf({ trail }: EgressRequest): number {
  return trail.reduce((hedges, { kind }) => (kind === "hedge" ? hedges + 1 : hedges), 0);
}

function failedAttempt(
  request: EgressRequest,
  rules: RetryOptions,
  attempt: number,
  outcome: Outcome,
  clock: Clock,
): Omit<FailedAttempt, "replayable" | "budgetAllows" | "random"> {
  const { method, fields, path } = request;
  const wallMs = clock.wall();
  return {
    attempt,
    method,
    outcome,
    switchesProtocol: method === "CONNECT" || request.upgrade !== "",
    hasIdempotencyKey: rules.idempotencyHeaders.some((name) => fieldValue(fields, name) !== undefined),
    cancelled: request.cancelled.value !== undefined,
    leftMs: request.deadlineMs - clock.now(),
    signatureLeftMs: signatureEndsMs(fields, path, wallMs) - wallMs,
    wallMs,
  };
}

function handOn(outcome: Outcome): EgressResponse {
  if (outcome instanceof EgressError) throw outcome;
  return outcome;
}

/** The request's body has broken off between two attempts, or can be sent by none: the call ends with the outcome that is left. */
function endWith(
  request: EgressRequest,
  attempt: number,
  outcome: Outcome,
  { outgrown, failure }: ReplayBody,
): EgressResponse {
  if (!outgrown) throw failure;
  request.trail.push({ kind: "no_retry", attempt, why: "body_not_kept" });
  if (outcome instanceof EgressError || outcome.body.whole !== null) return handOn(outcome);
  throw failure;
}

/** A sandbox that was frozen in the wait wakes behind the deadline, and its timers fire in the order in which they were due. */
function tooLate({ host, port }: EgressRequest, attempt: number): EgressError {
  return new EgressError(
    "DEADLINE_EXCEEDED",
    `${host}:${port}: the wait after attempt ${attempt} ended behind the deadline`,
  );
}

/** Frees what the failed attempt holds while `wait` runs, so that its connection is back before the next attempt needs one. */
async function giveUp(outcome: Outcome, replay: ReplayBody | null, wait: () => Promise<void>): Promise<void> {
  if (outcome instanceof EgressError) {
    replay?.abandon(outcome);
    return wait();
  }
  const reason = superseded(`response ${outcome.status} given up for another attempt`);
  replay?.abandon(reason);
  const cutOff = discard(outcome, reason);
  try {
    await wait();
  } finally {
    cutOff();
  }
}

/** Resolves after `ms`; rejects with the reason as soon as the call is cancelled. */
function pause(clock: Clock, ms: number, cancelled: Latch<EgressError>): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (reason: EgressError) => {
      timer.cancel();
      reject(reason);
    };
    const timer = clock.after(ms, () => {
      cancelled.off(stop);
      resolve();
    });
    cancelled.on(stop);
  });
}
