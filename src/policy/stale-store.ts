/**
 * The answers of one route that may be served when its upstream fails, in memory, oldest first. Bounded by their bytes; knows no rules,
 * only ages.
 */
import type { Clock } from "../clock.ts";
import type { StaleOptions } from "../config/types.ts";
import type { FieldLines } from "../exchange.ts";
import type { Keeping } from "./stale-rules.ts";

/** What an entry takes besides its texts: objects and the map's own part, measured coarsely. */
const ENTRY_BYTES = 512;

/** A kept answer. Its status is 200. */
export interface StaleAnswer {
  readonly keeping: Keeping;
  readonly reason: string;
  readonly fields: FieldLines;
  /** One latin1 character for each byte. */
  readonly body: string;
  /** Readings of both clocks when its head came. */
  readonly nowMs: number;
  readonly wallMs: number;
}

/** Age now, milliseconds: by the clock that went further, since either may stand still in a freeze. */
export function ageNowMs({ keeping, nowMs, wallMs }: StaleAnswer, clock: Clock): number {
  return keeping.ageMs + Math.max(0, clock.now() - nowMs, clock.wall() - wallMs);
}

/** See the file's header. */
export class StaleStore {
  readonly #options: Pick<StaleOptions, "bytesMax" | "bodyBytesMax">;
  readonly #answers = new Map<string, StaleAnswer>();
  #bytes = 0;
  #collectedBytes = 0;

  constructor(options: Pick<StaleOptions, "bytesMax" | "bodyBytesMax">) {
    this.#options = options;
  }

  /** Bytes of all answers, never more than `bytesMax`. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether nothing is kept; then no key is worth being put together. */
  get empty(): boolean {
    return this.#answers.size === 0;
  }

  get(key: string): StaleAnswer | undefined {
    return this.#answers.get(key);
  }

  /** Keeps `answer` in place of the one before it; the oldest make room. One that would not fit at all is not kept. */
  keep(key: string, answer: StaleAnswer): void {
    this.forget(key);
    const bytes = sizeOf(key, answer);
    if (bytes > this.#options.bytesMax) return;
    for (const oldest of this.#answers.keys()) {
      if (this.#bytes + bytes <= this.#options.bytesMax) break;
      this.forget(oldest);
    }
    this.#answers.set(key, answer);
    this.#bytes += bytes;
  }

  forget(key: string): void {
    const answer = this.#answers.get(key);
    if (answer === undefined) return;
    this.#answers.delete(key);
    this.#bytes -= sizeOf(key, answer);
  }

  /**
   * Room for `bytes` more of a body that is being collected and has `collected` already; given back by `release`. Refused when the
   * body gets too long, or when all that is being collected does (`bytesMax` once more): the body then passes uncollected.
   */
  reserve(collected: number, bytes: number): boolean {
    const { bodyBytesMax, bytesMax } = this.#options;
    if (collected + bytes > bodyBytesMax || this.#collectedBytes + bytes > bytesMax) return false;
    this.#collectedBytes += bytes;
    return true;
  }

  /** `bytes` that were reserved are kept, or of no use any more. */
  release(bytes: number): void {
    this.#collectedBytes -= bytes;
  }
}

function sizeOf(key: string, { fields, body, reason, keeping }: StaleAnswer): number {
  const selecting = keeping.selecting.reduce(
    (sum, { name, value }) => sum + name.length + (value?.length ?? 0),
    0,
  );
  return ENTRY_BYTES + key.length + fields.length + reason.length + body.length + selecting;
}
