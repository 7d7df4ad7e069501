/**
 * Time, as every room sees it: handed in, never taken from the global. `systemClock` is the real one; tests use `VirtualClock`.
 */

/** A timer that was armed; `cancel` after it fired, or twice, does nothing. */
export interface Timer {
  cancel(): void;
}

/** The two clocks of a sandbox and one way to wait. */
export interface Clock {
  /** Monotonic milliseconds from an arbitrary origin. Deadlines are in this scale. May or may not stand still in a freeze. */
  now(): number;
  /** Milliseconds since the Unix epoch. May jump either way. */
  wall(): number;
  /** Calls `fire` once, `ms` from now (at the next turn for 0 or less). Never keeps the process alive by itself. */
  after(ms: number, fire: () => void): Timer;
}

/** setTimeout treats a longer delay as 1 ms (Node's documentation of setTimeout); so does no timer of ours. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** The machine's own clocks. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after: (ms, fire) => {
    const handle = setTimeout(fire, Math.min(ms, TIMER_MS_MAX)).unref();
    return { cancel: () => clearTimeout(handle) };
  },
};

/** Resolves `ms` from now by `clock`. */
export function sleep(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => void clock.after(ms, resolve));
}

/** A clock that moves only when told to, for tests of everything that waits. Monotonic and wall time move together. */
export class VirtualClock implements Clock {
  #nowMs: number;
  readonly #wallOffsetMs: number;
  #armed: { dueMs: number; fire: () => void }[] = [];

  constructor(nowMs = 0, wallMs = 1_790_000_000_000) {
    this.#nowMs = nowMs;
    this.#wallOffsetMs = wallMs - nowMs;
  }

  now(): number {
    return this.#nowMs;
  }

  wall(): number {
    return this.#nowMs + this.#wallOffsetMs;
  }

  after(ms: number, fire: () => void): Timer {
    const entry = { dueMs: this.#nowMs + Math.max(0, ms), fire };
    this.#armed.push(entry);
    return { cancel: () => void (this.#armed = this.#armed.filter((other) => other !== entry)) };
  }

  /** Milliseconds until the next timer is due; `null` when none is armed. */
  untilNext(): number | null {
    if (this.#armed.length === 0) return null;
    return Math.min(...this.#armed.map((entry) => entry.dueMs)) - this.#nowMs;
  }

  /**
   * Moves time forward, firing timers in the order they are due. Promise reactions run between two timers, so code that
   * awaits one timer and then arms the next sees the time at which the first was due.
   */
  async advance(ms: number): Promise<void> {
    const target = this.#nowMs + ms;
    for (;;) {
      await settleReactions();
      const due = this.#armed.filter((entry) => entry.dueMs <= target).sort((a, b) => a.dueMs - b.dueMs)[0];
      if (due === undefined) break;
      this.#armed = this.#armed.filter((entry) => entry !== due);
      this.#nowMs = Math.max(this.#nowMs, due.dueMs);
      due.fire();
    }
    this.#nowMs = target;
    await settleReactions();
  }
}

/** One turn of the event loop lets every promise reaction that is ready run, however long the chain. */
function settleReactions(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
