/**
 * The recent times to a response head, kept in order so that a percentile is one look. Plain state and pure steps; it has no clock, so
 * a freeze ages nothing in it.
 */

/** Times that are kept. Overflow: the oldest is forgotten. Two arrays of 8 KiB for each route that hedges by a percentile. */
export const TIMES_MAX = 1024;

/** Fewer times than this say nothing about any percentile. */
const TIMES_MIN = 20;

/** See the file's header. */
export class RecentTimes {
  /** In the order in which they came; a ring. */
  readonly #ring = new Float64Array(TIMES_MAX);
  /** The same times, ascending, in the first `#count` places. */
  readonly #sorted = new Float64Array(TIMES_MAX);
  #count = 0;
  #next = 0;

  /** Notes one time, milliseconds. */
  add(ms: number): void {
    if (this.#count === TIMES_MAX) this.#remove(this.#ring[this.#next]!);
    this.#ring[this.#next] = ms;
    this.#next = (this.#next + 1) % TIMES_MAX;
    const at = this.#placeOf(ms);
    this.#sorted.copyWithin(at + 1, at, this.#count);
    this.#sorted[at] = ms;
    this.#count += 1;
  }

  /**
   * The time that `percentile` percent of the calls do not exceed (nearest rank), milliseconds; `null` while there are too few: fewer
   * than 20, or not so many that one of them would lie above (100 for the 99th, 1000 for the 99.9th).
   */
  percentile(percentile: number): number | null {
    const enough = Math.max(TIMES_MIN, Math.ceil(100 / (100 - percentile) - 1e-6));
    if (this.#count < enough) return null;
    const rank = Math.ceil((percentile / 100) * this.#count - 1e-6);
    return this.#sorted[Math.max(0, rank - 1)]!;
  }

  #remove(ms: number): void {
    const at = this.#placeOf(ms);
    this.#sorted.copyWithin(at, at + 1, this.#count);
    this.#count -= 1;
  }

  /** The first place whose time is not below `ms`. */
  #placeOf(ms: number): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#sorted[middle]! < ms) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
