/** An upstream that serves so many calls at once and lets the others wait in line, and clients that never stop calling it; virtual time. */
import type { VirtualClock } from "../../src/clock.ts";
import type { EgressRequest, Send } from "../../src/exchange.ts";
import { answer, call, settle } from "./calls.ts";

/** First come, first served. */
export class QueueingUpstream {
  /** Calls served at once; may be changed at any time. */
  capacity: number;
  /** What one call takes, give or take a tenth. */
  serviceMs: number;
  served = 0;
  /** Calls that are here: served or in line. */
  present = 0;
  /** Most of them at once since it was last set to 0. */
  presentMax = 0;
  #serving = 0;
  readonly #line: (() => void)[] = [];
  readonly #clock: VirtualClock;
  readonly #random: () => number;

  constructor(clock: VirtualClock, capacity: number, serviceMs: number, random: () => number) {
    this.#clock = clock;
    this.capacity = capacity;
    this.serviceMs = serviceMs;
    this.#random = random;
  }

  readonly send: Send = () =>
    new Promise((resolve) => {
      this.present += 1;
      this.presentMax = Math.max(this.presentMax, this.present);
      this.#line.push(() => {
        this.#serving += 1;
        this.#clock.after(this.serviceMs * (0.9 + 0.2 * this.#random()), () => {
          this.#serving -= 1;
          this.present -= 1;
          this.served += 1;
          resolve(answer());
          this.#serve();
        });
      });
      this.#serve();
    });

  #serve(): void {
    while (this.#serving < this.capacity && this.#line.length > 0) this.#line.shift()!();
  }
}

/** `count` clients that call again as soon as they have an answer, or 100 ms after a refusal, until `stop`. */
export function clients(clock: VirtualClock, count: number, send: Send) {
  const calls = { answered: 0, refused: 0, requests: [] as EgressRequest[] };
  let stopped = false;
  function next(): void {
    if (stopped) return;
    const request = call();
    send(request).then(
      () => {
        calls.answered += 1;
        settle(request);
        next();
      },
      () => {
        calls.refused += 1;
        settle(request);
        clock.after(100, next);
      },
    );
  }
  for (let i = 0; i < count; i++) next();
  return { calls, stop: () => void (stopped = true) };
}
