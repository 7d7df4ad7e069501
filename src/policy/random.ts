/**
 * Cheap random numbers for trace ids and jitter, from the operating system's generator, a pool at a time.
 *
 * Not `Math.random`: sandboxes that are restored from one snapshot share its state, so that all of them would draw the same ids and
 * retry in step (AWS Lambda Developer Guide, "Handling uniqueness with Lambda SnapStart"). For the same reason what was drawn ahead is
 * forgotten when an invocation begins.
 */
import { randomFillSync } from "node:crypto";

/** What stages draw from. */
export interface RandomSource {
  /** 16 lower-case hex digits. */
  spanId(): string;
  /** 32 lower-case hex digits. */
  traceId(): string;
  /** Uniform in [0, 1), with 32 bits. */
  fraction(): number;
}

/** One call of the generator fills this many bytes: 512 span ids. */
const POOL_BYTES = 4096;

/** See the file's header. */
export class RandomPool implements RandomSource {
  readonly #epoch: () => number;
  readonly #fill: (bytes: Buffer) => void;
  #bytes: Buffer | null = null;
  #digits = "";
  #at = 0;
  #filledIn = -1;

  /**
   * @param epoch ordinal of the running invocation: another one empties the pool
   * @param fill fills a buffer with random bytes; given by tests
   */
  constructor(epoch: () => number, fill: (bytes: Buffer) => void = randomFillSync) {
    this.#epoch = epoch;
    this.#fill = fill;
  }

  spanId(): string {
    return this.#take(16);
  }

  traceId(): string {
    return this.#take(32);
  }

  fraction(): number {
    this.#advance(8);
    return this.#bytes!.readUInt32BE(this.#at / 2 - 4) / 2 ** 32;
  }

  #take(digits: number): string {
    this.#advance(digits);
    return this.#digits.slice(this.#at - digits, this.#at);
  }

  /** Moves behind the next `digits`, which are two for each byte. */
  #advance(digits: number): void {
    if (this.#at + digits > this.#digits.length || this.#filledIn !== this.#epoch()) this.#refill();
    this.#at += digits;
  }

  #refill(): void {
    this.#bytes ??= Buffer.alloc(POOL_BYTES);
    this.#fill(this.#bytes);
    this.#digits = this.#bytes.toString("hex");
    this.#at = 0;
    this.#filledIn = this.#epoch();
  }
}
