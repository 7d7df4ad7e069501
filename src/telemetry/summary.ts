/**
 * What one invocation did on the network, in one line.
 *
 * Owns the adding up, as plain state without a clock: every reading is handed in. A call counts in the summary of the
 * invocation
 * during which it ended; one that ends between two invocations counts in the next summary, and adds nothing to its blocked
 * time.
 */
import type { EgressRequest } from "../exchange.ts";
import type { Work } from "../lifecycle.ts";
import type { CallFacts } from "./facts.ts";
import { detached, field } from "./field.ts";
import { rounded, timestamp, withoutUserinfo } from "./record-values.ts";

/** Destinations named in a summary. Overflow: added up under `other`. */
export const SUMMARY_DESTINATIONS_MAX = 32;

/** Bytes of a destination's name as a key of the summary. */
const NAME_BYTES_MAX = 64;

const OTHER = "other";

/**
 * Why the summary was written: the host said so, the next invocation began, or the sandbox is shut down (a timeout, for one).
 */
export type SummaryOccasion = "finished" | "superseded" | "drained";

/** One destination's part. */
export interface DestinationPart {
  readonly calls: number;
  readonly failed: number;
}

/** The call that took longest. */
export interface SlowestCall {
  readonly destination: string;
  readonly method: string;
  readonly host: string;
  readonly status: number;
  /** A key of `ERROR_CODES`, or "". */
  readonly error: string;
  readonly totalMs: number;
}

/** See the file's header. Durations are milliseconds. */
export interface InvocationSummary {
  readonly event: "summary";
  /** Milliseconds since the Unix epoch; the line has RFC 3339 in UTC. */
  readonly time: number;
  readonly invocationId: string;
  readonly occasion: SummaryOccasion;
  /** Whether this was the sandbox's first invocation. */
  readonly coldStart: boolean;
  /** What the summary covers: the invocation, or the time since the summary before. */
  readonly durationMs: number;
  /**
   * Time during which at least one call was open: the union of the calls' intervals, not their sum. Never more than
   * `durationMs`.
   */
  readonly blockedMs: number;
  readonly calls: number;
  /** Calls still open when the summary was written; they are in none of the other numbers but `blockedMs`. */
  readonly openCalls: number;
  readonly failed: number;
  /** By error code, or `HTTP_503` or `GRPC_14` for a status that the upstream gave. */
  readonly failures: ReadonlyMap<string, number>;
  readonly destinations: ReadonlyMap<string, DestinationPart>;
  readonly attempts: number;
  readonly retries: number;
  /** Tries at once beyond the first. */
  readonly hedges: number;
  readonly connects: number;
  readonly handshakes: number;
  /** Attempts on a connection that had served before, of all attempts; `null` without any. */
  readonly reusedRatio: number | null;
  readonly denied: number;
  readonly wouldDeny: number;
  /** Calls whose failure was replaced: by a fallback or by the last good answer. */
  readonly served: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
  readonly slowest: SlowestCall | null;
  readonly policyVersion: string;
}

/** The sums since the last summary. */
class Sums {
  calls = 0;
  failed = 0;
  readonly failures = new Map<string, number>();
  readonly destinations = new Map<string, { calls: number; failed: number }>();
  attempts = 0;
  retries = 0;
  hedges = 0;
  connects = 0;
  handshakes = 0;
  reusedAttempts = 0;
  denied = 0;
  wouldDeny = 0;
  served = 0;
  bytesUp = 0;
  bytesDown = 0;
  slowest: SlowestCall | null = null;
}

/** The accumulator. Times are `Clock.now()` milliseconds. */
export class InvocationTally {
  #sums = new Sums();
  #work: Work | null = null;
  /** Whether the invocation that is being added up is the sandbox's first. */
  #coldStart = false;
  #sinceMs = 0;
  #open = 0;
  /** Since when at least one call has been open; meaningless while none is. */
  #busySinceMs = 0;
  /** Up to when blocked time is accounted for: what lies before is never counted twice. */
  #accountedMs = 0;
  #blockedMs = 0;

  /** Calls that have begun and not ended. */
  get open(): number {
    return this.#open;
  }

  /** Whether calls have ended that no summary has told of. */
  get pending(): boolean {
    return this.#sums.calls > 0;
  }

  /** An invocation begins: calls that are still open from earlier block it from its start. */
  start(work: Work): void {
    this.#work = work;
    this.#coldStart = work.sequence === 1;
    this.#restart(work.startedMs);
  }

