/**
 * The canonical record of one call, which is also its line.
 *
 * Owns the shape and the names of the fields. One call gives one record, made only when its line is kept; it holds no part of
 * any header field or body. What a field may contain is bounded by `field.ts` and stripped of secrets by `redact.ts`.
 */
import { type EgressError, ERROR_CODES } from "../errors.ts";
import type { EgressRequest } from "../exchange.ts";
import { fieldValue } from "../http1/fields.ts";
import type { CallFacts } from "./facts.ts";
import { detached, field } from "./field.ts";
import { rounded, timestamp, withoutUserinfo } from "./record-values.ts";
import { redactTarget, redactText } from "./redact.ts";
import { type StageFields, stageFields } from "./stage-facts.ts";

/** How loud a line is. warn: the call failed; error: the proxy itself did (`INTERNAL`). */
export type LineLevel = "info" | "warn" | "error";

/**
 * See the file's header. The names are the line's, stable across releases: dashboards and queries are written against them.
 * A field that is `undefined` is not in the line. Durations are milliseconds with three decimals.
 */
export interface CallRecord {
  /** When the last byte passed: RFC 3339 in UTC. */
  readonly time: string;
  readonly event: "call";
  /** `EgressRequest.id`: also in the body of a refusal, so that what a developer saw can be found here. */
  readonly call_id: string | undefined;
  /** The platform's id of the invocation in which the call began. */
  readonly invocation_id: string | undefined;
  readonly destination: string;
  /** The path prefix of the matched route; absent when none matched. */
  readonly route: string | undefined;
  readonly method: string;
  readonly scheme: string;
  readonly host: string;
  readonly port: number;
  /** The target as the application sent it, secrets redacted. */
  readonly path: string;
  /** What the application speaks. Absent for CONNECT, whose bytes need not be HTTP. */
  readonly http_version: "1.1" | "2" | undefined;
  /** What the application got; 0 when it got no response. */
  readonly status: number;
  /** The outcome of a gRPC call, 0 (OK) to 16 (gRPC, "Status codes and their use in gRPC"). */
  readonly grpc_status: number | undefined;
  /** A key of `ERROR_CODES`. */
  readonly error: string | undefined;
  /** Who is to blame for `error`: client, proxy or upstream. */
  readonly blame: string | undefined;
  /** What `error` says for the operator; may name addresses. */
  readonly error_detail: string | undefined;
  /** Code or name of what Node reported, for instance `ECONNREFUSED`. */
  readonly error_cause: string | undefined;
  /** Only for `INTERNAL`, which is a defect of the proxy. */
  readonly error_stack: string | undefined;
  readonly attempts: number;
  /** Attempts that the retry policy made. */
  readonly retries: number;
  /** A dead idle connection was replaced at no cost to the retry budget. */
  readonly replayed: boolean;
  /** Whether the last attempt's connection had served another request before. */
  readonly reused: boolean;
  /** The last address that was dialled. */
  readonly address: string | undefined;
  /** Body bytes towards the upstream; through a tunnel, all bytes. */
  readonly bytes_up: number;
  /** Body bytes towards the application; through a tunnel, all bytes. */
  readonly bytes_down: number;
  readonly total_ms: number;
  /** Waiting for a token or a slot. */
  readonly queue_ms: number;
  /**
   * All attempts together. Absent when no attempt did it, so that an average over lines is one over lookups; so are the next
   * two.
   */
  readonly dns_ms: number | undefined;
  readonly connect_ms: number | undefined;
  readonly tls_ms: number | undefined;
  /** From the request's start to the response's first byte. */
  readonly first_byte_ms: number | undefined;
  /** 32 hex digits (W3C Trace Context) or the Root of an `X-Amzn-Trace-Id`. */
  readonly trace_id: string | undefined;
  /** "would_deny" or "denied" when the access rules had something against the call. */
  readonly acl: string | undefined;
  /** The rule that said so. */
  readonly acl_rule: string | undefined;
  /** What the stages of the policy did to the call; absent when nothing. */
  readonly stages: StageFields | undefined;
  /** `Config.version` of the policy that judged the call. */
  readonly policy_version: string;
}

