/** Dials for all kinds of connections of this process, and counts them. */
import type { OnReadOpts, Socket } from "node:net";
import type { Clock } from "../clock.ts";
import { asEgressError } from "../errors.ts";
import { type Cancellable, type DialFacts, type DialTarget, dial } from "./dial.ts";
import type { Resolver } from "./resolve.ts";

/** See the file's header. */
export class Dialler {
  /** Dials so far, whatever came of them. */
  dialled = 0;
  readonly #resolver: Resolver;
  readonly #clock: Clock;

  constructor(resolver: Resolver, clock: Clock) {
    this.#resolver = resolver;
    this.#clock = clock;
  }

  /** As `dial`. Its errors are noted in `facts` and say that nothing was sent: whatever went wrong, nothing of a request has left yet. */
  async dial(target: DialTarget, call: Cancellable, facts: DialFacts, onread?: OnReadOpts): Promise<Socket> {
    this.dialled += 1;
    try {
      return await dial(target, call, facts, this.#resolver, this.#clock, onread);
    } catch (error) {
      const failure = asEgressError(error);
      if (failure.reached === "sent") failure.reached = "unsent";
      facts.error = failure;
      throw failure;
    }
  }
}