  /** A call begins. */
  began(atMs: number): void {
    if (this.#open === 0) this.#busySinceMs = Math.max(atMs, this.#accountedMs);
    this.#open += 1;
  }

  /** A call ends. */
  ended(atMs: number): void {
    this.#open -= 1;
    if (this.#open === 0) {
      this.#blockedMs += Math.max(0, atMs - this.#busySinceMs);
      this.#accountedMs = Math.max(atMs, this.#accountedMs);
    }
  }

  /** Adds up what a call that has ended was like. */
  add(destination: string, request: EgressRequest, facts: CallFacts): void {
    addUp(this.#sums, destination, request, facts);
  }

  /** Closes the account at `atMs` and opens the next. */
  close(atMs: number, wallMs: number, occasion: SummaryOccasion, policyVersion: string): InvocationSummary {
    const { slowest, failures, destinations, reusedAttempts, ...counts } = this.#sums;
    const summary: InvocationSummary = {
      event: "summary",
      time: wallMs,
      invocationId: this.#work?.id ?? "",
      occasion,
      coldStart: this.#coldStart,
      durationMs: atMs - this.#sinceMs,
      blockedMs: this.#blockedMs + (this.#open > 0 ? atMs - this.#busySinceMs : 0),
      openCalls: this.#open,
      ...counts,
      failures,
      destinations,
      reusedRatio: counts.attempts === 0 ? null : reusedAttempts / counts.attempts,
      slowest,
      policyVersion,
    };
    this.#sums = new Sums();
    this.#coldStart = false;
    this.#restart(atMs);
    return summary;
  }

  #restart(atMs: number): void {
    this.#sinceMs = atMs;
    this.#blockedMs = 0;
    this.#busySinceMs = atMs;
    this.#accountedMs = atMs;
  }
}

/**
 * The line of a summary.
 *
 * @param droppedRecords records lost on the way to the log since the last summary that was written
 */
export function summaryLine(
  summary: InvocationSummary,
  droppedRecords: number,
): Readonly<Record<string, unknown>> {
  return {
    time: timestamp(summary.time),
    event: summary.event,
    invocation_id: field(summary.invocationId),
    occasion: summary.occasion,
    cold_start: summary.coldStart,
    duration_ms: rounded(summary.durationMs),
    blocked_ms: rounded(summary.blockedMs),
    calls: summary.calls,
    open_calls: summary.openCalls,
    failed: summary.failed,
    failures: Object.fromEntries(summary.failures),
    destinations: Object.fromEntries(
      [...summary.destinations].map(([name, part]) => [field(name, NAME_BYTES_MAX), part]),
    ),
    attempts: summary.attempts,
    retries: summary.retries,
    hedges: summary.hedges,
    connects: summary.connects,
    handshakes: summary.handshakes,
    reused_ratio: summary.reusedRatio === null ? null : Math.round(summary.reusedRatio * 100) / 100,
    denied: summary.denied,
    would_deny: summary.wouldDeny,
    served: summary.served,
    bytes_up: summary.bytesUp,
    bytes_down: summary.bytesDown,
    slowest: summary.slowest === null ? null : slowestField(summary.slowest),
    dropped_records: droppedRecords,
    policy_version: summary.policyVersion,
  };
}

function slowestField(slowest: SlowestCall): Record<string, unknown> {
  const { totalMs, error, ...rest } = slowest;
  return { ...rest, ...(error === "" ? {} : { error }), total_ms: rounded(totalMs) };
}

function addUp(sums: Sums, destination: string, request: EgressRequest, facts: CallFacts): void {
  sums.calls += 1;
  sums.attempts += facts.attempts;
  sums.retries += facts.retries;
  sums.hedges += facts.stages?.hedges ?? 0;
  if (facts.stages !== null && facts.stages.served !== "") sums.served += 1;
  sums.connects += facts.connects;
  sums.handshakes += facts.handshakes;
  sums.reusedAttempts += facts.reusedAttempts;
  sums.bytesUp += facts.bytesUp;
  sums.bytesDown += facts.bytesDown;
  if (facts.acl === "denied") sums.denied += 1;
  else if (facts.acl === "would_deny") sums.wouldDeny += 1;
  const part = partOf(sums.destinations, destination);
  part.calls += 1;
  if (facts.failed) {
    part.failed += 1;
    sums.failed += 1;
    const reason = reasonOf(facts);
    sums.failures.set(reason, (sums.failures.get(reason) ?? 0) + 1);
  }
  if (sums.slowest === null || facts.totalMs > sums.slowest.totalMs) {
    sums.slowest = slowestCall(destination, request, facts);
  }
}

function reasonOf({ error, status, grpcStatus }: CallFacts): string {
  if (error !== null) return error.code;
  return status >= 400 ? `HTTP_${status}` : `GRPC_${grpcStatus}`;
}

function slowestCall(destination: string, request: EgressRequest, facts: CallFacts): SlowestCall {
  return {
    destination: field(destination, NAME_BYTES_MAX),
    method: field(request.method),
    host: detached(field(withoutUserinfo(request.host))),
    status: facts.status,
    error: facts.error === null ? "" : facts.error.code,
    totalMs: facts.totalMs,
  };
}

function partOf(parts: Sums["destinations"], destination: string): { calls: number; failed: number } {
  const known = parts.get(destination);
  if (known !== undefined) return known;
  if (parts.size >= SUMMARY_DESTINATIONS_MAX - 1 && destination !== OTHER) return partOf(parts, OTHER);
  const part = { calls: 0, failed: 0 };
  parts.set(destination, part);
  return part;
}
