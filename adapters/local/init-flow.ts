/**
 * The init phase: extensions, then the runtime, then everybody ready.
 *
 * Owns the order and what ends it. Source: the runtime interface emulator, internal/lambda/rapid/handlers.go
 * (`doRuntimeDomainInit`): the runtime's process is not even started before every external extension has registered.
 */
import type { Clock } from "../../src/clock.ts";
import type { Budget } from "./budget.ts";
import type { Generation, Outcome } from "./generation.ts";
import type { Fatal } from "./invocation.ts";
import type { InitPhase, PlatformLog } from "./platform-log.ts";
import type { ExtensionKind, ExtensionState } from "./states.ts";
import type { Timeline } from "./timeline.ts";

/** An extension at the end of init. */
export interface ExtensionReport {
  readonly name: string;
  readonly kind: ExtensionKind;
  readonly state: ExtensionState;
  readonly events: readonly string[];
  readonly errorType?: string;
}

/** How the init phase went. */
export interface InitReport {
  readonly phase: InitPhase;
  readonly status: "success" | "error" | "timeout";
  readonly durationMs: number;
  /** Why not, when it did not succeed. */
  readonly fatal?: Fatal;
  readonly extensions: readonly ExtensionReport[];
}

/** What the flow reports to, and reads time from. */
export interface FlowTools {
  readonly clock: Clock;
  readonly timeline: Timeline;
  readonly platformLog: PlatformLog;
}

/** Runs the init phase of a new generation within `budget`. The generation is left as it is when it fails. */
export async function runInit(
  generation: Generation,
  phase: InitPhase,
  budget: Budget,
  tools: FlowTools,
): Promise<InitReport> {
  const { clock, timeline, platformLog } = tools;
  const startedMs = clock.now();
  timeline.add("init-start", { detail: phase });
  platformLog.initStart(phase);
  const outcome = await initialise(generation, phase, budget, platformLog);
  const durationMs = clock.now() - startedMs;
  const status = outcome.kind === "done" ? "success" : outcome.kind === "timeout" ? "timeout" : "error";
  const fatal = outcome.kind === "failed" ? outcome.fatal : undefined;
  const extensions = generation.roster.extensions();
  for (const extension of extensions) platformLog.extension(extension);
  platformLog.initReport(phase, status, durationMs, fatal?.type);
  timeline.add("init-done", { detail: status });
  return {
    phase,
    status,
    durationMs,
    ...(fatal === undefined ? {} : { fatal }),
    extensions: extensions.map(({ name, kind, state, events, errorType }) => ({
      name,
      kind,
      state,
      events: [...events].sort(),
      ...(errorType === undefined ? {} : { errorType }),
    })),
  };
}

async function initialise(
  generation: Generation,
  phase: InitPhase,
  budget: Budget,
  platformLog: PlatformLog,
): Promise<Outcome> {
  const { roster } = generation;
  await generation.startExtensions();
  const registered = () => roster.extensions("external").every(({ state }) => state !== "Started");
  let outcome = await generation.until(registered, budget);
  if (outcome.kind !== "done") return outcome;
  // A failed launch leaves no extension in `Started`, so the condition may hold although the generation has failed.
  if (generation.failed !== undefined) return { kind: "failed", fatal: generation.failed };
  await generation.startRuntime();
  outcome = await generation.until(() => roster.runtime.state === "Ready", budget);
  const status = outcome.kind === "done" ? "success" : outcome.kind === "timeout" ? "timeout" : "error";
  platformLog.initRuntimeDone(phase, status, outcome.kind === "failed" ? outcome.fatal.type : undefined);
  if (outcome.kind !== "done") return outcome;
  roster.registrationOpen = false;
  outcome = await generation.until(() => roster.extensions().every(({ state }) => state === "Ready"), budget);
  if (outcome.kind === "done") roster.telemetryOpen = false;
  return outcome;
}
