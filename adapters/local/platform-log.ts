/**
 * What the platform itself says: telemetry events and the START, END, REPORT and INIT_REPORT lines.
 *
 * Owns the shape of both. Measures nothing. Sources: "Lambda Telemetry API Event schema reference" and "Viewing CloudWatch logs"
 * of the AWS Lambda Developer Guide.
 */
import type { Clock } from "../../src/clock.ts";
import { type Invocation, parentSpanId, timeoutMessage } from "./invocation.ts";
import type { LogLine } from "./logs.ts";
import type { ResolvedOptions } from "./options.ts";
import type { Extension } from "./roster.ts";
import type { TelemetryRelay } from "./telemetry-relay.ts";
import type { Subscription } from "./telemetry-subscription.ts";

/** Which phase an init ran in: `invoke` is the suppressed init that an invocation retries. */
export type InitPhase = "init" | "invoke";

/** How an init or an invocation ended. `failure` is a fault of the platform. */
export type Status = "success" | "error" | "timeout" | "failure";

/** A named part of an invocation. */
export interface Span {
  readonly name: "responseLatency" | "responseDuration" | "runtimeOverhead" | "extensionOverhead";
  /** ISO 8601. */
  readonly start: string;
  readonly durationMs: number;
}

/** The figures of a `platform.report`. */
export interface ReportMetrics {
  readonly durationMs: number;
  readonly billedDurationMs: number;
  readonly memorySizeMB: number;
  readonly maxMemoryUsedMB: number;
  readonly initDurationMs?: number;
}

const INITIALIZATION_TYPE = "on-demand";

/** See the file's header. */
export class PlatformLog {
  readonly #options: ResolvedOptions;
  readonly #relay: TelemetryRelay;
  readonly #clock: Clock;
  readonly #onLog: (line: LogLine) => void;

  constructor(options: ResolvedOptions, relay: TelemetryRelay, clock: Clock, onLog: (line: LogLine) => void) {
    this.#options = options;
    this.#relay = relay;
    this.#clock = clock;
    this.#onLog = onLog;
  }

  initStart(phase: InitPhase): void {
    const { runtimeName, functionName, functionVersion, logStreamName, memoryMb } = this.#options;
    this.#emit("platform.initStart", {
      initializationType: INITIALIZATION_TYPE,
      phase,
      runtimeVersion: runtimeName,
      functionName,
      functionVersion,
      instanceId: logStreamName,
      instanceMaxMemory: memoryMb * 1024 * 1024,
    });
  }

  initRuntimeDone(phase: InitPhase, status: Status, errorType?: string): void {
    this.#emit("platform.initRuntimeDone", {
      initializationType: INITIALIZATION_TYPE,
      phase,
      status,
      ...optional({ errorType }),
    });
  }

  initReport(phase: InitPhase, status: Status, durationMs: number, errorType?: string): void {
    this.#emit("platform.initReport", {
      initializationType: INITIALIZATION_TYPE,
      phase,
      status,
      metrics: { durationMs: rounded(durationMs) },
      ...optional({ errorType }),
    });
    if (phase === "init" && status === "success") return;
    const type = errorType === undefined ? "" : `\tError Type: ${errorType}`;
    this.#say(
      `INIT_REPORT Init Duration: ${durationMs.toFixed(2)} ms\tPhase: ${phase}\tStatus: ${status}${type}`,
    );
  }

  extension({ name, state, events, errorType }: Extension): void {
    this.#emit("platform.extension", { name, state, events: [...events].sort(), ...optional({ errorType }) });
  }

  telemetrySubscription(name: string, { categories }: Subscription): void {
    this.#emit("platform.telemetrySubscription", { name, state: "Subscribed", types: [...categories] });
  }

  start(invocation: Invocation): void {
    const version = this.#options.functionVersion;
    const { requestId, tenantId } = invocation;
    this.#emit("platform.start", {
      requestId,
      version,
      tracing: tracing(invocation),
      ...optional({ tenantId }),
    });
    this.#say(`START RequestId: ${requestId} Version: ${version}`);
  }

  runtimeDone(
    invocation: Invocation,
    status: Status,
    metrics: { durationMs: number; producedBytes: number },
    spans: readonly Span[],
    errorType?: string,
  ): void {
    this.#emit("platform.runtimeDone", {
      requestId: invocation.requestId,
      status,
      metrics: { durationMs: rounded(metrics.durationMs), producedBytes: metrics.producedBytes },
      spans,
      tracing: tracing(invocation),
      ...optional({ errorType }),
    });
  }

  report(
    invocation: Invocation,
    status: Status,
    metrics: ReportMetrics,
    spans: readonly Span[],
    errorType?: string,
  ): void {
    const { requestId } = invocation;
    this.#emit("platform.report", {
      requestId,
      status,
      metrics,
      spans,
      tracing: tracing(invocation),
      ...optional({ errorType }),
    });
    if (status === "timeout")
      this.#say(
        `${new Date(this.#clock.wall()).toISOString()} ${requestId} ${timeoutMessage(this.#options.timeoutMs)}`,
      );
    this.#say(`END RequestId: ${requestId}`);
    this.#say(reportLine(requestId, status, metrics, errorType));
  }

  /** A line of a process, as telemetry. With JSON logging a line that is a JSON object is recorded as one. */
  processLine({ source, text }: LogLine): void {
    if (source === "platform") return;
    const record = this.#options.logFormat === "JSON" ? (jsonObject(text) ?? text) : text;
    this.#relay.emit(source, source, record, this.#clock.wall());
  }

  #emit(type: string, record: object): void {
    this.#relay.emit("platform", type, record, this.#clock.wall());
  }

  #say(text: string): void {
    this.#onLog({ source: "platform", process: "platform", text });
  }
}

/** Milliseconds with three decimals, as the service reports them. */
export function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

function reportLine(
  requestId: string,
  status: Status,
  metrics: ReportMetrics,
  errorType: string | undefined,
): string {
  const fields = [
    `REPORT RequestId: ${requestId}`,
    `Duration: ${metrics.durationMs.toFixed(2)} ms`,
    `Billed Duration: ${metrics.billedDurationMs} ms`,
    `Memory Size: ${metrics.memorySizeMB} MB`,
    `Max Memory Used: ${metrics.maxMemoryUsedMB} MB`,
  ];
  if (metrics.initDurationMs !== undefined)
    fields.push(`Init Duration: ${metrics.initDurationMs.toFixed(2)} ms`);
  if (status !== "success") fields.push(`Status: ${status}`);
  if (errorType !== undefined) fields.push(`Error Type: ${errorType}`);
  return fields.join("\t");
}

function tracing({ traceId }: Invocation): object {
  return { ...optional({ spanId: parentSpanId(traceId) }), type: "X-Amzn-Trace-Id", value: traceId };
}

function optional<T extends Record<string, unknown>>(fields: T): Partial<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<T>;
}

function jsonObject(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
