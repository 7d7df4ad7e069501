/**
 * The resolved options of the stages: what a route's chain is composed from. As `types.ts`, which hands them out, and of which this is a
 * part.
 */

/** The stages' options. */
export interface RoutePolicy {
  /** Whole call, all attempts and the body included; 0: only the invocation's deadline bounds it. */
  readonly timeoutMs: number;
  /** One attempt, until its response head; 0: off. */
  readonly perTryTimeoutMs: number;
  readonly dnsTimeoutMs: number;
  readonly connectTimeoutMs: number;
  readonly tlsTimeoutMs: number;
  /** Silence on either side while an exchange is open, the wait for the response head included; 0: off. */
  readonly idleTimeoutMs: number;
  /** Kept free of the invocation's time so that the handler can still answer. */
  readonly deadlineReserveMs: number;
  /** Request headers that carry the caller's own deadline: name (lower case) and how its value reads. */
  readonly deadlineHeaders: readonly {
    readonly name: string;
    readonly format: "milliseconds" | "seconds" | "grpc";
  }[];
  /** A request header that tells the upstream how many milliseconds are left; "" for none. */
  readonly deadlinePropagateHeader: string;
  readonly retry: RetryOptions;
  readonly hedge: HedgeOptions | null;
  readonly circuitBreaker: CircuitBreakerOptions | null;
  readonly adaptiveConcurrency: AdaptiveConcurrencyOptions | null;
  readonly fallback: FallbackOptions | null;
  readonly staleIfError: StaleOptions | null;
  readonly invocationBudget: InvocationBudgetOptions | null;
  readonly split: readonly SplitTarget[];
  readonly rewrite: RewriteOptions | null;
  readonly mirror: MirrorOptions | null;
  readonly fault: FaultOptions | null;
  readonly rateLimit: RateLimitOptions | null;
  readonly concurrency: ConcurrencyOptions | null;
  /** Formats written on the way out, in order; empty: none. */
  readonly propagate: readonly ("tracecontext" | "xray")[];
}

/** What is sent again, how often, and what it may cost; policy file: `retry`. */
export interface RetryOptions {
  /** Tries after the first; 0: no retry. */
  readonly maxRetries: number;
  readonly on: readonly RetryCondition[];
  /** Statuses among the conditions, each 400..599. */
  readonly statuses: readonly number[];
  /** Response headers (lower case) that are a condition when they are there and do not say `false`, such as `x-should-retry`. */
  readonly responseHeaders: readonly string[];
  /** Values of `grpc-status` among the conditions, each 1..16; they count where a response consists of nothing but its head. */
  readonly grpcStatuses: readonly number[];
  /** Methods that may be sent again after bytes left. */
  readonly methods: readonly string[];
  /** With one of these headers (lower case) any method may be sent again. */
  readonly idempotencyHeaders: readonly string[];
  readonly backoffBaseMs: number;
  readonly backoffMaxMs: number;
  /** Tokens that each success gives back; a retry costs 1. 0.2: at most a fifth more calls in the long run. */
  readonly budgetRatio: number;
  /** Retries that each invocation may make whatever the bucket says. */
  readonly budgetFloor: number;
  /** Request bytes kept for another try. A longer body streams and is not sent again. */
  readonly replayBufferBytes: number;
}

/** Conditions that are not statuses. */
export type RetryCondition =
  | "connect_failure"
  | "reset_before_response"
  | "refused_stream"
  | "per_try_timeout";

/** Token bucket per destination and route. */
export interface RateLimitOptions {
  readonly perSecond: number;
  readonly burst: number;
  /** What a call without a token does: refused with 429 and Retry-After, or waits within its deadline. */
  readonly overflow: "reject" | "wait";
  /** A bucket for each value of this request header (lower case); "": one for all. */
  readonly keyHeader: string;
  /** Buckets kept at once. Overflow: the one that was not asked for the longest is forgotten, full. */
  readonly keysMax: number;
  /** The rate holds for all sandboxes together, by shares that are leased from `fleet.store`. */
  readonly fleet: boolean;
  /** The rate is `fleet.rateLimitService`'s to judge, with these descriptor entries (`key=value`; `$header:NAME`, `$destination`, `$route`, `$identity` are filled in); this one holds while it cannot be asked. Empty: not asked. */
  readonly descriptors: readonly string[];
}

/** A second try at once when the first is slow; policy file: `hedge`. The first answer wins, the other is cancelled. */
export interface HedgeOptions {
  /** Until the second try; 0: `percentile` of the recent times to a response head. */
  readonly delayMs: number;
  /** 50 to 99.9; 0 with `delayMs`. */
  readonly percentile: number;
  /** Tries at once beyond the first. */
  readonly maxHedges: number;
  /** Methods that may be sent twice at once. */
  readonly methods: readonly string[];
  /** Hedges for each call at most, in the long run; 0.1: a tenth more calls. */
  readonly budgetRatio: number;
}

