/**
 * Which endpoints the calls in flight have tried, so that another attempt of a call goes elsewhere.
 *
 * A list and not a Map: one that every call enters and leaves is rebuilt every few calls, and each table that it leaves behind keeps the
 * calls that were in it, and the tables after it, from being collected with the young objects (measured: a third of all calls).
 */
import type { EgressRequest, Outcome } from "../exchange.ts";
import type { Latch } from "../latch.ts";

/** One call in flight. */
export interface TriedCall {
  /** Indexes of endpoints. */
  tried: readonly number[];
}

interface Entry extends TriedCall {
  /** All attempts of a call share it. */
  readonly settled: Latch<Outcome>;
  /** In the list. */
  place: number;
}

const NONE: readonly number[] = [];

/** See the file's header. Bounded by the calls in flight: a call is forgotten when it is settled. */
export class TriedEndpoints {
  readonly #calls: Entry[] = [];

  /** Calls that are remembered. */
  get size(): number {
    return this.#calls.length;
  }

  /** The call that `request` is an attempt of. Only attempts behind the first have to be looked for. */
  callOf({ attempt, settled }: Pick<EgressRequest, "attempt" | "settled">): TriedCall {
    const known = attempt === 1 ? undefined : this.#calls.find((call) => call.settled === settled);
    if (known !== undefined) return known;
    const call: Entry = { tried: NONE, settled, place: this.#calls.length };
    this.#calls.push(call);
    settled.on(() => this.#forget(call));
    return call;
  }

  /** The last one takes its place. */
  #forget(call: Entry): void {
    const last = this.#calls.pop()!;
    if (last === call) return;
    last.place = call.place;
    this.#calls[call.place] = last;
  }
}
