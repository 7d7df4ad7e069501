/** What the tests of the policies call with: requests, answers, and an upstream that follows a script in virtual time. */
import { Body } from "../../src/body.ts";
import type { Clock } from "../../src/clock.ts";
import type { RetryOptions, RoutePolicy } from "../../src/config/types.ts";
import { EgressError, type ErrorCode, type Reached } from "../../src/errors.ts";
import {
  EgressRequest,
  EgressResponse,
  type FieldLines,
  type RequestParts,
  type Send,
  type TrailEntry,
} from "../../src/exchange.ts";

/** A GET of https://api.example/, changed by `parts`. */
export function call(parts: Partial<RequestParts> = {}): EgressRequest {
  return new EgressRequest({
    method: "GET",
    scheme: "https",
    host: "api.example",
    port: 443,
    path: "/",
    fields: "",
    ...parts,
  });
}

/** An answer with a short body. */
export function answer(status = 200, fields: FieldLines = "", body: Body = Body.of("")): EgressResponse {
  return new EgressResponse(status, "", fields, body);
}

/** An error of the path; `reached` other than its code says. */
export function failure(code: ErrorCode, reached?: Reached): EgressError {
  const error = new EgressError(code, `scripted ${code}`);
  if (reached !== undefined) error.reached = reached;
  return error;
}

/** What an attempt meets: an outcome, at once or after a while; `silence` never answers. */
export type Step =
  | EgressResponse
  | EgressError
  | { afterMs: number; outcome: EgressResponse | EgressError }
  | "silence";

/** An upstream that takes a step for each attempt, the last one for all further ones, and gives up an attempt that is cancelled. */
export class ScriptedUpstream {
  readonly requests: EgressRequest[] = [];
  readonly startedMs: number[] = [];
  readonly #clock: Clock;
  readonly #steps: readonly Step[];

  constructor(clock: Clock, ...steps: Step[]) {
    this.#clock = clock;
    this.#steps = steps;
  }

  readonly send: Send = (request) => {
    const step = this.#steps[Math.min(this.requests.length, this.#steps.length - 1)]!;
    this.requests.push(request);
    this.startedMs.push(this.#clock.now());
    return new Promise((resolve, reject) => {
      const finish = (outcome: EgressResponse | EgressError) =>
        outcome instanceof EgressError ? reject(outcome) : resolve(outcome);
      if (request.cancelled.value !== undefined) return reject(request.cancelled.value);
      request.cancelled.on(reject);
      if (step === "silence") return;
      if ("afterMs" in step) this.#clock.after(step.afterMs, () => finish(step.outcome));
      else finish(step);
    });
  };
}

/** The retry options of the tests: two retries on everything, 100 ms of backoff at most. */
export function retryOptions(changes: Partial<RetryOptions> = {}): RetryOptions {
  return {
    maxRetries: 2,
    on: ["connect_failure", "reset_before_response", "per_try_timeout"],
    grpcStatuses: [],
    responseHeaders: [],
    statuses: [429, 503],
    methods: ["GET", "PUT"],
    idempotencyHeaders: ["idempotency-key"],
    backoffBaseMs: 100,
    backoffMaxMs: 1000,
    budgetRatio: 0.2,
    budgetFloor: 1,
    replayBufferBytes: 65_536,
    ...changes,
  };
}

/** A route's policy in which no stage is configured, changed by `changes`. */
export function routePolicy(changes: Partial<RoutePolicy> = {}): RoutePolicy {
  return {
    timeoutMs: 0,
    perTryTimeoutMs: 0,
    dnsTimeoutMs: 2000,
    connectTimeoutMs: 2000,
    tlsTimeoutMs: 5000,
    idleTimeoutMs: 60_000,
    deadlineReserveMs: 0,
    deadlineHeaders: [],
    deadlinePropagateHeader: "",
    hedge: null,
    circuitBreaker: null,
    adaptiveConcurrency: null,
    fallback: null,
    staleIfError: null,
    invocationBudget: null,
    split: [],
    rewrite: null,
    mirror: null,
    fault: null,
    retry: retryOptions({ maxRetries: 0 }),
    rateLimit: null,
    concurrency: null,
    propagate: [],
    ...changes,
  };
}

/** The trail without the entries of attempts, which are the upstream's. */
export function trailOf(request: EgressRequest): TrailEntry[] {
  return request.trail.filter(({ kind }) => kind !== "attempt");
}

/** Ends a call as the listener does after the last byte. */
export function settle(request: EgressRequest): void {
  request.settled.fire({ error: null });
}

/** What a promise has come to so far: its value, its error, or `pending`. */
export function watch<T>(promise: Promise<T>): {
  value: T | undefined;
  error: EgressError | undefined;
  pending: boolean;
} {
  const seen = {
    value: undefined as T | undefined,
    error: undefined as EgressError | undefined,
    pending: true,
  };
  promise.then(
    (value) => Object.assign(seen, { value, pending: false }),
    (error) => Object.assign(seen, { error, pending: false }),
  );
  return seen;
}

/** Numbers in [0, 1) that are the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The part of a rate limit that makes it one bucket of this sandbox's own. */
export const ONE_BUCKET = { keyHeader: "", keysMax: 1000, fleet: false, descriptors: [] } as const;
