/**
 * Where a rate limit's tokens come from: a bucket of this sandbox's own (`rate-limit-local.ts`), or what it has leased of a rate that all
 * sandboxes share (the fleet room). Either is local memory: nothing in here waits for anybody.
 */
import type { RateLimitOptions } from "../config/types.ts";
import type { EgressRequest, FieldLines } from "../exchange.ts";

/** The tokens of one limit, or of one key of it. */
export interface TokenSource {
  /** Takes one token, if there is one. `waiting`: calls that stand in line for one; 0 when the call that asks has just come. */
  take(waiting: number): boolean;
  /** Milliseconds until there will be `count` tokens, as far as can be said, if none is taken before. */
  untilMs(count: number): number;
  /** Why there are no tokens at all, as a clause for the log; "" while there are. */
  readonly unavailable: string;
}

/** The source for a key of a limit; "" where the limit has no keys. Sources that are no longer used are just dropped. */
export type TokenSourceFor = (key: string) => TokenSource;

/** What the service that judges rates says about a call. */
export interface RateVerdict {
  readonly over: boolean;
  /** Until the limit that is used up is fresh again; 0: not said. */
  readonly resetMs: number;
  /** Field lines for the request that goes on. */
  readonly requestFields: FieldLines;
  /** Field lines for the response, or for the refusal. */
  readonly responseFields: FieldLines;
}

/** An entry of a descriptor, filled in. */
export interface DescriptorEntry {
  readonly key: string;
  readonly value: string;
}

/** A service that judges rates, call by call. */
export interface RateLimitJudge {
  /** Sandboxes refuse (`closed`) or use their local limit (`open`) when it cannot be asked. */
  readonly onFailure: "open" | "closed";
  /** Asks; ends with `request.cancelled` at the latest. Rejects with an Error that says why there is no verdict. */
  ask(entries: readonly DescriptorEntry[], request: Pick<EgressRequest, "cancelled">): Promise<RateVerdict>;
}

/** What the fleet gives the rate limit of one route. */
export interface FleetRates {
  /** Tokens of a rate that holds for all sandboxes together; `null` without a store. */
  readonly tokens: ((options: RateLimitOptions) => TokenSourceFor) | null;
  /** `null` without a service. */
  readonly judge: RateLimitJudge | null;
  /** What `$destination`, `$route` and `$identity` stand for in descriptors. */
  readonly names: { readonly destination: string; readonly route: string; readonly identity: string };
}
