/**
 * What is known about an invocation once it is over.
 *
 * Owns the figures that the report and the result share. Decides nothing about the sandbox.
 */
import type { Clock } from "../../src/clock.ts";
import type { Outcome } from "./generation.ts";
import { type InvocationRun, overheadSpan, verdict } from "./invoke-flow.ts";
import { type PlatformLog, type ReportMetrics, rounded, type Status } from "./platform-log.ts";

/** How an invocation went, once it is over for the runtime and the extensions too. */
export interface InvokeResult {
  readonly requestId: string;
  readonly traceId: string;
  /** What `platform.report` says. An invocation whose extensions overran is a `timeout` although the caller has its answer. */
  readonly status: Status;
  readonly payload: Buffer;
  readonly contentType: string;
  /** The value of `X-Amz-Function-Error`; absent when the function answered. */
  readonly functionError?: "Unhandled";
  readonly errorType?: string;
  /** The X-Ray error cause that the runtime sent, as JSON. */
  readonly errorCause?: string;
  /** From the event to the last `next`, extensions and a retried init included. */
  readonly durationMs: number;
  readonly billedDurationMs: number;
  /** From the event to the last byte of the answer; absent when the runtime gave none. */
  readonly responseMs?: number;
  /** Of the init phase, on the first invocation after one that succeeded. */
  readonly initDurationMs?: number;
  /** What extensions took after the runtime was done. */
  readonly overheadMs: number;
  /** See memory.ts. */
  readonly maxMemoryUsedMb: number;
  /** Whether this invocation was the first after an init. */
  readonly coldStart: boolean;
  /** The last 4 KB of log, up to the REPORT line. */
  readonly logTail: string;
}

/** What the sandbox knows and the run does not. */
export interface ResultFacts {
  readonly memoryMb: number;
  readonly maxMemoryUsedMb: number;
  readonly initDurationMs: number | undefined;
  readonly coldStart: boolean;
}

/** Writes the report of a run that was answered, and makes its result; `tail` is read after the report is written. */
export function reportResult(
  run: InvocationRun,
  outcome: Outcome,
  facts: ResultFacts,
  tools: { readonly clock: Clock; readonly platformLog: PlatformLog; readonly tail: () => string },
): InvokeResult {
  const { invocation, beganMs, startedMs, endedMs, responseEndedMs, errorCause } = run;
  const { requestId, traceId } = invocation;
  const { status, errorType } = verdict(run, outcome);
  const metrics = reportMetrics(rounded(endedMs - beganMs), facts);
  const overhead = overheadSpan(run, tools.clock);
  tools.platformLog.report(invocation, status, metrics, [overhead], errorType);
  return {
    requestId,
    traceId,
    status,
    ...run.answer!,
    ...(errorType === undefined ? {} : { errorType }),
    ...(errorCause === undefined ? {} : { errorCause }),
    durationMs: metrics.durationMs,
    billedDurationMs: metrics.billedDurationMs,
    ...(responseEndedMs === undefined ? {} : { responseMs: rounded(responseEndedMs - startedMs) }),
    ...(metrics.initDurationMs === undefined ? {} : { initDurationMs: metrics.initDurationMs }),
    overheadMs: overhead.durationMs,
    maxMemoryUsedMb: facts.maxMemoryUsedMb,
    coldStart: facts.coldStart,
    logTail: tools.tail(),
  };
}

/** Since August 2025 the init phase of every function is billed. */
function reportMetrics(durationMs: number, facts: ResultFacts): ReportMetrics {
  const initDurationMs = facts.initDurationMs === undefined ? undefined : rounded(facts.initDurationMs);
  return {
    durationMs,
    billedDurationMs: Math.ceil(durationMs + (initDurationMs ?? 0)),
    memorySizeMB: facts.memoryMb,
    maxMemoryUsedMB: facts.maxMemoryUsedMb,
    ...(initDurationMs === undefined ? {} : { initDurationMs }),
  };
}
