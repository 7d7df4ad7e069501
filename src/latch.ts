/** Something that happens at most once: a cancellation, the end of a call. */

/**
 * A value that is set once and told to whoever asked, at once when it is already there. A promise would do, but its reactions
 * run a turn late, and an `AbortSignal` costs 2 µs a call.
 */
export class Latch<T> {
  /** `undefined` until fired. */
  value: T | undefined = undefined;
  #listeners: ((value: T) => void)[] | null = null;

  /** Calls `listener` when the latch fires, or now when it has. A listener must not throw. */
  on(listener: (value: T) => void): void {
    if (this.value !== undefined) listener(this.value);
    else if (this.#listeners === null) this.#listeners = [listener];
    else this.#listeners.push(listener);
  }

  /** Forgets `listener`. */
  off(listener: (value: T) => void): void {
    if (this.#listeners === null) return;
    const at = this.#listeners.indexOf(listener);
    if (at >= 0) this.#listeners.splice(at, 1);
  }

  /** Sets the value; later calls change nothing. Returns whether this call was the first. */
  fire(value: T): boolean {
    if (this.value !== undefined) return false;
    this.value = value;
    const listeners = this.#listeners;
    this.#listeners = null;
    if (listeners !== null) for (const listener of listeners) listener(value);
    return true;
  }
}
