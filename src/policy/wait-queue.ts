/** Calls that wait for their turn at a limit: bounded, first come first served, left at once by a call that is cancelled. */
import type { Clock } from "../clock.ts";
import type { EgressError } from "../errors.ts";
import type { EgressRequest } from "../exchange.ts";

/** See the file's header. Deadlines need no timer here: the deadline stage cancels the call. */
export class WaitQueue {
  /** Calls at most. Overflow: the limit refuses the call. */
  readonly #lengthMax: number;
  /** In order of arrival; a Set, so that leaving from the middle costs nothing. */
  readonly #waiting = new Set<() => void>();

  constructor(lengthMax: number) {
    this.#lengthMax = lengthMax;
  }

  get length(): number {
    return this.#waiting.size;
  }

  get full(): boolean {
    return this.#waiting.size >= this.#lengthMax;
  }

  /** Lets the call go that has waited longest. Returns false when none waits. */
  admitNext(): boolean {
    for (const admit of this.#waiting) {
      admit();
      return true;
    }
    return false;
  }

  /**
   * Resolves when it is the call's turn, rejects with the reason when it is cancelled before. Either way the wait is noted in the
   * call's trail under the name of the `stage`. Only while not `full`.
   */
  async turn(request: EgressRequest, stage: string, clock: Clock): Promise<void> {
    const sinceMs = clock.now();
    try {
      await this.#enter(request);
    } finally {
      request.trail.push({ kind: "queued", stage, waitMs: clock.now() - sinceMs });
    }
  }

  #enter(request: EgressRequest): Promise<void> {
    return new Promise((resolve, reject) => {
      const admit = () => {
        this.#waiting.delete(admit);
        request.cancelled.off(leave);
        resolve();
      };
      const leave = (reason: EgressError) => {
        this.#waiting.delete(admit);
        reject(reason);
      };
      this.#waiting.add(admit);
      request.cancelled.on(leave);
    });
  }
}
