/**
 * Gives each call an absolute deadline and ends the call when it passes.
 *
 * Owns the choice of the deadline and the one timer that enforces it. Stages further in read `deadlineMs` and do not begin what
 * would not end before it; tearing down what is in flight is the upstream room's answer to `cancelled`.
 */
import type { Clock } from "../clock.ts";
import type { RoutePolicy } from "../config/types.ts";
import { EgressError } from "../errors.ts";
import type { FieldLines, Policy } from "../exchange.ts";
import { fieldValue } from "../http1/fields.ts";

/** What this stage reads of a route's policy. */
export type DeadlineOptions = Pick<RoutePolicy, "timeoutMs" | "deadlineReserveMs" | "deadlineHeaders">;

/** How the value of a caller's own deadline header reads. */
export type DeadlineFormat = DeadlineOptions["deadlineHeaders"][number]["format"];

/** gRPC over HTTP/2, "Timeout": one to eight digits and a unit. */
const GRPC_TIMEOUT = /^(\d{1,8})([HMSmun])$/;

const GRPC_UNIT_MS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

/** Plain numbers; a fraction is common in seconds. Longer ones are no timeout that anybody means. */
const NUMBER = /^\d{1,12}(?:\.\d{1,9})?$/;

/** The time that a header's value allows, milliseconds; `null` when it is malformed or zero (gRPC asks for a positive number). */
export function parseTimeout(value: string, format: DeadlineFormat): number | null {
  let ms = 0;
  if (format === "grpc") {
    const parts = GRPC_TIMEOUT.exec(value);
    if (parts !== null) ms = Number(parts[1]) * GRPC_UNIT_MS[parts[2]!]!;
  } else if (NUMBER.test(value)) {
    ms = Number(value) * (format === "seconds" ? 1000 : 1);
  }
  return ms > 0 ? ms : null;
}

/**
 * The deadline of a call, `Clock.now()` milliseconds: the smallest of the policy's timeout, the caller's own headers and the
 * invocation's deadline less the reserve. `Infinity` when nothing bounds it.
 *
 * @param workDeadlineMs of the invocation, `Infinity` for none
 */
export function deadlineOf(
  options: DeadlineOptions,
  fields: FieldLines,
  nowMs: number,
  workDeadlineMs: number,
): number {
  let deadlineMs = workDeadlineMs - options.deadlineReserveMs;
  if (options.timeoutMs > 0) deadlineMs = Math.min(deadlineMs, nowMs + options.timeoutMs);
  for (const { name, format } of options.deadlineHeaders) {
    const value = fieldValue(fields, name);
    const timeoutMs = value === undefined ? null : parseTimeout(value, format);
    if (timeoutMs !== null) deadlineMs = Math.min(deadlineMs, nowMs + timeoutMs);
  }
  return deadlineMs;
}

/**
 * The stage. A call whose deadline has passed before it begins is refused with DEADLINE_EXCEEDED and never sent.
 *
 * @param workDeadlineMs the running invocation's deadline, `Clock.now()` milliseconds; `Infinity` when there is none
 */
export function deadline(options: DeadlineOptions, clock: Clock, workDeadlineMs: () => number): Policy {
  return (next) => (request) => {
    const nowMs = clock.now();
    const workMs = workDeadlineMs();
    const deadlineMs = Math.min(request.deadlineMs, deadlineOf(options, request.fields, nowMs, workMs));
    if (deadlineMs === Number.POSITIVE_INFINITY) return next(request);
    const leftMs = deadlineMs - nowMs;
    const exceeded = () => {
      const bound = boundBy(options, deadlineMs, nowMs, workMs);
      return new EgressError(
        "DEADLINE_EXCEEDED",
        `${request.host}:${request.port} had ${Math.round(leftMs)} ms: ${bound}`,
      );
    };
    if (leftMs <= 0) return Promise.reject(exceeded());
    const timer = clock.after(leftMs, () => request.cancelled.fire(exceeded()));
    request.settled.on(() => timer.cancel());
    return next(request.with({ deadlineMs }));
  };
}

/** Which of the bounds was the smallest, for the log. */
function boundBy(options: DeadlineOptions, deadlineMs: number, nowMs: number, workMs: number): string {
  if (deadlineMs === workMs - options.deadlineReserveMs) {
    return `the invocation's deadline less deadline_reserve (${options.deadlineReserveMs} ms)`;
  }
  if (options.timeoutMs > 0 && deadlineMs === nowMs + options.timeoutMs) return "timeout of the policy";
  return "the caller's own deadline header";
}