/** Where a call belongs, and the reading that only its observer has. */
export interface CallContext {
  /** "" when there has been no invocation yet. */
  readonly invocationId: string;
  readonly destination: string;
  /** "" when no route matched. */
  readonly route: string;
  readonly policyVersion: string;
  /** `Clock.wall()` when the call ended. */
  readonly wallMs: number;
}

/** The record of a call that is over. */
export function recordOf(request: EgressRequest, facts: CallFacts, context: CallContext): CallRecord {
  const error = facts.error;
  return {
    time: timestamp(context.wallMs),
    event: "call",
    call_id: request.id || undefined,
    invocation_id: context.invocationId === "" ? undefined : field(context.invocationId),
    destination: field(context.destination),
    route: context.route === "" ? undefined : field(context.route),
    method: field(request.method),
    scheme: request.scheme,
    host: detached(field(withoutUserinfo(request.host))),
    port: request.port,
    path: detached(field(redactTarget(request.path))),
    http_version: request.method === "CONNECT" ? undefined : request.httpVersion === 2 ? "2" : "1.1",
    status: facts.status,
    grpc_status: facts.grpcStatus ?? undefined,
    error: error === null ? undefined : error.code,
    blame: error === null ? undefined : ERROR_CODES[error.code].blame,
    error_detail: error === null ? undefined : field(redactText(error.message)),
    error_cause: error === null ? undefined : causeOf(error),
    error_stack: error === null || error.code !== "INTERNAL" ? undefined : field(redactText(stackOf(error))),
    attempts: facts.attempts,
    retries: facts.retries,
    replayed: facts.replayed,
    reused: facts.reused,
    address: facts.address || undefined,
    bytes_up: facts.bytesUp,
    bytes_down: facts.bytesDown,
    total_ms: rounded(facts.totalMs),
    queue_ms: rounded(facts.queueMs),
    dns_ms: facts.dnsMs === 0 ? undefined : rounded(facts.dnsMs),
    connect_ms: facts.connectMs === 0 ? undefined : rounded(facts.connectMs),
    tls_ms: facts.tlsMs === 0 ? undefined : rounded(facts.tlsMs),
    first_byte_ms: facts.firstByteMs === 0 ? undefined : rounded(facts.firstByteMs),
    trace_id: facts.traceId || traceIdOf(request),
    acl: facts.acl || undefined,
    acl_rule: facts.aclRule === "" ? undefined : field(facts.aclRule),
    stages: facts.stages === null ? undefined : stageFields(facts.stages),
    policy_version: context.policyVersion,
  };
}

/** The level of a record's line. */
export function levelOf(record: CallRecord): LineLevel {
  if (record.error === "INTERNAL") return "error";
  const failed = record.error !== undefined || record.status >= 400 || (record.grpc_status ?? 0) !== 0;
  return failed ? "warn" : "info";
}

/** The application's own trace, for a call that no stage gave one: its `traceparent`, or the Root of its `X-Amzn-Trace-Id`. */
function traceIdOf(request: EgressRequest): string | undefined {
  const parent = fieldValue(request.fields, "traceparent");
  const traceId = parent === undefined ? null : /^[0-9a-f]{2}-([0-9a-f]{32})-/.exec(parent);
  if (traceId !== null) return detached(traceId[1]!);
  const root = /\bRoot=(1-[0-9a-f]{8}-[0-9a-f]{24})\b/.exec(
    fieldValue(request.fields, "x-amzn-trace-id") ?? "",
  );
  return root === null ? undefined : detached(root[1]!);
}

/**
 * A code such as `ECONNRESET`, else the name of the cause. Never its message: that is for whoever made the `EgressError` to
 * quote.
 */
function causeOf(error: EgressError): string | undefined {
  const cause: unknown = error.cause;
  if (!(cause instanceof Error)) return undefined;
  const code: unknown = (cause as NodeJS.ErrnoException).code;
  return typeof code === "string" && /^[A-Z0-9_]{1,64}$/.test(code) ? code : field(redactText(cause.name));
}

function stackOf(error: EgressError): string {
  const cause: unknown = error.cause;
  return (cause instanceof Error ? cause.stack : error.stack) ?? "";
}
