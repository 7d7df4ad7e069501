/**
 * An amount of time that runs only while the sandbox does.
 *
 * Owns one deadline that can be stopped and continued, because time spent frozen counts towards no limit of the platform.
 */
import type { Clock, Timer } from "../../src/clock.ts";

/** Starts running when made. `expired` never resolves after `cancel`. */
export class Budget {
  /** Resolves once the budget is used up. */
  readonly expired: Promise<void>;
  readonly #clock: Clock;
  #leftMs: number;
  #runningSinceMs: number | undefined;
  #timer: Timer | undefined;
  #expire: () => void = () => {};

  constructor(clock: Clock, ms: number) {
    this.#clock = clock;
    this.#leftMs = ms;
    this.expired = new Promise((resolve) => void (this.#expire = resolve));
    this.resume();
  }

  /** What is left, in ms; never negative. */
  leftMs(): number {
    const runMs = this.#runningSinceMs === undefined ? 0 : this.#clock.now() - this.#runningSinceMs;
    return Math.max(0, this.#leftMs - runMs);
  }

  /** Stops the time. Does nothing when it is stopped. */
  pause(): void {
    this.#leftMs = this.leftMs();
    this.#runningSinceMs = undefined;
    this.#timer?.cancel();
  }

  /** Continues after `pause`. Does nothing when it runs. */
  resume(): void {
    if (this.#runningSinceMs !== undefined) return;
    this.#runningSinceMs = this.#clock.now();
    this.#timer = this.#clock.after(this.#leftMs, () => this.#expire());
  }

  /** Gives the budget up: it will not expire. */
  cancel(): void {
    this.pause();
    this.#expire = () => {};
  }
}

/** The budgets that are running, so that a freeze can stop them all and a thaw continue them. */
export class Budgets {
  readonly #clock: Clock;
  readonly #live = new Set<Budget>();
  #paused = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A new budget, standing still if everything does. End it with `end`. */
  begin(ms: number): Budget {
    const budget = new Budget(this.#clock, ms);
    if (this.#paused) budget.pause();
    this.#live.add(budget);
    return budget;
  }

  /** Cancels and forgets `budget`. */
  end(budget: Budget): void {
    budget.cancel();
    this.#live.delete(budget);
  }

  /** Waits `ms` of unfrozen time. */
  async sleep(ms: number): Promise<void> {
    const budget = this.begin(ms);
    await budget.expired;
    this.end(budget);
  }

  /** Stops the time of every budget. */
  pause(): void {
    this.#paused = true;
    for (const budget of this.#live) budget.pause();
  }

  /** Continues every budget. */
  resume(): void {
    this.#paused = false;
    for (const budget of this.#live) budget.resume();
  }
}
