/**
 * One attempt of a call as the stages after the retry loop see it: a number, a body of its own where the call's body streams, and
 * a cancellation of its own where the attempt's time is bounded.
 */
import type { Body } from "../body.ts";
import type { Clock, Timer } from "../clock.ts";
import { EgressError } from "../errors.ts";
import type { EgressRequest } from "../exchange.ts";
import { Latch } from "../latch.ts";

/** See the file's header. The first attempt of a call that has none of these is the call itself: nothing is copied. */
export class Attempt {
  /** What the attempt sends. */
  readonly request: EgressRequest;
  readonly #call: EgressRequest;
  #timer: Timer | null = null;
  #passOn: ((reason: EgressError) => void) | null = null;

  /** @param timeoutMs until the response head, then PER_TRY_TIMEOUT; 0 for no bound but the call's */
  constructor(call: EgressRequest, number: number, body: Body, clock: Clock, timeoutMs: number) {
    this.#call = call;
    const bounded = timeoutMs > 0;
    const cancelled = bounded ? this.#bound(number, clock, timeoutMs) : call.cancelled;
    const unchanged = number === 1 && body === call.body && !bounded;
    this.request = unchanged ? call : call.with({ attempt: number, body, cancelled });
  }

  #bound(number: number, clock: Clock, timeoutMs: number): Latch<EgressError> {
    const latch = new Latch<EgressError>();
    this.#passOn = (reason) => void latch.fire(reason);
    this.#call.cancelled.on(this.#passOn);
    this.#timer = clock.after(timeoutMs, () => {
      const { host, port } = this.#call;
      latch.fire(
        new EgressError(
          "PER_TRY_TIMEOUT",
          `attempt ${number}: no head from ${host}:${port} in ${timeoutMs} ms`,
        ),
      );
    });
    return latch;
  }

  /** The response head is here, or will not come: the time of the attempt is no longer bounded. */
  headArrived(): void {
    this.#timer?.cancel();
  }

  /** The attempt is over and its response unwanted: the call's cancellation is no concern of it any more. */
  unlink(): void {
    if (this.#passOn !== null) this.#call.cancelled.off(this.#passOn);
  }
}
