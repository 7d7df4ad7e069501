/**
 * Counters of what the stages of the policy did, one set per destination. As `metrics.ts`, of which it is a part: numbers only grow,
 * but for the breakers that are not closed.
 */
import { field } from "./field.ts";
import { MIRROR_RESULTS, type MirrorResult, mirrorResult, type StageFacts } from "./stage-facts.ts";

/**
 * Values of one label with a counter of their own. Stages and faults are few; hosts come from the policy, up to 16 for each route.
 * Overflow: counted under `other`.
 */
export const LABELS_MAX = 32;

/** Every value beyond `LABELS_MAX`. */
const OTHER_LABEL = "other";

/** Bytes of a label's value. */
const LABEL_BYTES_MAX = 128;

/** A label's value and how often it was seen. */
export interface LabelCount {
  readonly label: string;
  readonly count: number;
}

/** Plain data. */
export interface StageMetrics {
  /** Tries at once beyond the first, and those of them that were answered first. */
  readonly hedges: number;
  readonly hedgesWon: number;
  /** By the state that breakers took. */
  readonly breakerTransitions: readonly LabelCount[];
  /** Breakers that are in a state other than closed. */
  readonly breakers: { readonly open: number; readonly half_open: number };
  readonly ejections: number;
  /** By the stage that refused. */
  readonly limited: readonly LabelCount[];
  /** By the host that took the calls. */
  readonly splits: readonly LabelCount[];
  /** `fallback` and `stale`. */
  readonly served: readonly LabelCount[];
  readonly faults: readonly LabelCount[];
  readonly mirrored: Readonly<Record<MirrorResult, number>>;
  /** Time to the head of the answer, added up over the calls that could be compared. */
  readonly mirrorMs: { readonly copy: number; readonly primary: number };
  /** Parts of the policy that were left out for a call. */
  readonly skipped: number;
}

/** A bounded set of counters. */
class Labels {
  readonly #counts = new Map<string, number>();

  add(label: string): void {
    const name = field(label, LABEL_BYTES_MAX);
    const known = this.#counts.get(name);
    const isFull = known === undefined && this.#counts.size >= LABELS_MAX - 1;
    const key = isFull ? OTHER_LABEL : name;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
  }

  /** In the order in which the labels were first seen. */
  snapshot(): LabelCount[] {
    return [...this.#counts].map(([label, count]) => ({ label, count }));
  }
}

/** The live counters of one destination. */
export class StageSeries {
  #hedges = 0;
  #hedgesWon = 0;
  readonly #breakerTransitions = new Labels();
  readonly #breakers = { open: 0, half_open: 0 };
  #ejections = 0;
  readonly #limited = new Labels();
  readonly #splits = new Labels();
  readonly #served = new Labels();
  readonly #faults = new Labels();
  readonly #mirrored = Object.fromEntries(MIRROR_RESULTS.map((result) => [result, 0])) as Record<
    MirrorResult,
    number
  >;
  #mirrorCopyMs = 0;
  #mirrorPrimaryMs = 0;
  #skipped = 0;

  /** Counts what happened to one call. */
  add(facts: StageFacts): void {
    this.#hedges += facts.hedges;
    if (facts.hedgeWon) this.#hedgesWon += 1;
    for (const { from, to } of facts.breakerChanges) {
      this.#breakerTransitions.add(to);
      this.#leave(from);
      if (isCounted(to)) this.#breakers[to] += 1;
    }
    this.#ejections += facts.ejected.length;
    if (facts.limitedBy !== "") this.#limited.add(facts.limitedBy);
    if (facts.splitHost !== "") this.#splits.add(facts.splitHost);
    if (facts.served !== "") this.#served.add(facts.served);
    for (const fault of facts.faults) this.#faults.add(fault);
    this.#skipped += facts.skipped.length;
    if (facts.mirror !== null) this.#addMirror(facts.mirror);
  }

  /** Never below 0: of two calls that moved a breaker the later one may be over first. */
  #leave(state: string): void {
    if (isCounted(state)) this.#breakers[state] = Math.max(0, this.#breakers[state] - 1);
  }

  #addMirror(mirror: NonNullable<StageFacts["mirror"]>): void {
    const result = mirrorResult(mirror);
    this.#mirrored[result] += 1;
    if (result === "unfinished" || result === "failed") return;
    this.#mirrorCopyMs += mirror.latencyMs;
    this.#mirrorPrimaryMs += mirror.primaryLatencyMs;
  }

  snapshot(): StageMetrics {
    return {
      hedges: this.#hedges,
      hedgesWon: this.#hedgesWon,
      breakerTransitions: this.#breakerTransitions.snapshot(),
      breakers: { ...this.#breakers },
      ejections: this.#ejections,
      limited: this.#limited.snapshot(),
      splits: this.#splits.snapshot(),
      served: this.#served.snapshot(),
      faults: this.#faults.snapshot(),
      mirrored: { ...this.#mirrored },
      mirrorMs: { copy: this.#mirrorCopyMs, primary: this.#mirrorPrimaryMs },
      skipped: this.#skipped,
    };
  }
}

function isCounted(state: string): state is "open" | "half_open" {
  return state === "open" || state === "half_open";
}