/** Stops calling an upstream that fails; policy file: `circuit_breaker`. Counts attempts, not calls. */
export interface CircuitBreakerOptions {
  /** Failures in a row that open it; 0: off. */
  readonly consecutiveFailures: number;
  /** Part of the attempts in the window that fail; 0: off. */
  readonly errorRatio: number;
  /** Attempts slower than this to their response head count as slow; 0: off. */
  readonly slowCallMs: number;
  /** Part of the attempts in the window that are slow. */
  readonly slowRatio: number;
  readonly windowMs: number;
  /** Attempts in the window before a ratio counts. */
  readonly minCalls: number;
  readonly openForMs: number;
  /** Attempts that may test the upstream at once when that time is over; as many successes close it. */
  readonly halfOpenProbes: number;
  /** Statuses that are failures besides errors of the upstream, each 400..599. */
  readonly statuses: readonly number[];
  readonly grpcStatuses: readonly number[];
  /** Held open by hand. */
  readonly isolated: boolean;
  /** Sandboxes tell one another when it opens and closes, and one of them probes (`fleet.store`). */
  readonly shared: boolean;
}

/** A concurrency limit that finds itself by the latency gradient; policy file: `limits.adaptive_concurrency`. */
export interface AdaptiveConcurrencyOptions {
  readonly min: number;
  readonly max: number;
  /** Calls that may wait for a slot. */
  readonly queueMax: number;
}

/** An answer of our own in place of a failure; policy file: `fallback`. */
export interface FallbackOptions {
  /** Errors count always; these statuses of the upstream do too, each 400..599. */
  readonly statuses: readonly number[];
  readonly status: number;
  readonly contentType: string;
  /** At most 16 KiB. */
  readonly body: string;
}

/** The last good answer in place of a failure (RFC 5861, stale-if-error); policy file: `stale_if_error`. GET only, in memory. */
export interface StaleOptions {
  /** Oldest answer that is served. */
  readonly maxAgeMs: number;
  /** All answers of the route together. Overflow: the oldest is forgotten. */
  readonly bytesMax: number;
  /** One answer; a longer one is not kept. */
  readonly bodyBytesMax: number;
}

/** What one invocation may spend on a route; policy file: `limits.per_invocation`. 0: unbounded. */
export interface InvocationBudgetOptions {
  readonly calls: number;
  /** Of requests and responses together. */
  readonly bytes: number;
}

/** Where a part of the calls goes; policy file: `split`. What is left of 100 stays where it is. */
export interface SplitTarget {
  readonly host: string;
  /** 0: the call's own. */
  readonly port: number;
  /** Percent, 0 < x <= 100. */
  readonly weight: number;
  /** What keeps a caller on its side: the trace id (`trace`), a request header's value (`header:NAME`), this sandbox (`sandbox`), or nothing (`none`). One for all targets of a route. */
  readonly sticky: string;
}

/** What is changed on the way out; policy file: `rewrite`. */
export interface RewriteOptions {
  /** A path that begins with `prefix` (segments) begins with `replacement` instead; "" and "" for none. */
  readonly pathPrefix: string;
  readonly pathReplacement: string;
  /** Set, replacing what is there. */
  readonly setHeaders: readonly { readonly name: string; readonly value: string }[];
  readonly removeHeaders: readonly string[];
  /** A header whose value is drawn once for each sandbox, by weight: feature flags. */
  readonly flags: readonly {
    readonly header: string;
    readonly values: readonly { readonly value: string; readonly weight: number }[];
  }[];
}

/** A copy of a part of the calls to another upstream, whose answers are compared and dropped; policy file: `mirror`. */
export interface MirrorOptions {
  readonly host: string;
  /** 0: the call's own. */
  readonly port: number;
  readonly percent: number;
  /** Request bodies longer than this are not mirrored, and answers are compared up to here. */
  readonly bodyBytesMax: number;
  /** Mirrored calls at once. Overflow: not mirrored. */
  readonly concurrencyMax: number;
  /** Headers that carry credentials go along. */
  readonly keepCredentials: boolean;
}

/** Faults on purpose; policy file: `fault`. Only where the environment allows it (OUTRIDER_FAULTS=on). */
export interface FaultOptions {
  readonly percent: number;
  readonly delayMs: number;
  /** Answered instead of sent; 0: not. */
  readonly abortStatus: number;
  /** Broken off instead of sent. */
  readonly reset: boolean;
  /** Fails as if the TLS handshake had. */
  readonly tlsFailure: boolean;
  /** The response's body comes no faster; 0: as it comes. */
  readonly bodyBytesPerSecond: number;
  /** The response's body breaks off behind so many bytes; -1: not. */
  readonly truncateAfterBytes: number;
  /** From then on there are no faults, epoch milliseconds. */
  readonly expiresWallMs: number;
  /** While the file at this path exists there are none either; "" for none. */
  readonly killSwitchFile: string;
}

/** Calls in flight per destination and route, counted until the last byte. */
export interface ConcurrencyOptions {
  readonly max: number;
  /** Calls that may wait for a slot; 0: refused at once. */
  readonly queueMax: number;
}
