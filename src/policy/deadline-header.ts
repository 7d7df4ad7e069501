/**
 * Tells the upstream how much time its answer has, so that it does not work on what nobody will wait for. Stands behind the retry, so
 * that each attempt carries what is left for it. Owns one header field; the deadline itself is `deadline.ts`'s.
 */
import type { Clock } from "../clock.ts";
import type { Policy } from "../exchange.ts";
import { fieldValue, withField } from "../http1/fields.ts";
import { type DeadlineFormat, parseTimeout } from "./deadline.ts";
import { isSigned, signedHeaders } from "./signature.ts";

/** The one name whose notation is not a bare number (gRPC over HTTP/2, "Timeout"): digits, eight at most, and a unit. */
const GRPC_TIMEOUT = "grpc-timeout";
const GRPC_MS_MAX = 99_999_999;

/**
 * The value for `leftMs`: whole milliseconds, rounded down so that the upstream gives up before us and not after, and at least 1, because
 * 0 means "no timeout" to some.
 */
export function deadlineValue(name: string, leftMs: number): string {
  const ms = Math.max(1, Math.floor(leftMs));
  return name === GRPC_TIMEOUT ? `${Math.min(ms, GRPC_MS_MAX)}m` : `${ms}`;
}

/**
 * The stage. A call without a deadline, CONNECT, and a request whose signature covers the field go as they are; a shorter time that the
 * application states itself is kept.
 *
 * @param name of the field, lower case
 */
export function deadlineHeader(name: string, clock: Clock): Policy {
  const format: DeadlineFormat = name === GRPC_TIMEOUT ? "grpc" : "milliseconds";
  return (next) => (request) => {
    const { fields, path } = request;
    if (request.deadlineMs === Number.POSITIVE_INFINITY || request.method === "CONNECT") return next(request);
    if (isSigned(signedHeaders(fields, path), name)) return next(request);
    const leftMs = request.deadlineMs - clock.now();
    const stated = fieldValue(fields, name);
    const value = deadlineValue(name, leftMs);
    if (stated === undefined) return next(request.with({ fields: `${fields}${name}: ${value}\r\n` }));
    const statedMs = parseTimeout(stated, format);
    if (statedMs !== null && statedMs <= leftMs) return next(request);
    return next(request.with({ fields: withField(fields, name, value) }));
  };
}
