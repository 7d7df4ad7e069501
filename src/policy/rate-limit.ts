/**
 * Spares a destination: at most so many calls a second. A call without a token is refused, or waits for its turn when it can have it
 * before its deadline.
 *
 * Owns the queue and its one timer; the arithmetic is in token-bucket.ts. A call counts once, whatever attempts it takes.
 */
import type { Clock } from "../clock.ts";
import type { RateLimitOptions } from "../config/types.ts";
import { EgressError } from "../errors.ts";
import type { EgressRequest, Policy } from "../exchange.ts";
import { newTokenBucket, takeToken, untilTokensMs } from "./token-bucket.ts";
import { WaitQueue } from "./wait-queue.ts";

/** Calls that may wait for a token, per route. Overflow: refused like a call that would wait past its deadline. */
const QUEUE_MAX = 1000;

/** How late a timer may fire without slowing the flow, seconds. */
const TIMER_LATE_S_MAX = 0.01;

const STAGE = "rate limit";

/** The stage. One bucket for all calls of the route that it is composed into. */
export function rateLimit(options: RateLimitOptions, clock: Clock): Policy {
  const bucket = newTokenBucket(options, clock);
  const queue = new WaitQueue(QUEUE_MAX);
  const quota = quotaField(options);
  // While calls wait, a token that flowed in before a late timer fired is not lost for want of room.
  const whileWaiting = {
    ...options,
    burst: options.burst + Math.max(1, options.perSecond * TIMER_LATE_S_MAX),
  };
  let armed = false;

  function arm(): void {
    if (armed) return;
    armed = true;
    // At least a millisecond: a token that is almost there must not be asked for in a loop.
    clock.after(Math.max(1, Math.ceil(untilTokensMs(bucket, whileWaiting, 1, clock))), () => {
      armed = false;
      while (queue.length > 0 && takeToken(bucket, whileWaiting, clock)) queue.admitNext();
      if (queue.length > 0) arm();
    });
  }

  function refuse(request: EgressRequest, waitMs: number): Promise<never> {
    request.trail.push({ kind: "limited", stage: STAGE, limit: options.perSecond });
    const error = new EgressError(
      "RATE_LIMITED",
      `${options.perSecond}/s (burst ${options.burst}) used up, a token for this call in ${Math.ceil(waitMs)} ms`,
    );
    error.replyFields = limitFields(quota, waitMs);
    return Promise.reject(error);
  }

  return (next) => (request) => {
    if (queue.length === 0 && takeToken(bucket, options, clock)) return next(request);
    const waitMs = untilTokensMs(bucket, whileWaiting, queue.length + 1, clock);
    const fits = waitMs < request.deadlineMs - clock.now();
    if (options.overflow === "reject" || queue.full || !fits) return refuse(request, waitMs);
    const turn = queue.turn(request, STAGE, clock);
    arm();
    return turn.then(() => next(request));
  };
}

/** RateLimit-Policy of draft-ietf-httpapi-ratelimit-headers-11: the quota and the seconds in which a spent one is full again. */
function quotaField(options: RateLimitOptions): string {
  const windowSeconds = Math.max(1, Math.ceil(options.burst / options.perSecond));
  return `RateLimit-Policy: "outrider";q=${Math.floor(options.burst)};w=${windowSeconds}\r\n`;
}

/** The fields of a refusal: Retry-After (RFC 9110 §10.2.3) and the draft's RateLimit, both in whole seconds. */
function limitFields(quota: string, waitMs: number): string {
  const seconds = Math.max(1, Math.ceil(waitMs / 1000));
  return `Retry-After: ${seconds}\r\n${quota}RateLimit: "outrider";r=0;t=${seconds}\r\n`;
}
