/**
 * Joins the room: every call is counted, the calls whose line is kept become records, each invocation gets a summary.
 *
 * Owns which lines are made and when they are flushed. Of the warm tier: pino and the writer come with `start`, after the
 * sandbox is up; until then records wait. Nothing here writes about itself: its own trouble is a number in the metrics and in
 * the
 * next summary, and `problem` for the host to print once, because what the proxy writes may come back to it as telemetry.
 */
import type { Clock } from "../clock.ts";
import type { TelemetryConfig } from "../config/types.ts";
import type { EgressRequest, Policy } from "../exchange.ts";
import type { Lifecycle, Work } from "../lifecycle.ts";
import { type CallFacts, factsOf } from "./facts.ts";
import { InterceptionRefusals } from "./interception.ts";
import { Metrics, type MetricsSnapshot, type Series } from "./metrics.ts";
import { ObservedCall, observe } from "./observe.ts";
import { type EventLog, Outlet } from "./outlet.ts";
import { recordOf } from "./record.ts";
import { InvocationTally, type SummaryOccasion } from "./summary.ts";

/** Time that the last flush may take when the sandbox is shut down; less when the deadline is nearer. */
export const DRAIN_FLUSH_MS_MAX = 500;

/**
 * Time that open calls are waited for at the end, when the host names no deadline; Cloud Run and ECS give a stopping container
 * 10 s and 30 s.
 */
export const DRAIN_SETTLE_MS_MAX = 10_000;

/** What telemetry needs of the rest. */
export interface TelemetryOptions {
  readonly clock: Clock;
  readonly lifecycle: Lifecycle;
  /** `Config.version`. */
  readonly version: string;
  /** 0 ≤ x < 1; decides which good calls are sampled. `Math.random` unless given. */
  readonly random?: () => number;
  /** Opens the log. `openLog` of `log.ts`, loaded when called, unless given. */
  readonly openLog?: (destination: string, clock: Clock) => Promise<EventLog>;
}

/** The room, as the rest sees it. */
export interface Telemetry {
  /** The policy that watches the calls of one route ("" for the destination's own policy). First in the chain. */
  observe(destination: string, route: string): Policy;
  /**
   * A client would not have the certificate that interception showed it for `host`: counted each time, and one line for each host.
   * Never throws.
   *
   * @param reason what the client said, for instance the name of its TLS alert
   */
  interceptionRefused(host: string, reason: string): void;
  metrics(): MetricsSnapshot;
  /** The metrics in the text format of Prometheus, and its content type. Loads the writer when first asked. */
  prometheus(): Promise<{ readonly type: string; readonly text: string }>;
  /**
   * Loads and opens the log. Call it once, when the sandbox is up. Resolves also when there can be no log: then `problem` says
   * why.
   */
  start(): Promise<void>;
  /** Resolves when every line has reached the kernel, and after `capMs` at the latest. Never rejects. */
  flush(capMs: number): Promise<void>;
  /** One sentence when the log could not be opened, else "". */
  readonly problem: string;
}

/** Makes the room and subscribes it to the lifecycle. Does no I/O. */
export function createTelemetry(config: TelemetryConfig, options: TelemetryOptions): Telemetry {
  const room = new Room(config, options);
  options.lifecycle.subscribe({
    workStarted: (work) => {
      room.close("superseded");
      room.open(work);
    },
    workFinished: () => {
      room.close("finished");
      return room.flush(config.flushCapMs);
    },
    draining: (deadlineMs) => room.drain(deadlineMs),
  });
  return room;
}

/** Whether a call that is over gets a line of its own. Pure; `random` is asked only for good calls that are sampled. */
export function keepsLine(config: TelemetryConfig, facts: CallFacts, random: () => number): boolean {
  if (config.accessLog !== "sampled") return config.accessLog === "all";
  return facts.remarkable || random() < config.sampleRatio;
}

class Room implements Telemetry {
  problem = "";
  readonly #config: TelemetryConfig;
  readonly #options: TelemetryOptions;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #metrics = new Metrics();
  readonly #tally = new InvocationTally();
  readonly #refusals = new InterceptionRefusals();
  #openTunnels = 0;
  readonly #outlet: Outlet;
  /** An invocation began and no summary has been written for it. */
  #unfinished = false;
  #internalErrors = 0;
  #whenQuiet: (() => void) | null = null;

  constructor(config: TelemetryConfig, options: TelemetryOptions) {
    this.#config = config;
    this.#options = options;
    this.#clock = options.clock;
    this.#random = options.random ?? Math.random;
    this.#outlet = new Outlet(options.clock);
  }

