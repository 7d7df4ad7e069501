/**
 * One invocation, from the event to the moment when everybody is ready again.
 *
 * Owns the order of its phases and their time stamps. The caller's answer leaves as soon as the runtime gives it; the invocation
 * lasts until the runtime and every extension subscribed to INVOKE have asked for the next event. Source: the runtime interface
 * emulator, internal/lambda/rapid/handlers.go (`doInvoke`).
 */
import { randomUUID } from "node:crypto";
import type { Clock } from "../../src/clock.ts";
import { eventAnswer } from "./answers.ts";
import type { Budget } from "./budget.ts";
import type { Generation, Outcome } from "./generation.ts";
import type { FlowTools } from "./init-flow.ts";
import { type CallerAnswer, type Invocation, invokeEvent, nextHeaders } from "./invocation.ts";
import { rounded, type Span, type Status } from "./platform-log.ts";

/** An invocation that runs: its answer and its time stamps, in the clock's monotonic ms. */
export class InvocationRun {
  readonly invocation: Invocation;
  /** Resolves when the caller is answered. */
  readonly answered: Promise<CallerAnswer>;
  /** When it began, a retried init included, and when its event was handed out. */
  beganMs = 0;
  startedMs = 0;
  /** When the first byte of the answer came, and when the last. */
  responseStartedMs: number | undefined;
  responseEndedMs: number | undefined;
  runtimeDoneMs: number | undefined;
  endedMs = 0;
  producedBytes = 0;
  /** The X-Ray cause that came with an error, validated. */
  errorCause: string | undefined;
  #answer: CallerAnswer | undefined;
  #resolve!: (answer: CallerAnswer) => void;

  constructor(invocation: Invocation) {
    this.invocation = invocation;
    this.answered = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** What the caller got, once it did. */
  get answer(): CallerAnswer | undefined {
    return this.#answer;
  }

  /** Answers the caller; only the first answer counts. */
  giveAnswer(answer: CallerAnswer): void {
    if (this.#answer !== undefined) return;
    this.#answer = answer;
    this.#resolve(answer);
  }
}

/** Hands the event out and waits for everybody, within `budget`. */
export async function runInvocation(
  generation: Generation,
  run: InvocationRun,
  budget: Budget,
  tools: FlowTools,
): Promise<Outcome> {
  const { clock, timeline } = tools;
  const { roster } = generation;
  const { invocation } = run;
  run.startedMs = clock.now();
  timeline.add("invoke-start", { requestId: invocation.requestId });
  const subscribed = roster.extensions().filter(({ events }) => events.has("INVOKE"));
  const event = invokeEvent(invocation);
  for (const extension of subscribed)
    roster.release(extension, eventAnswer(event, { "Lambda-Extension-Event-Identifier": randomUUID() }));
  roster.releaseRuntime({ status: 200, body: invocation.payload, headers: nextHeaders(invocation) });

  let outcome = await generation.until(() => run.answer !== undefined, budget);
  if (outcome.kind === "done")
    outcome = await generation.until(() => roster.runtime.state === "Ready", budget);
  endRuntime(run, outcome, tools);
  if (outcome.kind === "done")
    outcome = await generation.until(() => subscribed.every(({ state }) => state === "Ready"), budget);
  run.endedMs = clock.now();
  return outcome;
}

/** The status and error type that telemetry gives an invocation. */
export function verdict(run: InvocationRun, outcome: Outcome): { status: Status; errorType?: string } {
  if (outcome.kind === "timeout") return { status: "timeout" };
  if (outcome.kind === "failed") {
    const { type } = outcome.fatal;
    return { status: type.startsWith("Sandbox.") ? "failure" : "error", errorType: type };
  }
  const errorType = run.answer?.errorType;
  return errorType === undefined ? { status: "success" } : { status: "error", errorType };
}

/** Notes that the runtime's part is over, however it went; also that of a runtime whose retried init failed. */
export function endRuntime(run: InvocationRun, outcome: Outcome, { clock, platformLog }: FlowTools): void {
  const { status, errorType } = verdict(run, outcome);
  run.runtimeDoneMs = clock.now();
  const durationMs = run.runtimeDoneMs - run.startedMs;
  platformLog.runtimeDone(
    run.invocation,
    status,
    { durationMs, producedBytes: run.producedBytes },
    runtimeSpans(run, clock),
    errorType,
  );
}

function runtimeSpans(run: InvocationRun, clock: Clock): Span[] {
  const { startedMs, responseStartedMs, responseEndedMs, runtimeDoneMs } = run;
  if (responseStartedMs === undefined || responseEndedMs === undefined) return [];
  return [
    span("responseLatency", startedMs, responseStartedMs, clock),
    span("responseDuration", responseStartedMs, responseEndedMs, clock),
    span("runtimeOverhead", responseEndedMs, runtimeDoneMs!, clock),
  ];
}

/** The time that extensions took after the runtime was done. */
export function overheadSpan(run: InvocationRun, clock: Clock): Span {
  return span("extensionOverhead", run.runtimeDoneMs ?? run.endedMs, run.endedMs, clock);
}

function span(name: Span["name"], fromMs: number, toMs: number, clock: Clock): Span {
  const start = new Date(clock.wall() - (clock.now() - fromMs)).toISOString();
  return { name, start, durationMs: rounded(toMs - fromMs) };
}
