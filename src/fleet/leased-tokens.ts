/** Tokens of a rate that all sandboxes share, for one key of a limit: takes what `share.ts` lets it, and asks the store behind the calls. */
import type { Clock } from "../clock.ts";
import type { TokenSource } from "../policy/rate-source.ts";
import type { Flow } from "../policy/token-bucket.ts";
import {
  asking,
  granted,
  hasWord,
  newShare,
  type Question,
  questionFor,
  type Share,
  takeShared,
  unanswered,
  untilSharedMs,
} from "./share.ts";
import type { Store } from "./store.ts";
import { fetchTokens } from "./tokens-script.ts";

/** What the sources of a fleet have in common. */
export interface LeaseSurroundings {
  readonly store: Store;
  readonly clock: Clock;
  readonly onFailure: "open" | "closed";
  /** Names this sandbox; another name after a long sleep, or when it was restored from a snapshot. */
  member(): string;
  /** Time in the store, for tests; 0: its own. */
  storeMs(): number;
  /** A number in [0, 1), another for each sandbox and time. */
  jitter(): number;
  /** Told when a source asks: it is in use. */
  used(source: LeasedTokens): void;
}

/** See the file's header. */
export class LeasedTokens implements TokenSource {
  readonly #key: string;
  readonly #limit: Flow;
  readonly #open: boolean;
  readonly #surroundings: LeaseSurroundings;
  readonly #clock: Clock;
  readonly #share: Share;

  /** @param key names the bucket in the store */
  constructor(key: string, limit: Flow, surroundings: LeaseSurroundings) {
    this.#key = key;
    this.#limit = limit;
    this.#open = surroundings.onFailure === "open";
    this.#surroundings = surroundings;
    this.#clock = surroundings.clock;
    this.#share = newShare(limit, surroundings.clock);
  }

  get unavailable(): string {
    return this.#open || hasWord(this.#share, this.#clock) ? "" : "fleet.store has not answered";
  }

  take(waiting: number): boolean {
    // A call in line was counted when it came.
    if (waiting === 0) this.#share.asked += 1;
    const taken = takeShared(this.#share, this.#open, this.#clock);
    this.refresh(taken ? waiting - 1 : waiting);
    return taken;
  }

  untilMs(count: number): number {
    return untilSharedMs(this.#share, this.#open, count, this.#clock);
  }

  /** Asks the store when it is time to. Never waits for it. */
  refresh(waiting = 0): void {
    const question = questionFor(this.#share, this.#limit, Math.max(0, waiting), this.#clock);
    if (question === null) return;
    asking(this.#share, question, this.#surroundings.jitter(), this.#clock);
    this.#surroundings.used(this);
    // Behind the call that takes the last token, not before it.
    setImmediate(() => void this.#ask(question));
  }

  async #ask(question: Question): Promise<void> {
    const { store, member, storeMs } = this.#surroundings;
    const seenMs = this.#clock.now() - this.#share.answeredNowMs;
    const asker = { key: this.#key, member: member(), seenMs: Number.isFinite(seenMs) ? seenMs : -1 };
    try {
      const grant = await fetchTokens(store, this.#limit, question, asker, storeMs());
      granted(this.#share, grant, this.#limit, this.#clock);
    } catch {
      // Whatever the reason, the share is judged without the store from here on; it says so in refusals.
      unanswered(this.#share, question);
    }
  }
}
