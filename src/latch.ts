/** Something that happens at most once: a cancellation, the end of a call. */

/**
 * A value that is set once and told to whoever asked, at once when it is already there. A promise would do, but its reactions
 * run a turn late, and an `AbortSignal` costs 2 µs a call.
 */
export class Latch<T> {
  /** `undefined` until fired. */
  value: T | undefined = undefined;
  /** Most latches have one listener, or none: an array for it would be the larger part of them. */
  #first: ((value: T) => void) | null = null;
  #others: ((value: T) => void)[] | null = null;

  /** Calls `listener` when the latch fires, or now when it has. A listener must not throw. */
  on(listener: (value: T) => void): void {
    if (this.value !== undefined) listener(this.value);
    else if (this.#others !== null) this.#others.push(listener);
    else if (this.#first === null) this.#first = listener;
    else this.#others = [listener];
  }

  /** Forgets `listener`. */
  off(listener: (value: T) => void): void {
    if (this.#first === listener) this.#first = null;
    else if (this.#others !== null) {
      const at = this.#others.indexOf(listener);
      if (at >= 0) this.#others.splice(at, 1);
    }
  }

  /** Sets the value; later calls change nothing. Returns whether this call was the first. */
  fire(value: T): boolean {
    if (this.value !== undefined) return false;
    this.value = value;
    const first = this.#first;
    const others = this.#others;
    this.#first = null;
    this.#others = null;
    first?.(value);
    if (others !== null) for (const listener of others) listener(value);
    return true;
  }
}
