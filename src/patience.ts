/**
 * Notices when something has stood still for too long. Asked once in a while instead of armed for every step: the data path pays
 * nothing for its timeouts, and they end late by at most the time between two questions. Pure; knows no clock.
 */

/** Remembers since when the same thing has been waited for without progress. One per connection. */
export class Patience {
  #wait = "";
  #progress = 0;
  #sinceMs = 0;

  /**
   * Whether `wait` has lasted `limitMs` (`Infinity`: may last for ever) with `progress`, any number that changes when something
   * moves, standing still. The time counts from the first question that saw it so.
   */
  exhausted(wait: string, progress: number, nowMs: number, limitMs: number): boolean {
    if (wait !== this.#wait || progress !== this.#progress) {
      this.#wait = wait;
      this.#progress = progress;
      this.#sinceMs = nowMs;
      return false;
    }
    return nowMs - this.#sinceMs >= limitMs;
  }
}
