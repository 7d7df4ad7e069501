/**
 * Counters and latency histograms, in memory, one series per destination.
 *
 * Owns what is counted and the bound on series. Texts for scrapers are made elsewhere from `snapshot()`. Every number only
 * grows, so a reader that sees two snapshots can take the difference, however long the sandbox slept between them.
 */
import { type Blame, ERROR_CODES, type ErrorCode } from "../errors.ts";
import type { CallFacts } from "./facts.ts";
import { field } from "./field.ts";
import { Histogram, type HistogramSnapshot } from "./histogram.ts";
import { type StageMetrics, StageSeries } from "./stage-metrics.ts";

/**
 * Destinations with a series of their own. Overflow: counted under `other`. Names come from the configuration, this bounds
 * reloads.
 */
export const SERIES_MAX = 256;

/** The series of every destination beyond `SERIES_MAX`. */
export const OTHER_DESTINATION = "other";

/** Bytes of a destination's name as a label. */
const LABEL_BYTES_MAX = 128;

/** Classes of status: index is the first digit, 0 for a call that got no response. */
export const STATUS_CLASSES = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"] as const;

/** One of `STATUS_CLASSES`. */
export type StatusClass = (typeof STATUS_CLASSES)[number];

/** What is known of one destination, as plain data. */
export interface DestinationMetrics {
  readonly destination: string;
  readonly calls: Readonly<Record<StatusClass, number>>;
  /** Sorted by code. */
  readonly errors: readonly { readonly code: ErrorCode; readonly blame: Blame; readonly count: number }[];
  readonly attempts: number;
  readonly reusedAttempts: number;
  readonly retries: number;
  readonly connects: number;
  readonly handshakes: number;
  readonly denied: number;
  readonly wouldDeny: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** By value of `grpc-status`, 0 to 16; only those that were seen, sorted. */
  readonly grpcResponses: readonly { readonly status: number; readonly count: number }[];
  /** The tunnels among the calls, and their part of the bytes. */
  readonly tunnels: {
    readonly count: number;
    /** Time that they were open, added up. */
    readonly openMs: number;
    readonly bytesUp: number;
    readonly bytesDown: number;
  };
  /** Whole calls, to the last byte. */
  readonly duration: HistogramSnapshot;
  /** Waiting for a token or a slot, of the calls that waited. */
  readonly queue: HistogramSnapshot;
  readonly stages: StageMetrics;
}

/** Everything, as plain data that shares nothing with the live counters. */
export interface MetricsSnapshot {
  readonly policyVersion: string;
  /** Calls that have begun and not ended. */
  readonly openCalls: number;
  /** Those of them that have become tunnels. */
  readonly openTunnels: number;
  /** Clients that refused the certificate of the sandbox's own CA. */
  readonly interceptionRefusals: number;
  /** Records that were lost on the way to the log. */
  readonly droppedRecords: number;
  /** Exceptions inside telemetry that were kept from calls. */
  readonly internalErrors: number;
  readonly destinations: readonly DestinationMetrics[];
}

/** The live counters of one destination. Handed out when a route is composed, so that no call looks anything up. */
export class Series {
  readonly destination: string;
  readonly #calls: number[] = STATUS_CLASSES.map(() => 0);
  readonly #errors = new Map<ErrorCode, number>();
  readonly #durations = new Histogram();
  readonly #queue = new Histogram();
  readonly #stages = new StageSeries();
  #attempts = 0;
  #reusedAttempts = 0;
  #retries = 0;
  #connects = 0;
  #handshakes = 0;
  #denied = 0;
  #wouldDeny = 0;
  #bytesUp = 0;
  #bytesDown = 0;
  /** By `grpc-status`; as long as the highest one seen. */
  readonly #grpcResponses: number[] = [];
  #tunnels = 0;
  #tunnelsOpenMs = 0;
  #tunnelBytesUp = 0;
  #tunnelBytesDown = 0;

  constructor(destination: string) {
    this.destination = destination;
  }

  /** Counts one call that is over. */
  add(facts: CallFacts): void {
    this.#calls[statusClassOf(facts.status)]! += 1;
    this.#durations.add(facts.totalMs);
    if (facts.queueMs > 0) this.#queue.add(facts.queueMs);
    if (facts.stages !== null) this.#stages.add(facts.stages);
    this.#attempts += facts.attempts;
    this.#reusedAttempts += facts.reusedAttempts;
    this.#retries += facts.retries;
    this.#connects += facts.connects;
    this.#handshakes += facts.handshakes;
    this.#bytesUp += facts.bytesUp;
    this.#bytesDown += facts.bytesDown;
    if (facts.tunnel) this.#addTunnel(facts);
    if (facts.grpcStatus !== null)
      this.#grpcResponses[facts.grpcStatus] = (this.#grpcResponses[facts.grpcStatus] ?? 0) + 1;
    if (facts.acl === "denied") this.#denied += 1;
    else if (facts.acl === "would_deny") this.#wouldDeny += 1;
    if (facts.error !== null)
      this.#errors.set(facts.error.code, (this.#errors.get(facts.error.code) ?? 0) + 1);
  }

  #addTunnel(facts: CallFacts): void {
    this.#tunnels += 1;
    this.#tunnelsOpenMs += facts.totalMs;
    this.#tunnelBytesUp += facts.bytesUp;
    this.#tunnelBytesDown += facts.bytesDown;
  }

  snapshot(): DestinationMetrics {
    const calls = Object.fromEntries(STATUS_CLASSES.map((name, at) => [name, this.#calls[at]!]));
    return {
      destination: this.destination,
      calls: calls as Record<StatusClass, number>,
      errors: [...this.#errors]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([code, count]) => ({ code, blame: ERROR_CODES[code].blame, count })),
      attempts: this.#attempts,
      reusedAttempts: this.#reusedAttempts,
      retries: this.#retries,
      connects: this.#connects,
      handshakes: this.#handshakes,
      denied: this.#denied,
      wouldDeny: this.#wouldDeny,
      bytesUp: this.#bytesUp,
      bytesDown: this.#bytesDown,
      // Sparse: a status that was never seen has no entry.
      grpcResponses: Object.entries(this.#grpcResponses).map(([status, count]) => ({
        status: Number(status),
        count,
      })),
      tunnels: {
        count: this.#tunnels,
        openMs: this.#tunnelsOpenMs,
        bytesUp: this.#tunnelBytesUp,
        bytesDown: this.#tunnelBytesDown,
      },
      duration: this.#durations.snapshot(),
      queue: this.#queue.snapshot(),
      stages: this.#stages.snapshot(),
    };
  }
}

/** All series. */
export class Metrics {
  readonly #series = new Map<string, Series>();

  /** The series of `destination`: the same one for the same name. */
  series(destination: string): Series {
    const name = field(destination, LABEL_BYTES_MAX);
    const known = this.#series.get(name);
    if (known !== undefined) return known;
    if (this.#series.size >= SERIES_MAX - 1 && name !== OTHER_DESTINATION)
      return this.series(OTHER_DESTINATION);
    const series = new Series(name);
    this.#series.set(name, series);
    return series;
  }

  /** In the order in which the destinations were first named. */
  snapshot(): DestinationMetrics[] {
    return [...this.#series.values()].map((series) => series.snapshot());
  }
}

/** Index into `STATUS_CLASSES`; a status that HTTP does not know counts as none. */
export function statusClassOf(status: number): number {
  return status >= 100 && status < 600 ? Math.floor(status / 100) : 0;
}
