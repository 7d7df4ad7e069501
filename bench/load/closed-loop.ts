/**
 * The counting of a closed loop: who may send one more, how long each answer took, when the run is over or has failed.
 * Owns the counts and the watchdog; the connections that send and receive are `http1-connection.ts` and `http2-connection.ts`.
 */

import { percentile } from "../measure.ts";

/** What a run measured. Latency is from the write of a request to the last byte of its answer. */
export interface LoadReport {
  readonly elapsedMs: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

/** A run in which no answer arrives for so long fails instead of hanging. */
export const silenceMaxMs = 20_000;

/** One run of `total` requests. */
export class ClosedLoop {
  /** Resolves with the last answer; rejects at the first failure. */
  readonly finished: Promise<LoadReport>;
  readonly #total: number;
  readonly #latenciesMs: Float64Array;
  readonly #watchdog: NodeJS.Timeout;
  #sent = 0;
  #answered = 0;
  #answeredAtLastLook = 0;
  #startedMs = 0;
  #resolve!: (report: LoadReport) => void;
  #reject!: (error: Error) => void;

  constructor(total: number) {
    this.#total = total;
    this.#latenciesMs = new Float64Array(total);
    this.finished = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.finished.catch(() => undefined);
    this.#watchdog = setInterval(() => this.#failIfSilent(), silenceMaxMs);
  }

  /** The measured time begins: every connection is there. */
  start(): void {
    this.#startedMs = performance.now();
  }

  /** Whether one more request may be sent; it counts as sent then. */
  take(): boolean {
    if (this.#sent === this.#total) return false;
    this.#sent++;
    return true;
  }

  /** A right answer arrived to a request that was written at `sentMs` of `performance.now()`. */
  answered(sentMs: number): void {
    const nowMs = performance.now();
    this.#latenciesMs[this.#answered++] = nowMs - sentMs;
    if (this.#answered < this.#total) return;
    clearInterval(this.#watchdog);
    const sorted = this.#latenciesMs.sort();
    const p50Us = percentile(sorted, 50) * 1000;
    const p99Us = percentile(sorted, 99) * 1000;
    this.#resolve({ elapsedMs: nowMs - this.#startedMs, p50Us, p99Us });
  }

  /** Ends the run. Changes nothing once it has ended: closing our own connections comes here as well. */
  fail(why: string): void {
    clearInterval(this.#watchdog);
    this.#reject(new Error(`${why} (after ${this.#answered} right answers of ${this.#total})`));
  }

  #failIfSilent(): void {
    if (this.#answered === this.#answeredAtLastLook) this.fail(`no answer for ${silenceMaxMs / 1000} s`);
    this.#answeredAtLastLook = this.#answered;
  }
}
