/**
 * Bounds the calls of a route that are in flight at once by a limit that finds itself from their latency. A call holds its slot until its
 * last byte has passed or it was torn down; further calls wait in line or are refused.
 *
 * Owns the slots and says what a latency is; the limit is gradient.ts. A latency ends with the response head: a stream may last for hours
 * and says nothing by it.
 */
import type { Clock } from "../clock.ts";
import type { AdaptiveConcurrencyOptions } from "../config/types.ts";
import { asEgressError, EgressError, type ErrorCode } from "../errors.ts";
import type { EgressRequest, EgressResponse, Policy, Send } from "../exchange.ts";
import { begin, limitNow, newGradient, sample } from "./gradient.ts";
import { WaitQueue } from "./wait-queue.ts";

const STAGE = "adaptive concurrency";

/** Errors that tell how long the upstream took at least. Others came of a refusal or a break, which may be quick and still no good sign. */
const TOOK_TIME: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "DEADLINE_EXCEEDED",
  "PER_TRY_TIMEOUT",
  "UPSTREAM_TIMEOUT",
]);

/** The stage. One limit for all calls of the route that it is composed into. */
export function adaptiveConcurrency(options: AdaptiveConcurrencyOptions, clock: Clock): Policy {
  const gradient = newGradient(options, clock.now());
  const queue = new WaitQueue(options.queueMax);
  let inFlight = 0;

  /** Fills the slots that are free, after one was given back or the limit has grown. */
  function admitWaiting(): void {
    while (inFlight < limitNow(gradient, options) && queue.admitNext()) inFlight += 1;
  }

  function release(): void {
    inFlight -= 1;
    admitWaiting();
  }

  function refuse(request: EgressRequest): Promise<never> {
    const limit = limitNow(gradient, options);
    request.trail.push({ kind: "limited", stage: STAGE, limit });
    const message = `${inFlight} calls in flight for ${request.host}:${request.port}, ${limit} at the present latency, and ${queue.length} waiting`;
    return Promise.reject(new EgressError("CONCURRENCY_LIMITED", message));
  }

  async function inLine(request: EgressRequest, next: Send): Promise<EgressResponse> {
    await queue.turn(request, STAGE, clock);
    request.settled.on(release);
    // Cancelled in the moment between its turn and now: nothing is sent any more.
    if (request.cancelled.value !== undefined) throw request.cancelled.value;
    return measured(request, next);
  }

  function measured(request: EgressRequest, next: Send): Promise<EgressResponse> {
    const window = begin(gradient, inFlight);
    const sinceMs = clock.now();
    return next(request).then(
      (response) => {
        if (tellsLatency(response)) note(request, window, sinceMs);
        return response;
      },
      (error: unknown) => {
        const failure = asEgressError(error);
        if (tellsLatency(failure)) note(request, window, sinceMs);
        throw failure;
      },
    );
  }

  function note(request: EgressRequest, window: number, sinceMs: number): void {
    const nowMs = clock.now();
    sample(gradient, options, window, nowMs - Math.max(sinceMs, askedMs(request)), nowMs);
    admitWaiting();
  }

  return (next) => (request) => {
    if (inFlight < limitNow(gradient, options)) {
      inFlight += 1;
      request.settled.on(release);
      return measured(request, next);
    }
    return queue.full ? refuse(request) : inLine(request, next);
  };
}

/** Refusals and failures are quick where an answer is slow, so they must not pass for a low latency. */
function tellsLatency(outcome: EgressResponse | EgressError): boolean {
  if (outcome instanceof EgressError) return TOOK_TIME.has(outcome.code);
  return outcome.status < 500 && outcome.status !== 429;
}

/** When the last attempt began to wait for the upstream itself: backoffs and handshakes are not its queueing. */
function askedMs({ trail }: EgressRequest): number {
  const last = trail.findLast((entry) => entry.kind === "attempt")?.attempt;
  return last === undefined ? 0 : Math.max(last.startedMs, last.connectedMs, last.securedMs);
}
