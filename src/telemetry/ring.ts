/** A bounded queue that forgets its oldest entry rather than refuse a new one: what waits for a reader that may never come. */

/** First in, first out, at most `capacity` entries. Takes memory only for the entries it has held at once. */
export class Ring<T> {
  readonly #capacity: number;
  readonly #slots: (T | undefined)[] = [];
  #oldest = 0;
  #size = 0;
  /** Entries that were pushed out unread since the beginning. */
  dropped = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#size;
  }

  /** Adds `entry`; when the ring is full the oldest one is dropped and counted. */
  push(entry: T): void {
    if (this.#size === this.#capacity) {
      this.#slots[this.#oldest] = entry;
      this.#oldest = (this.#oldest + 1) % this.#capacity;
      this.dropped += 1;
      return;
    }
    this.#slots[(this.#oldest + this.#size) % this.#capacity] = entry;
    this.#size += 1;
  }

  /** Takes the oldest entry; `undefined` when there is none. */
  shift(): T | undefined {
    if (this.#size === 0) return undefined;
    const entry = this.#slots[this.#oldest];
    this.#slots[this.#oldest] = undefined;
    this.#size -= 1;
    this.#oldest = this.#size === 0 ? 0 : (this.#oldest + 1) % this.#capacity;
    return entry;
  }
}