  observe(destination: string, route: string): Policy {
    const series = this.#metrics.series(destination);
    return observe({
      began: (request) => this.#began(request),
      tunnelled: () => void (this.#openTunnels += 1),
      ended: (call) => this.#ended(call, series, destination, route),
      stumbled: () => this.#stumbled(),
    });
  }

  interceptionRefused(host: string, reason: string): void {
    try {
      const line = this.#refusals.add(host, reason, {
        invocationId: this.#options.lifecycle.work?.id ?? "",
        policyVersion: this.#options.version,
        wallMs: this.#clock.wall(),
      });
      if (line !== null && this.#writes) this.#outlet.push(line);
    } catch {
      this.#stumbled();
    }
  }

  metrics(): MetricsSnapshot {
    return {
      policyVersion: this.#options.version,
      openCalls: this.#tally.open,
      openTunnels: this.#openTunnels,
      interceptionRefusals: this.#refusals.count,
      droppedRecords: this.#outlet.losses,
      internalErrors: this.#internalErrors,
      destinations: this.#metrics.snapshot(),
    };
  }

  async prometheus(): Promise<{ type: string; text: string }> {
    const { PROMETHEUS_CONTENT_TYPE, prometheusText } = await import("./prometheus.ts");
    return { type: PROMETHEUS_CONTENT_TYPE, text: prometheusText(this.metrics()) };
  }

  async start(): Promise<void> {
    if (!this.#writes) return;
    this.#outlet.expectLog();
    try {
      const openLog = this.#options.openLog ?? (await import("./log.ts")).openLog;
      this.#outlet.useLog(await openLog(this.#config.destination, this.#clock));
    } catch (error) {
      this.problem = error instanceof Error ? error.message : String(error);
      this.#outlet.useLog(null);
    }
  }

  /** Whether there is to be a log at all. */
  get #writes(): boolean {
    return this.#config.accessLog !== "off" || this.#config.summary;
  }

  flush(capMs: number): Promise<void> {
    return this.#outlet.flush(capMs);
  }

  /** Begins an invocation's account. */
  open(work: Work): void {
    this.#tally.start(work);
    this.#unfinished = true;
  }

  /**
   * Writes the summary of an invocation that has none yet, and at the end of calls that came after the last one. Never throws.
   */
  close(occasion: SummaryOccasion): void {
    const due = this.#unfinished || (occasion === "drained" && this.#tally.pending);
    this.#unfinished = false;
    if (!due || !this.#config.summary) return;
    try {
      const { version } = this.#options;
      this.#outlet.push(this.#tally.close(this.#clock.now(), this.#clock.wall(), occasion, version));
    } catch {
      this.#stumbled();
    }
  }

  /** Lets open calls end, so that they are in the summary, but keeps enough of the time to write it. */
  async drain(deadlineMs: number): Promise<void> {
    const nowMs = this.#clock.now();
    const leftMs = Math.max(0, Math.min(deadlineMs - nowMs, DRAIN_SETTLE_MS_MAX));
    await this.#quiet(leftMs - Math.min(DRAIN_FLUSH_MS_MAX, leftMs / 2));
    this.close("drained");
    await this.flush(Math.max(0, Math.min(DRAIN_FLUSH_MS_MAX, deadlineMs - this.#clock.now())));
  }

  /** Resolves when no call is open, and after `capMs` at the latest. */
  #quiet(capMs: number): Promise<void> {
    if (this.#tally.open === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#whenQuiet = resolve;
      this.#clock.after(capMs, resolve);
    });
  }

  #began(request: EgressRequest): ObservedCall {
    this.#tally.began(request.startedMs);
    return new ObservedCall(request, this.#options.lifecycle.work);
  }

  #ended(call: ObservedCall, series: Series, destination: string, route: string): void {
    const nowMs = this.#clock.now();
    this.#tally.ended(nowMs);
    if (call.tunnel) this.#openTunnels -= 1;
    const facts = factsOf(call.request, call.response, call.error, nowMs);
    series.add(facts);
    this.#tally.add(destination, call.request, facts);
    if (keepsLine(this.#config, facts, this.#random)) {
      this.#outlet.push(
        recordOf(call.request, facts, {
          // Word of the first invocation may come after its first call.
          invocationId: (call.work ?? this.#options.lifecycle.work)?.id ?? "",
          destination,
          route,
          policyVersion: this.#options.version,
          wallMs: this.#clock.wall(),
        }),
      );
    }
    if (this.#whenQuiet !== null && this.#tally.open === 0) this.#whenQuiet();
  }

  #stumbled(): void {
    this.#internalErrors += 1;
  }
}
