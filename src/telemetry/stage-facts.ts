/**
 * What the stages of the policy did to one call, read from its trail: second tries, breakers, endpoints, limits, splits, answers in
 * place of a failure, faults, copies.
 *
 * Made only for calls that some of it happened to. Owns the fields of the line's `stages`; counting is `stage-metrics.ts`'s.
 */
import type { TrailEntry } from "../exchange.ts";
import { field } from "./field.ts";
import { rounded, withoutUserinfo } from "./record-values.ts";
import { redactText } from "./redact.ts";

/** Entries of one kind that a line names; more are only counted. */
const NAMED_MAX = 8;

/** A breaker that changed its state. */
export type BreakerChange = Extract<TrailEntry, { kind: "breaker" }>;

/** The comparison of a call with its copy; filled in until the call is over. */
export type MirrorComparison = Extract<TrailEntry, { kind: "mirror" }>;

/** See the file's header. */
export class StageFacts {
  /** Tries at once beyond the first. */
  hedges = 0;
  /** Whether one of them was answered first. */
  hedgeWon = false;
  readonly breakerChanges: BreakerChange[] = [];
  /** `host:port` of endpoints that this call's failures ejected. */
  readonly ejected: string[] = [];
  /** The stage that refused the call, "" for none. */
  limitedBy = "";
  /** Where `split` sent it instead, "" for nowhere else. */
  splitHost = "";
  /** What the application got in place of a failure, and of which. */
  served: "" | "fallback" | "stale" = "";
  servedFor = "";
  /** Age of a stale answer. */
  servedAgeMs = 0;
  readonly faults: string[] = [];
  mirror: MirrorComparison | null = null;
  /** `stage: why` of what was left undone. */
  readonly skipped: string[] = [];

  /** Whether more happened than that the call was sent somewhere as the policy always does, alone or with a copy that answered the same. */
  get remarkable(): boolean {
    return (
      this.hedges > 0 ||
      this.breakerChanges.length + this.ejected.length + this.faults.length > 0 ||
      this.limitedBy !== "" ||
      this.served !== "" ||
      (this.mirror !== null && !["same", "unfinished"].includes(mirrorResult(this.mirror)))
    );
  }

  /** Takes an entry of the trail; those of other kinds say nothing here. */
  add(entry: TrailEntry): void {
    switch (entry.kind) {
      case "hedge":
        this.hedges += 1;
        this.hedgeWon ||= entry.won;
        break;
      case "breaker":
        this.breakerChanges.push(entry);
        break;
      case "ejected":
        this.ejected.push(entry.endpoint);
        break;
      case "limited":
        this.limitedBy = entry.stage;
        break;
      case "split":
        this.splitHost = entry.host;
        break;
      case "fallback":
        // An answer of the policy's own has no age.
        this.served = entry.ageMs < 0 ? "fallback" : "stale";
        this.servedFor = entry.why;
        this.servedAgeMs = Math.max(0, entry.ageMs);
        break;
      case "fault":
        this.faults.push(entry.fault);
        break;
      case "mirror":
        this.mirror = entry;
        break;
      case "skipped":
        this.skipped.push(`${entry.stage}: ${entry.why}`);
        break;
    }
  }
}

/** The field `stages` of a line. The names are stable across releases; what did not happen is not in it. */
export interface StageFields {
  readonly hedges: number | undefined;
  readonly hedge_won: boolean | undefined;
  /** State that a breaker took last. */
  readonly breaker: string | undefined;
  readonly breaker_why: string | undefined;
  readonly ejected: string | undefined;
  readonly limited_by: string | undefined;
  readonly split_host: string | undefined;
  readonly served: string | undefined;
  readonly served_for: string | undefined;
  readonly served_age_ms: number | undefined;
  readonly faults: string | undefined;
  readonly mirror_host: string | undefined;
  readonly mirror_result: string | undefined;
  /** 0 when the copy failed. */
  readonly mirror_status: number | undefined;
  /** From the beginning of the call to the head of the copy's answer, and of the call's own. */
  readonly mirror_ms: number | undefined;
  readonly mirror_primary_ms: number | undefined;
  readonly skipped: string | undefined;
}

/** What `facts` come to in a line. */
export function stageFields(facts: StageFacts): StageFields {
  const change = facts.breakerChanges.at(-1);
  const { mirror } = facts;
  const compared = mirror !== null && mirrorResult(mirror) !== "unfinished";
  return {
    hedges: facts.hedges || undefined,
    hedge_won: facts.hedges === 0 ? undefined : facts.hedgeWon,
    breaker: change?.to,
    breaker_why: change === undefined ? undefined : field(redactText(change.why)),
    ejected: named(facts.ejected),
    limited_by: facts.limitedBy || undefined,
    split_host: facts.splitHost === "" ? undefined : field(withoutUserinfo(facts.splitHost)),
    served: facts.served || undefined,
    served_for: facts.servedFor === "" ? undefined : field(redactText(facts.servedFor)),
    served_age_ms: facts.served === "stale" ? rounded(facts.servedAgeMs) : undefined,
    faults: named(facts.faults),
    mirror_host: mirror === null ? undefined : field(withoutUserinfo(mirror.host)),
    mirror_result: mirror === null ? undefined : mirrorResult(mirror),
    mirror_status: compared ? mirror.status : undefined,
    mirror_ms: compared ? rounded(mirror.latencyMs) : undefined,
    mirror_primary_ms: compared ? rounded(mirror.primaryLatencyMs) : undefined,
    skipped: named(facts.skipped),
  };
}

/** How a copy compares; `unfinished` when the call was over before its copy, `failed` when the copy had no answer. */
export const MIRROR_RESULTS = ["same", "other_status", "other_shape", "failed", "unfinished"] as const;

/** One of `MIRROR_RESULTS`. */
export type MirrorResult = (typeof MIRROR_RESULTS)[number];

/** See `MIRROR_RESULTS`. */
export function mirrorResult({ status, primaryStatus, sameShape }: MirrorComparison): MirrorResult {
  if (primaryStatus === 0) return "unfinished";
  if (status === 0) return "failed";
  if (status !== primaryStatus) return "other_status";
  return sameShape ? "same" : "other_shape";
}

function named(texts: readonly string[]): string | undefined {
  if (texts.length === 0) return undefined;
  const shown = texts.slice(0, NAMED_MAX).join(", ");
  const more = texts.length - NAMED_MAX;
  return field(redactText(more > 0 ? `${shown} and ${more} more` : shown));
}
