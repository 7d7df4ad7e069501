/**
 * How the proxy's own errors read to a gRPC client, which looks at `grpc-status` and takes any other HTTP status than 200 for a
 * broken server (gRPC over HTTP/2, "Responses": Trailers-Only). Pure.
 */
import { type EgressError, ERROR_CODES, type ErrorCode } from "../errors.ts";
import { fieldValue } from "../http1/fields.ts";
import { ERROR_FIELD, refusalText } from "./reply.ts";

/** The codes of gRPC's core documentation (statuscodes.md) that the proxy gives. */
const DEADLINE_EXCEEDED = 4;
const PERMISSION_DENIED = 7;
const RESOURCE_EXHAUSTED = 8;
const INTERNAL = 13;
const UNAVAILABLE = 14;

/**
 * What is not here is UNAVAILABLE: the call may succeed later, and gRPC's own retries know it so. INTERNAL is what gRPC's mapping
 * (http-grpc-status-mapping.md) makes of a 400: INVALID_ARGUMENT would blame the message, which the proxy does not read.
 */
const STATUSES: Readonly<Partial<Record<ErrorCode, number>>> = {
  BAD_REQUEST: INTERNAL,
  BAD_TARGET: INTERNAL,
  MISDIRECTED: INTERNAL,
  LOOP_DETECTED: INTERNAL,
  EXPECTATION_FAILED: INTERNAL,
  CODING_UNSUPPORTED: INTERNAL,
  VERSION_UNSUPPORTED: INTERNAL,
  INTERNAL,
  // What gRPC's own libraries say of metadata over their limit.
  TARGET_TOO_LONG: RESOURCE_EXHAUSTED,
  HEAD_TOO_LARGE: RESOURCE_EXHAUSTED,
  RATE_LIMITED: RESOURCE_EXHAUSTED,
  BUDGET_SPENT: RESOURCE_EXHAUSTED,
  CONCURRENCY_LIMITED: RESOURCE_EXHAUSTED,
  DENIED: PERMISSION_DENIED,
  ADDRESS_DENIED: PERMISSION_DENIED,
  HEAD_TIMEOUT: DEADLINE_EXCEEDED,
  BODY_TIMEOUT: DEADLINE_EXCEEDED,
  DEADLINE_EXCEEDED,
  PER_TRY_TIMEOUT: DEADLINE_EXCEEDED,
  DNS_TIMEOUT: DEADLINE_EXCEEDED,
  CONNECT_TIMEOUT: DEADLINE_EXCEEDED,
  TLS_TIMEOUT: DEADLINE_EXCEEDED,
  UPSTREAM_TIMEOUT: DEADLINE_EXCEEDED,
};

/** `application/grpc`, also with a message format (`+proto`) or parameters. */
const GRPC_CONTENT = /^application\/grpc(?:[+;]|$)/i;

/** Whether a request with `fields` is a gRPC call. */
export function isGrpc(fields: string): boolean {
  return GRPC_CONTENT.test(fieldValue(fields, "content-type") ?? "");
}

/** The `grpc-status` of a refusal; `null` where no answer is possible any more. */
export function grpcStatusFor(code: ErrorCode): number | null {
  return ERROR_CODES[code].status === 0 ? null : (STATUSES[code] ?? UNAVAILABLE);
}

/** A header list that is the whole answer (Trailers-Only); `callId` as in `writeRefusal`. */
export function grpcRefusal(error: EgressError, callId: string): string[] {
  return [
    ":status",
    "200",
    "content-type",
    "application/grpc",
    "grpc-status",
    String(grpcStatusFor(error.code) ?? UNAVAILABLE),
    "grpc-message",
    percentEncoded(refusalText(error, callId)),
    ERROR_FIELD.toLowerCase(),
    error.code,
  ];
}

/** gRPC over HTTP/2, "Percent-Encoded": bytes of UTF-8 outside of blank to tilde, and the percent sign, as `%XX`. */
export function percentEncoded(text: string): string {
  return text.replace(/[^\x20-\x24\x26-\x7e]+/gu, (run) =>
    [...Buffer.from(run)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""),
  );
}
