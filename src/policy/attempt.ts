/**
 * One attempt of a call as the stages after the retry loop see it: a number, a body of its own where the call's body streams, and
 * a cancellation of its own where the attempt's time is bounded.
 */
import type { Body } from "../body.ts";
import type { Clock } from "../clock.ts";
import { EgressError } from "../errors.ts";
import type { EgressRequest } from "../exchange.ts";
import { Latch } from "../latch.ts";
import { DeadlineWatch, type Watched } from "./deadline-watch.ts";

/** How long each attempt of a route's calls may take to its response head. */
export class PerTryTimeout {
  readonly ms: number;
  readonly clock: Clock;
  readonly watch: DeadlineWatch;

  constructor(ms: number, clock: Clock) {
    this.ms = ms;
    this.clock = clock;
    this.watch = new DeadlineWatch(clock);
  }
}

/** See the file's header. The first attempt of a call that has none of these is the call itself: nothing is copied. */
export class Attempt implements Watched {
  place = -1;
  /** What the attempt sends. */
  readonly request: EgressRequest;
  /** When the attempt's time is over, `Clock.now()` milliseconds. */
  deadlineMs = Number.POSITIVE_INFINITY;
  readonly #call: EgressRequest;
  readonly #timeout: PerTryTimeout | null;
  #passOn: ((reason: EgressError) => void) | null = null;

  /** @param timeout until the response head, then PER_TRY_TIMEOUT; `null` for no bound but the call's */
  constructor(call: EgressRequest, number: number, body: Body, timeout: PerTryTimeout | null) {
    this.#call = call;
    this.#timeout = timeout;
    const cancelled = timeout === null ? call.cancelled : this.#bound(timeout);
    const unchanged = number === 1 && body === call.body && timeout === null;
    this.request = unchanged ? call : call.with({ attempt: number, body, cancelled });
  }

  #bound({ ms, clock, watch }: PerTryTimeout): Latch<EgressError> {
    const latch = new Latch<EgressError>();
    this.#passOn = (reason) => void latch.fire(reason);
    this.#call.cancelled.on(this.#passOn);
    const nowMs = clock.now();
    this.deadlineMs = nowMs + ms;
    watch.watch(this, nowMs);
    return latch;
  }

  /** The time is over: for `DeadlineWatch` only. */
  expired(): boolean {
    const { host, port, attempt, cancelled } = this.request;
    cancelled.fire(
      new EgressError(
        "PER_TRY_TIMEOUT",
        `attempt ${attempt}: no head from ${host}:${port} in ${this.#timeout!.ms} ms`,
      ),
    );
    return false;
  }

  /** The response head is here, or will not come: the time of the attempt is no longer bounded. */
  headArrived(): void {
    this.#timeout?.watch.forget(this);
  }

  /** The attempt is over and its response unwanted: the call's cancellation is no concern of it any more. */
  unlink(): void {
    if (this.#passOn !== null) this.#call.cancelled.off(this.#passOn);
  }
}
