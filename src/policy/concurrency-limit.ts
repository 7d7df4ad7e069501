/**
 * Bounds the calls of a route that are in flight at once. A call holds its slot until its last byte has passed or it was torn down
 * (`settled`), not until its head came; further calls wait in line or are refused.
 */
import type { Clock } from "../clock.ts";
import type { ConcurrencyOptions } from "../config/types.ts";
import { EgressError } from "../errors.ts";
import type { EgressRequest, Policy, Send } from "../exchange.ts";
import { WaitQueue } from "./wait-queue.ts";

const STAGE = "concurrency limit";

/** The stage. One set of slots for all calls of the route that it is composed into. */
export function concurrencyLimit(options: ConcurrencyOptions, clock: Clock): Policy {
  const queue = new WaitQueue(options.queueMax);
  let inFlight = 0;

  /** A slot that is given back goes to the call that has waited longest, so that none can overtake it. */
  const release = () => {
    if (!queue.admitNext()) inFlight -= 1;
  };

  function refuse(request: EgressRequest): Promise<never> {
    request.trail.push({ kind: "limited", stage: STAGE, limit: options.max });
    const message = `${options.max} calls in flight and ${queue.length} waiting for ${request.host}:${request.port}`;
    return Promise.reject(new EgressError("CONCURRENCY_LIMITED", message));
  }

  async function inLine(request: EgressRequest, next: Send) {
    await queue.turn(request, STAGE, clock);
    request.settled.on(release);
    // Cancelled in the moment between its turn and now: nothing is sent any more.
    if (request.cancelled.value !== undefined) throw request.cancelled.value;
    return next(request);
  }

  return (next) => (request) => {
    if (inFlight < options.max) {
      inFlight += 1;
      request.settled.on(release);
      return next(request);
    }
    return queue.full ? refuse(request) : inLine(request, next);
  };
}
