/** A histogram of durations with fixed bounds, so that the ones of all sandboxes can be added up. */

/**
 * Upper bounds, milliseconds, inclusive; one more bucket takes what is above. From a warm call in the same zone to the longest
 * timeouts in use.
 */
export const DURATION_BOUNDS_MS: readonly number[] = [
  1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000,
];

/** Plain data. `counts[i]` fell in bucket i alone; the last is above all bounds. */
export interface HistogramSnapshot {
  readonly counts: readonly number[];
  readonly sumMs: number;
  readonly count: number;
}

/** See the file's header. */
export class Histogram {
  readonly #counts: number[] = [...DURATION_BOUNDS_MS, 0].map(() => 0);
  #sumMs = 0;

  /** Counts one duration. */
  add(durationMs: number): void {
    this.#counts[bucketOf(durationMs)]! += 1;
    this.#sumMs += durationMs;
  }

  snapshot(): HistogramSnapshot {
    const count = this.#counts.reduce((sum, inBucket) => sum + inBucket, 0);
    return { counts: [...this.#counts], sumMs: this.#sumMs, count };
  }
}

/** Index of the bucket for a duration. */
export function bucketOf(durationMs: number): number {
  let at = 0;
  while (at < DURATION_BOUNDS_MS.length && durationMs > DURATION_BOUNDS_MS[at]!) at++;
  return at;
}
