/**
 * What a circuit breaker asks of those that share it: the seam between this room and a store that several sandboxes can reach.
 * Only the words that are exchanged; who keeps them and how is the store's own affair.
 */

/**
 * One change of a shared breaker, as sandboxes tell one another. Plain JSON. Times are wall time, milliseconds since the epoch,
 * because the monotonic clock of one sandbox means nothing to another.
 */
export interface BreakerTransition {
  /** Names the breaker in the whole fleet: what the stage was given as its scope, and `host:port` of the upstream. */
  readonly key: string;
  readonly to: "open" | "closed";
  /** The rule that opened it, or what closed it; for logs. */
  readonly why: string;
  readonly atWallMs: number;
  /** When an open breaker may be probed; 0 for `closed`. */
  readonly untilWallMs: number;
}

/** Shared breakers, without ever holding a call that may go: the local state is the judge, the store a source of hints. */
export interface BreakerStore {
  /**
   * The last transition of `key` that this sandbox has heard of, whoever announced it; `null` for none. Answers at once from memory, at
   * every call; the store refreshes behind it as often as it sees fit.
   */
  load(key: string): BreakerTransition | null;
  /** Tells the others. Returns at once; whether and when it arrives is the store's affair. */
  announce(transition: BreakerTransition): void;
  /**
   * Whether this sandbox is the one that probes `key` now. Asked once when the time of an open breaker is over, and again a second later
   * where the answer was no. One call waits for the answer, which it would otherwise be refused for, and only as long as its
   * deadline; so the store bounds the wait itself. Without the store the answer is what its failure mode says (`true` when open).
   * Never rejects.
   */
  elect(key: string): Promise<boolean>;
}
