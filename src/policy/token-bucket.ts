/**
 * A token bucket as plain state: `perSecond` tokens flow in, `burst` is what it holds. Pure steps; time is handed in.
 *
 * It needs no timer. Time is the monotonic clock's, except across a freeze, in which that clock may stand still: when the wall clock
 * has gone further by more than `FREEZE_MS_MIN`, its step counts. A wall clock that jumps back changes nothing, and one that jumps
 * ahead fills the bucket at most once.
 */
import type { Clock } from "../clock.ts";
import type { RateLimitOptions } from "../config/types.ts";

/** Differences below this are the clocks' different grain; counted at every call they would add up to a faster flow. */
const FREEZE_MS_MIN = 1000;

/** The state. */
export interface TokenBucket {
  /** 0..burst, with fractions. */
  tokens: number;
  /** Readings of both clocks when `tokens` was right. */
  nowMs: number;
  wallMs: number;
}

/** What the steps read of the options. */
export type Flow = Pick<RateLimitOptions, "perSecond" | "burst">;

/** A full bucket. */
export function newTokenBucket(flow: Flow, clock: Clock): TokenBucket {
  return { tokens: flow.burst, nowMs: clock.now(), wallMs: clock.wall() };
}

/** Takes one token, if there is one. */
export function takeToken(bucket: TokenBucket, flow: Flow, clock: Clock): boolean {
  refill(bucket, flow, clock);
  if (bucket.tokens < 1) return false;
  bucket.tokens -= 1;
  return true;
}

/** Milliseconds until there will be `count` tokens, if none is taken before. */
export function untilTokensMs(bucket: TokenBucket, flow: Flow, count: number, clock: Clock): number {
  refill(bucket, flow, clock);
  return Math.max(0, ((count - bucket.tokens) / flow.perSecond) * 1000);
}

function refill(bucket: TokenBucket, flow: Flow, clock: Clock): void {
  const nowMs = clock.now();
  const wallMs = clock.wall();
  const monotonicMs = Math.max(0, nowMs - bucket.nowMs);
  const elapsedMs =
    wallMs - bucket.wallMs - monotonicMs > FREEZE_MS_MIN ? wallMs - bucket.wallMs : monotonicMs;
  bucket.tokens = Math.min(flow.burst, bucket.tokens + (elapsedMs * flow.perSecond) / 1000);
  bucket.nowMs = nowMs;
  bucket.wallMs = wallMs;
}
