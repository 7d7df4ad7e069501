/**
 * The lines of a rate limit, one for each key: who has a token goes, who may wait stands in line behind who came before.
 *
 * Owns which keys are remembered, the lines and their timers, of which there is one for a line in which calls wait and none otherwise.
 */
import { createHash } from "node:crypto";
import type { Clock } from "../clock.ts";
import type { EgressRequest } from "../exchange.ts";
import type { TokenSource, TokenSourceFor } from "./rate-source.ts";
import { WaitQueue } from "./wait-queue.ts";

/** Calls that may wait, all lines of a route together. Overflow: refused like a call that would wait past its deadline. */
const WAITING_MAX = 1000;

/** Longer keys are remembered by their SHA-256, so that a key costs no more memory than that. */
const KEY_CHARS_MAX = 64;

/** One key's tokens and the calls that wait for them. Made by `RateLines`. */
export interface RateLine {
  readonly source: TokenSource;
  readonly queue: WaitQueue;
  armed: boolean;
}

/** See the file's header. */
export class RateLines {
  readonly #sourceFor: TokenSourceFor;
  readonly #keysMax: number;
  readonly #stage: string;
  readonly #clock: Clock;
  /** In the order in which the keys were last asked for. */
  readonly #lines = new Map<string, RateLine>();
  #waiting = 0;

  /** @param stage what waits are noted under in the trail */
  constructor(sourceFor: TokenSourceFor, keysMax: number, stage: string, clock: Clock) {
    this.#sourceFor = sourceFor;
    this.#keysMax = keysMax;
    this.#stage = stage;
    this.#clock = clock;
  }

  /** Keys that are remembered. */
  get size(): number {
    return this.#lines.size;
  }

  /** Whether no further call may wait. */
  get full(): boolean {
    return this.#waiting >= WAITING_MAX;
  }

  /** The line of `key`. A key that was forgotten, or is new, begins with fresh tokens. */
  line(key: string): RateLine {
    const name = key.length > KEY_CHARS_MAX ? createHash("sha256").update(key).digest("base64url") : key;
    const known = this.#lines.get(name);
    if (known !== undefined) {
      // A single key needs no order.
      if (this.#lines.size > 1) this.#touch(name, known);
      return known;
    }
    const line = { source: this.#sourceFor(name), queue: new WaitQueue(WAITING_MAX), armed: false };
    if (this.#lines.size >= this.#keysMax) this.#forgetOldest();
    this.#lines.set(name, line);
    return line;
  }

  /** Resolves when it is the call's turn, which has its token then. Only while not `full`. */
  async turn(line: RateLine, request: EgressRequest): Promise<void> {
    this.#waiting += 1;
    try {
      const turn = line.queue.turn(request, this.#stage, this.#clock);
      this.#arm(line);
      await turn;
    } finally {
      this.#waiting -= 1;
    }
  }

  #touch(name: string, line: RateLine): void {
    this.#lines.delete(name);
    this.#lines.set(name, line);
  }

  /** A line in which calls wait is in use, however long ago it was asked for; they are `WAITING_MAX` at most. */
  #forgetOldest(): void {
    for (const [name, line] of [...this.#lines]) {
      if (line.queue.length === 0) return void this.#lines.delete(name);
      this.#touch(name, line);
    }
  }

  #arm(line: RateLine): void {
    if (line.armed) return;
    line.armed = true;
    // At least a millisecond: a token that is almost there must not be asked for in a loop.
    this.#clock.after(Math.max(1, Math.ceil(line.source.untilMs(1))), () => {
      line.armed = false;
      while (line.queue.length > 0 && line.source.take(line.queue.length)) line.queue.admitNext();
      if (line.queue.length > 0) this.#arm(line);
    });
  }
}
