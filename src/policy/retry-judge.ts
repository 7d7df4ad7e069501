/**
 * Whether a failed attempt is made again, and after how long. Pure; the loop that obeys is `retry.ts`.
 *
 * Order of the rules: what happened must be one of the conditions, sending again must be harmless, the request must still be
 * there to be sent, it must fit the deadline, and the budget must pay for it.
 */
import type { RetryCondition, RetryOptions } from "../config/types.ts";
import { EgressError, type ErrorCode } from "../errors.ts";
import type { FieldLines } from "../exchange.ts";
import { fieldValue } from "../http1/fields.ts";
import { grpcStatusOf } from "../http1/grpc-status.ts";
import { askedWaitMs } from "./retry-after.ts";

/** A failed attempt and all that the decision depends on. */
export interface FailedAttempt {
  /** 1 for the first. */
  readonly attempt: number;
  readonly method: string;
  /** The head of the response, or why there is none. */
  readonly outcome: { readonly status: number; readonly fields: FieldLines } | EgressError;
  /** The request's body can be sent from its first byte again. */
  readonly replayable: boolean;
  /** CONNECT or Upgrade: what the peer made of the first bytes is unknown once they left. */
  readonly switchesProtocol: boolean;
  readonly hasIdempotencyKey: boolean;
  /** The call as a whole has been told to stop. */
  readonly cancelled: boolean;
  /** Until the call's deadline, milliseconds; `Infinity` for none. */
  readonly leftMs: number;
  /** Until the request's signature is too old, milliseconds; `Infinity` for a request without one. */
  readonly signatureLeftMs: number;
  readonly budgetAllows: boolean;
  /** Milliseconds since the Unix epoch, for a reset that is a moment. */
  readonly wallMs: number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

/** Why the attempt is made again: the condition it met. */
export type RetryWhy = RetryCondition | `status_${number}` | `grpc_status_${number}` | `header_${string}`;

/** Why it is not; the order is that of the rules. */
export type StopWhy =
  | "cancelled"
  | "not_a_condition"
  | "max_retries"
  | "response_begun"
  | "switches_protocol"
  | "not_idempotent"
  | "body_not_kept"
  | "told_not_to"
  | "retry_after_too_long"
  | "deadline_too_near"
  | "signature_too_old"
  | "budget_spent";

/** The decision. */
export type Verdict =
  | { readonly kind: "stop"; readonly why: StopWhy }
  | { readonly kind: "retry"; readonly why: RetryWhy; readonly waitMs: number };

/** A longer wait that the upstream asks for is not made even by a call without a deadline, milliseconds: the caller decides better. */
export const RETRY_AFTER_MS_MAX = 300_000;

/** Which condition an error is. A silent upstream counts as a reset, as in Envoy's `reset` ("disconnect/reset/read timeout"). */
const CONDITION_OF: ReadonlyMap<ErrorCode, RetryCondition> = new Map<ErrorCode, RetryCondition>([
  ["DNS_FAILED", "connect_failure"],
  ["DNS_TIMEOUT", "connect_failure"],
  ["CONNECT_FAILED", "connect_failure"],
  ["CONNECT_TIMEOUT", "connect_failure"],
  ["TLS_FAILED", "connect_failure"],
  ["TLS_TIMEOUT", "connect_failure"],
  ["STREAM_REFUSED", "refused_stream"],
  // An injected reset is there to see what a real one would do.
  ["FAULT_INJECTED", "reset_before_response"],
  ["UPSTREAM_RESET", "reset_before_response"],
  ["UPSTREAM_TIMEOUT", "reset_before_response"],
  ["PER_TRY_TIMEOUT", "per_try_timeout"],
]);

/** Decides; see the file's header for the order of the rules. */
export function judge(options: RetryOptions, failed: FailedAttempt): Verdict {
  if (failed.cancelled) return stop("cancelled");
  const why = conditionMet(options, failed.outcome);
  if (why === null) return stop("not_a_condition");
  if (failed.attempt > options.maxRetries) return stop("max_retries");
  const harm = harmOf(options, failed);
  if (harm !== null) return stop(harm);
  if (!failed.replayable) return stop("body_not_kept");
  const asked = failed.outcome instanceof EgressError ? null : askedWaitMs(failed.outcome, failed.wallMs);
  if (asked === Number.POSITIVE_INFINITY) return stop("told_not_to");
  if (asked !== null && (asked > RETRY_AFTER_MS_MAX || asked >= failed.leftMs))
    return stop("retry_after_too_long");
  const waitMs = asked ?? backoffMs(options, failed.attempt, failed.random);
  if (waitMs >= failed.leftMs) return stop("deadline_too_near");
  if (waitMs >= failed.signatureLeftMs) return stop("signature_too_old");
  return failed.budgetAllows ? { kind: "retry", why, waitMs } : stop("budget_spent");
}

function stop(why: StopWhy): Verdict {
  return { kind: "stop", why };
}

/** The part of the options that says what a failure is. */
export type FailureConditions = Pick<RetryOptions, "on" | "statuses" | "grpcStatuses" | "responseHeaders">;

/** The condition that an outcome is, or `null` when it is none of those that `options` names. */
export function conditionMet(options: FailureConditions, outcome: FailedAttempt["outcome"]): RetryWhy | null {
  if (!(outcome instanceof EgressError)) {
    if (options.statuses.includes(outcome.status)) return `status_${outcome.status}`;
    const grpcStatus = grpcStatusOf(outcome.fields);
    if (grpcStatus !== null && options.grpcStatuses.includes(grpcStatus)) return `grpc_status_${grpcStatus}`;
    const { fields } = outcome;
    const header = options.responseHeaders.find((name) => (fieldValue(fields, name) ?? "false") !== "false");
    return header === undefined ? null : `header_${header}`;
  }
  const condition = CONDITION_OF.get(outcome.code);
  return condition !== undefined && options.on.includes(condition) ? condition : null;
}

/** Why sending again could do harm; `null` when it cannot. */
function harmOf(options: RetryOptions, failed: FailedAttempt): StopWhy | null {
  const reached = failed.outcome instanceof EgressError ? failed.outcome.reached : "sent";
  if (reached === "unsent") return null;
  if (reached === "final") return "response_begun";
  if (failed.switchesProtocol) return "switches_protocol";
  return options.methods.includes(failed.method) || failed.hasIdempotencyKey ? null : "not_idempotent";
}

/** Exponential backoff with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter"), milliseconds. */
function backoffMs(options: RetryOptions, attempt: number, random: () => number): number {
  return random() * Math.min(options.backoffMaxMs, options.backoffBaseMs * 2 ** (attempt - 1));
}
