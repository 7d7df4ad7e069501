/**
 * The upstream of the simulation: some workers, a queue in front of them, and a time in which they are slow and fail. A model; the stages
 * that call it are the project's own.
 *
 * What it models of real servers, because it is what makes retries dangerous: it does not notice that a caller has given up and works on
 * for it, and to turn a request away costs it work too (Beyer et al., Site Reliability Engineering, chapter 21 "Handling Overload":
 * "rejecting them … the backend can become overloaded").
 */

import { Body } from "../../src/body.ts";
import type { Clock } from "../../src/clock.ts";
import {
  type AttemptFacts,
  type EgressRequest,
  EgressResponse,
  newAttempt,
  type Send,
} from "../../src/exchange.ts";

/** How the upstream does at one moment. */
export interface Health {
  /** What a worker needs for a request on average, milliseconds: from half of it to one and a half. */
  readonly serviceMs: number;
  /** Part of the requests that were worked on and are then answered 503. */
  readonly errorRatio: number;
}

/** The upstream and its bad time; times are milliseconds from the start of the run. */
export interface BrownOut {
  readonly workers: number;
  /** Requests that wait for a worker. Overflow: 503 at once. */
  readonly queueMax: number;
  /** Worker's time that a request costs which is turned away. */
  readonly rejectionMs: number;
  /** To and from the upstream, each way. */
  readonly networkMs: number;
  readonly healthy: Health;
  readonly sick: Health;
  readonly beginsMs: number;
  readonly endsMs: number;
  /** From the end on it takes this long until it is as well as before: caches are cold, instances come back one by one. */
  readonly warmUpMs: number;
}

/** The upstream's health at `nowMs`. */
export function healthAt(brownOut: BrownOut, nowMs: number): Health {
  const { healthy, sick, beginsMs, endsMs, warmUpMs } = brownOut;
  if (nowMs < beginsMs || nowMs >= endsMs + warmUpMs) return healthy;
  if (nowMs < endsMs) return sick;
  const warmth = (nowMs - endsMs) / warmUpMs;
  return {
    serviceMs: sick.serviceMs + (healthy.serviceMs - sick.serviceMs) * warmth,
    errorRatio: sick.errorRatio + (healthy.errorRatio - sick.errorRatio) * warmth,
  };
}

/** See the file's header. */
export class BrownOutUpstream {
  /** Attempts that arrived, by second of the run. */
  readonly arrivedBySecond: number[] = [];
  readonly #brownOut: BrownOut;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #queue: (() => void)[] = [];
  #busy = 0;
  /** Worker's time that rejections have cost and that no worker has spent yet. */
  #owedMs = 0;

  /** @param random uniform in [0, 1) */
  constructor(brownOut: BrownOut, clock: Clock, random: () => number) {
    this.#brownOut = brownOut;
    this.#clock = clock;
    this.#random = random;
  }

  /** What takes the place of the upstream room. */
  readonly send: Send = (request) => {
    const facts = this.#note(request);
    return new Promise((resolve, reject) => {
      if (request.cancelled.value !== undefined) return reject(request.cancelled.value);
      // The caller stops waiting; the upstream does not hear of it.
      request.cancelled.on(reject);
      const answer = (status: number) => {
        this.#clock.after(this.#brownOut.networkMs, () => {
          request.cancelled.off(reject);
          facts.status = status;
          resolve(new EgressResponse(status, "", "", Body.of("")));
        });
      };
      this.#clock.after(this.#brownOut.networkMs, () => this.#arrive(answer));
    });
  };

  /** Puts the attempt into the call's trail, as the upstream room does. */
  #note(request: EgressRequest): AttemptFacts {
    const nowMs = this.#clock.now();
    const second = Math.floor(nowMs / 1000);
    this.arrivedBySecond[second] = (this.arrivedBySecond[second] ?? 0) + 1;
    const facts = { ...newAttempt(request.attempt, nowMs), reused: true };
    request.trail.push({ kind: "attempt", attempt: facts });
    return facts;
  }

  #arrive(answer: (status: number) => void): void {
    const { workers, queueMax, rejectionMs } = this.#brownOut;
    if (this.#queue.length >= queueMax) {
      // No more than the workers could do in the time of one request each: what comes on top of it is lost before it costs anything.
      const owedMsMax = workers * this.#health().serviceMs;
      this.#owedMs = Math.min(owedMsMax, this.#owedMs + rejectionMs);
      return answer(503);
    }
    this.#queue.push(() => this.#work(answer));
    this.#startNext();
  }

  #startNext(): void {
    if (this.#busy >= this.#brownOut.workers) return;
    const start = this.#queue.shift();
    if (start === undefined) return;
    this.#busy += 1;
    start();
  }

  #work(answer: (status: number) => void): void {
    const { serviceMs, errorRatio } = this.#health();
    const paidMs = Math.min(this.#owedMs, serviceMs);
    this.#owedMs -= paidMs;
    const takesMs = paidMs + serviceMs * (0.5 + this.#random());
    this.#clock.after(takesMs, () => {
      this.#busy -= 1;
      answer(this.#random() < errorRatio ? 503 : 200);
      this.#startNext();
    });
  }

  #health(): Health {
    return healthAt(this.#brownOut, this.#clock.now());
  }
}
