/** The tokens of a limit that is this sandbox's own: a bucket for each key, made full. */
import type { Clock } from "../clock.ts";
import type { RateLimitOptions } from "../config/types.ts";
import type { TokenSource, TokenSourceFor } from "./rate-source.ts";
import { type Flow, newTokenBucket, type TokenBucket, takeToken, untilTokensMs } from "./token-bucket.ts";

/** How late a timer may fire without slowing the flow, seconds. */
const TIMER_LATE_S_MAX = 0.01;

/** Buckets by `options`. */
export function localTokens(options: RateLimitOptions, clock: Clock): TokenSourceFor {
  // While calls wait, a token that flowed in before a late timer fired is not lost for want of room.
  const whileWaiting = {
    perSecond: options.perSecond,
    burst: options.burst + Math.max(1, options.perSecond * TIMER_LATE_S_MAX),
  };
  return () => new LocalTokens(options, whileWaiting, clock);
}

class LocalTokens implements TokenSource {
  readonly unavailable = "";
  readonly #flow: Flow;
  readonly #whileWaiting: Flow;
  readonly #clock: Clock;
  readonly #bucket: TokenBucket;

  constructor(flow: Flow, whileWaiting: Flow, clock: Clock) {
    this.#flow = flow;
    this.#whileWaiting = whileWaiting;
    this.#clock = clock;
    this.#bucket = newTokenBucket(flow, clock);
  }

  take(waiting: number): boolean {
    return takeToken(this.#bucket, waiting > 0 ? this.#whileWaiting : this.#flow, this.#clock);
  }

  untilMs(count: number): number {
    return untilTokensMs(this.#bucket, this.#whileWaiting, count, this.#clock);
  }
}
