/**
 * The clients of the simulation: each calls, waits for the outcome, thinks, and calls again. Owns what they saw, second by second.
 */

import type { Clock } from "../../src/clock.ts";
import { EgressError } from "../../src/errors.ts";
import { EgressRequest, type Send } from "../../src/exchange.ts";

/** How clients behave. */
export interface Behaviour {
  /** Mean of the exponentially distributed pause between two calls, milliseconds. */
  readonly thinkMs: number;
  /** A client gives a call up after this long, whatever is done for it meanwhile. */
  readonly patienceMs: number;
}

/** What clients saw in a span of time: calls that ended in it, and those that began in it with the attempts that they took. */
export interface Seen {
  ended: number;
  succeeded: number;
  begun: number;
  attempts: number;
}

/** Calls are noted by spans this long, milliseconds. */
export const SPAN_MS = 100;

/** The notes of all clients of a run. */
export class Observations {
  readonly spans: Seen[];

  /** @param seconds of the run; what is later is not noted */
  constructor(seconds: number) {
    const count = (seconds * 1000) / SPAN_MS;
    this.spans = Array.from({ length: count }, () => ({ ended: 0, succeeded: 0, begun: 0, attempts: 0 }));
  }

  ended(begunMs: number, endedMs: number, succeeded: boolean, attempts: number): void {
    const first = this.spans[Math.floor(begunMs / SPAN_MS)];
    const last = this.spans[Math.floor(endedMs / SPAN_MS)];
    if (first !== undefined) {
      first.begun += 1;
      first.attempts += attempts;
    }
    if (last !== undefined) {
      last.ended += 1;
      if (succeeded) last.succeeded += 1;
    }
  }
}

/** Begins the life of one client, which never ends by itself. `invoked` is told before each call. */
export function startClient(
  send: Send,
  behaviour: Behaviour,
  clock: Clock,
  random: () => number,
  observations: Observations,
  invoked: () => void = () => {},
): void {
  const think = () => {
    clock.after(-behaviour.thinkMs * Math.log(1 - random()), () => {
      invoked();
      void callOnce(send, behaviour, clock, observations).then(think);
    });
  };
  think();
}

async function callOnce(
  send: Send,
  { patienceMs }: Behaviour,
  clock: Clock,
  observations: Observations,
): Promise<void> {
  const begunMs = clock.now();
  const request = new EgressRequest({
    method: "GET",
    scheme: "https",
    host: "api.example",
    port: 443,
    path: "/",
    fields: "",
    startedMs: begunMs,
  });
  const timer = clock.after(patienceMs, () => {
    request.cancelled.fire(new EgressError("CLIENT_GONE", "the client has given up"));
  });
  const status = await send(request).then(
    (response) => response.status,
    () => 0,
  );
  timer.cancel();
  request.settled.fire({ error: null });
  const attempts = request.trail.filter(({ kind }) => kind === "attempt").length;
  observations.ended(begunMs, clock.now(), status > 0 && status < 400, attempts);
}
