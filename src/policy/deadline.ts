/**
 * Gives each call an absolute deadline and ends the call when it passes.
 *
 * Owns the choice of the deadline and the one timer that enforces it. Stages further in read `deadlineMs` and do not begin what
 * would not end before it; tearing down what is in flight is the upstream room's answer to `cancelled`.
 */
import type { Clock } from "../clock.ts";
import type { RoutePolicy } from "../config/types.ts";
import { EgressError } from "../errors.ts";
import type { EgressRequest, FieldLines, Policy } from "../exchange.ts";
import { fieldFinder, fieldValue } from "../http1/fields.ts";
import { DeadlineWatch, type Watched } from "./deadline-watch.ts";

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
 * @param workDeadlineMs the running invocation's deadline for a call begun at `begunMs`, `Clock.now()` milliseconds; `Infinity` when
 *   there is none
 */
export function deadline(
  options: DeadlineOptions,
  clock: Clock,
  workDeadlineMs: (begunMs: number) => number,
): Policy {
  const watch = new DeadlineWatch(clock);
  const bounded = boundedBy(options);
  return (next) => (request) => {
    const nowMs = clock.now();
    const workMs = workDeadlineMs(nowMs);
    const deadlineMs = Math.min(request.deadlineMs, bounded(request.fields, nowMs, workMs));
    if (deadlineMs === Number.POSITIVE_INFINITY) return next(request);
    if (deadlineMs <= nowMs) return Promise.reject(exceeded(options, request, nowMs, deadlineMs, workMs));
    const call: Watched = {
      deadlineMs,
      place: -1,
      expired: () => {
        // Word of an invocation may come after its first call, which was then bounded by the invocation before; and a call may
        // outlive its invocation. In both cases the invocation that runs now is the one that bounds it.
        const laterMs = Math.min(request.deadlineMs, bounded(request.fields, nowMs, workDeadlineMs(nowMs)));
        call.deadlineMs = laterMs;
        if (laterMs > clock.now()) return true;
        request.cancelled.fire(exceeded(options, request, nowMs, deadlineMs, workMs));
        return false;
      },
    };
    watch.watch(call, nowMs);
    request.settled.on(() => watch.forget(call));
    return next(request.with({ deadlineMs }));
  };
}

/** `deadlineOf` for one route: looks for all of the caller's headers at once, since most calls have none. */
function boundedBy(options: DeadlineOptions): (fields: FieldLines, nowMs: number, workMs: number) => number {
  const { deadlineHeaders } = options;
  const find = deadlineHeaders.length === 0 ? () => 0 : fieldFinder(deadlineHeaders.map(({ name }) => name));
  const withoutHeaders = { ...options, deadlineHeaders: [] };
  return (fields, nowMs, workMs) =>
    deadlineOf(find(fields) === 0 ? withoutHeaders : options, fields, nowMs, workMs);
}

function exceeded(
  options: DeadlineOptions,
  request: EgressRequest,
  nowMs: number,
  deadlineMs: number,
  workMs: number,
): EgressError {
  const bound = boundBy(options, deadlineMs, nowMs, workMs);
  const hadMs = Math.round(deadlineMs - nowMs);
  return new EgressError("DEADLINE_EXCEEDED", `${request.host}:${request.port} had ${hadMs} ms: ${bound}`);
}

/** Which of the bounds was the smallest, for the log. */
function boundBy(options: DeadlineOptions, deadlineMs: number, nowMs: number, workMs: number): string {
  if (deadlineMs === workMs - options.deadlineReserveMs) {
    return `the invocation's deadline less deadline_reserve (${options.deadlineReserveMs} ms)`;
  }
  if (options.timeoutMs > 0 && deadlineMs === nowMs + options.timeoutMs) return "timeout of the policy";
  return "the caller's own deadline header";
}
