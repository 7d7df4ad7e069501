/** One dial that any number of calls wait for. A call that is cancelled stops waiting; without any that wait the dial is given up. */
import type { Socket } from "node:net";
import { asEgressError, type EgressError } from "../errors.ts";
import type { AttemptFacts, EgressRequest } from "../exchange.ts";
import { Latch } from "../latch.ts";
import type { Cancellable, DialFacts } from "./dial.ts";

interface Waiter {
  readonly facts: AttemptFacts;
  readonly cancelled: Latch<EgressError>;
  resolve(socket: Socket | null): void;
  reject(error: EgressError): void;
  leave(reason: EgressError): void;
}

/** See the file's header. */
export class SharedDial implements Cancellable {
  /** Fires when nobody waits any more. */
  readonly cancelled = new Latch<EgressError>();
  /** What the dial notes; each waiting call gets a copy. */
  readonly facts: DialFacts = { resolvedMs: 0, connectedMs: 0, securedMs: 0, address: "", error: null };
  readonly #waiters = new Set<Waiter>();

  /**
   * Waits for the connection. Resolves with the socket for the one call that may have it for itself, with `null` for all others
   * and where it is shared.
   */
  join(request: EgressRequest, facts: AttemptFacts): Promise<Socket | null> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        facts,
        cancelled: request.cancelled,
        resolve,
        reject,
        leave: (reason) => {
          this.#waiters.delete(waiter);
          Object.assign(facts, this.facts, { error: reason });
          reject(reason);
          if (this.#waiters.size === 0) this.cancelled.fire(reason);
        },
      };
      this.#waiters.add(waiter);
      request.cancelled.on(waiter.leave);
    });
  }

  /** The connection is here: `socket` for the first that waits, or `null` when all share it. Returns whether anybody took it. */
  connected(socket: Socket | null): boolean {
    let left = socket;
    for (const waiter of this.#settle()) {
      waiter.resolve(left);
      left = null;
    }
    return left === null;
  }

  /** There is no connection. */
  failed(cause: unknown): void {
    const error = asEgressError(cause);
    this.facts.error = error;
    for (const waiter of this.#settle()) waiter.reject(error);
  }

  #settle(): readonly Waiter[] {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const { facts, cancelled, leave } of waiters) {
      cancelled.off(leave);
      Object.assign(facts, this.facts);
    }
    return waiters;
  }
}
