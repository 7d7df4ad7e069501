/**
 * Runs one thing after another: a sandbox has a concurrency of one.
 *
 * Owns the order only; bounds are the caller's, who knows what it lets in.
 */

/** See the file's header. */
export class SerialQueue {
  #pending = 0;
  #last: Promise<unknown> = Promise.resolve();

  /** Tasks that run or wait. */
  get pending(): number {
    return this.#pending;
  }

  /** Runs `task` when everything pushed before has ended, well or not. */
  push<T>(task: () => Promise<T>): Promise<T> {
    this.#pending++;
    const run = this.#last.then(task).finally(() => this.#pending--);
    this.#last = run.catch(() => {});
    return run;
  }
}
