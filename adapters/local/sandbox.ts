/**
 * The execution environment: its generations, its queue of one, its freezes and its end.
 *
 * Owns which flow runs when. The flows themselves are in init-flow.ts, invoke-flow.ts and shutdown.ts; the APIs read
 * `generation` and `current` and call back through the roster.
 */
import type { Clock } from "../../src/clock.ts";
import { PAYLOAD_BYTES_MAX } from "./answers.ts";
import { type Budget, Budgets } from "./budget.ts";
import { extensionEnvironment, functionEnvironment } from "./environment.ts";
import { Generation, type Outcome } from "./generation.ts";
import { type InitReport, runInit } from "./init-flow.ts";
import {
  acceptInvocation,
  type CallerAnswer,
  failureAnswer,
  type InvokeContext,
  type ShutdownReason,
  timeoutAnswer,
} from "./invocation.ts";
import { endRuntime, InvocationRun, runInvocation } from "./invoke-flow.ts";
import { type InvokeResult, reportResult } from "./invoke-result.ts";
import { type LogLine, LogTail } from "./logs.ts";
import { peakMemoryMb } from "./memory.ts";
import type { ResolvedOptions } from "./options.ts";
import { PlatformLog } from "./platform-log.ts";
import { SerialQueue } from "./queue.ts";
import { type ShutdownReport, shutDown } from "./shutdown.ts";
import { TelemetryRelay } from "./telemetry-relay.ts";
import type { Timeline } from "./timeline.ts";

/** An invocation that was let in. */
export interface Invoked {
  readonly requestId: string;
  readonly traceId: string;
  /** The caller's answer, as soon as there is one. */
  readonly answered: Promise<CallerAnswer>;
  /** Rejects with `InvokeRefused` when the emulator is shut down before it runs. */
  readonly done: Promise<InvokeResult>;
}

/** The queue is full, the payload too large, or the sandbox is ending. `code` is what the Invoke API calls it. */
export class InvokeRefused extends Error {
  readonly code: "TooManyRequestsException" | "RequestTooLargeException" | "ServiceException";

  constructor(code: InvokeRefused["code"], message: string) {
    super(message);
    this.name = "InvokeRefused";
    this.code = code;
  }
}

const ENDING = "The emulator is shutting down";

/** See the file's header. */
export class Sandbox {
  /** The processes that live, and their roster; absent before the first init and after a reset. */
  generation: Generation | undefined;
  /** The invocation that runs. */
  current: InvocationRun | undefined;
  readonly relay: TelemetryRelay;
  readonly platformLog: PlatformLog;
  readonly timeline: Timeline;
  readonly options: ResolvedOptions;
  readonly clock: Clock;
  readonly #budgets: Budgets;
  readonly #queue = new SerialQueue();
  #functionEnv: Readonly<Record<string, string>> = {};
  #invocations = 0;
  #running = false;
  #frozen = false;
  #firstInvocation = true;
  #initDurationMs: number | undefined;
  #tail = new LogTail();
  #ending: Promise<ShutdownReport> | undefined;

  constructor(options: ResolvedOptions, clock: Clock, timeline: Timeline) {
    this.options = options;
    this.clock = clock;
    this.timeline = timeline;
    this.#budgets = new Budgets(clock);
    this.relay = new TelemetryRelay(this.#budgets);
    this.platformLog = new PlatformLog(options, this.relay, clock, (line) => this.#log(line));
  }

  /** Begins the init phase. `runtimeApi` is the `host:port` that the processes are told. */
  start(runtimeApi: string): Promise<InitReport> {
    this.#functionEnv = functionEnvironment(this.options, runtimeApi);
    return this.#exclusively(async () => {
      const { report } = await this.#initialise("init", this.options.initTimeoutMs);
      if (report.status === "success") this.#initDurationMs = report.durationMs;
      else await this.#reset(report.status === "timeout" ? "timeout" : "failure");
      return report;
    });
  }

  /** Lets an invocation in, or throws `InvokeRefused`. */
  invoke(payload: Buffer, context: InvokeContext = {}): Invoked {
    if (this.#ending !== undefined) throw new InvokeRefused("ServiceException", ENDING);
    if (this.#invocations > this.options.queueMax)
      throw new InvokeRefused("TooManyRequestsException", "Rate Exceeded.");
    if (payload.length > PAYLOAD_BYTES_MAX)
      throw new InvokeRefused(
        "RequestTooLargeException",
        `Request must be smaller than ${PAYLOAD_BYTES_MAX} bytes for the InvokeFunction operation`,
      );
    const trace = { sampled: this.options.traceSampled, epochMs: this.clock.wall() };
    const run = new InvocationRun(acceptInvocation(this.options.functionArn, payload, context, trace));
    this.#invocations++;
    const done = this.#exclusively(() => this.#invoke(run).finally(() => this.#invocations--));
    // Not everybody waits for the end; a caller over HTTP has its answer earlier.
    done.catch(() => {});
    const { requestId, traceId } = run.invocation;
    return { requestId, traceId, answered: run.answered, done };
  }

  /** Stops every process, and the time of every limit. Does nothing when frozen, or when nothing lives. */
  freeze(): void {
    if (this.#frozen || this.generation === undefined) return;
    this.#frozen = true;
    this.#budgets.pause();
    for (const group of this.generation.processes()) group.signal("SIGSTOP");
    this.timeline.add("freeze");
  }

  /** Continues what `freeze` stopped. */
  thaw(): void {
    if (!this.#frozen) return;
    this.#frozen = false;
    this.timeline.add("thaw");
    for (const group of this.generation?.processes() ?? []) group.signal("SIGCONT");
    this.#budgets.resume();
  }

  /** Ends the sandbox after the invocation that runs, or at once with `now`, which fails it. Invocations that wait are refused. */
  shutdown({ now = false }: { now?: boolean } = {}): Promise<ShutdownReport> {
    this.#ending ??= this.#queue.push(() => this.#spindown());
    if (now && this.#running) {
      this.thaw();
      this.generation?.fail("Sandbox.Failure", ENDING);
    }
    return this.#ending;
  }

  /** A line of a process. */
  #log(line: LogLine): void {
    this.#tail.add(line.text);
    this.platformLog.processLine(line);
    this.options.onLog(line);
  }

  /** Runs `task` alone, and freezes afterwards unless something else waits. */
  #exclusively<T>(task: () => Promise<T>): Promise<T> {
    return this.#queue.push(async () => {
      this.#running = true;
      try {
        return await task();
      } finally {
        this.#running = false;
        if (this.options.freeze && this.#queue.pending === 1) this.freeze();
      }
    });
  }

  async #initialise(
    phase: InitReport["phase"],
    budget: number | Budget,
  ): Promise<{ generation: Generation; report: InitReport }> {
    this.relay.open();
    const generation = new Generation({
      options: this.options,
      timeline: this.timeline,
      functionEnv: this.#functionEnv,
      extensionEnv: extensionEnvironment(this.#functionEnv),
      onLog: (line) => this.#log(line),
      onFailure: () => void this.#exclusively(() => this.#sweep(generation)),
    });
    this.generation = generation;
    this.#firstInvocation = true;
    this.#initDurationMs = undefined;
    const own = typeof budget === "number" ? this.#budgets.begin(budget) : budget;
    const report = await runInit(generation, phase, own, this);
    if (own !== budget) this.#budgets.end(own);
    if (report.status === "success") this.relay.initDone();
    return { generation, report };
  }

  async #invoke(run: InvocationRun): Promise<InvokeResult> {
    const { timeoutMs } = this.options;
    if (this.#ending !== undefined) {
      const { requestId } = run.invocation;
      run.giveAnswer(failureAnswer(requestId, { type: "Sandbox.Failure", message: ENDING }));
      throw new InvokeRefused("ServiceException", ENDING);
    }
    this.thaw();
    // A process that died between two invocations: the environment is made anew, and this invocation does not suffer for it.
    if (this.generation?.failed !== undefined) await this.#reset("failure");
    this.#tail = new LogTail();
    this.current = run;
    run.beganMs = this.clock.now();
    run.startedMs = run.beganMs;
    run.invocation.deadlineMs = Math.round(this.clock.wall() + timeoutMs);
    const budget = this.#budgets.begin(timeoutMs);
    const outcome = await this.#serve(run, budget);
    this.#budgets.end(budget);
    if (outcome.kind === "timeout") run.giveAnswer(timeoutAnswer(run.invocation.requestId, timeoutMs));
    if (outcome.kind === "failed") run.giveAnswer(failureAnswer(run.invocation.requestId, outcome.fatal));
    // Output that was written before the last call of a process may still be in its pipe.
    await turnOfTheLoop();
    const result = this.#report(run, outcome);
    this.current = undefined;
    if (outcome.kind !== "done") await this.#reset(outcome.kind === "timeout" ? "timeout" : "failure");
    return result;
  }

  /** Serves the event, after a new init when the sandbox has none. */
  async #serve(run: InvocationRun, budget: Budget): Promise<Outcome> {
    let { generation } = this;
    let failure: Outcome | undefined;
    if (generation === undefined) {
      const { generation: fresh, report } = await this.#initialise("invoke", budget);
      generation = fresh;
      if (report.status === "timeout") failure = { kind: "timeout" };
      if (report.fatal !== undefined) failure = { kind: "failed", fatal: report.fatal };
    }
    this.platformLog.start(run.invocation);
    if (failure === undefined) return runInvocation(generation, run, budget, this);
    endRuntime(run, failure, this);
    run.endedMs = this.clock.now();
    return failure;
  }

  /** Writes the report of an invocation and makes the result of it. */
  #report(run: InvocationRun, outcome: Outcome): InvokeResult {
    const pids = (this.generation?.processes() ?? []).map(({ pid }) => pid);
    const facts = {
      memoryMb: this.options.memoryMb,
      maxMemoryUsedMb: peakMemoryMb(pids),
      initDurationMs: this.#initDurationMs,
      coldStart: this.#firstInvocation,
    };
    const { clock, platformLog } = this;
    const result = reportResult(run, outcome, facts, {
      clock,
      platformLog,
      tail: () => this.#tail.toString(),
    });
    this.timeline.add("invoke-done", { requestId: result.requestId, detail: result.status });
    this.#initDurationMs = undefined;
    this.#firstInvocation = false;
    return result;
  }

  /** A process ended while nothing ran: the rest of the generation is ended too, and the next invocation begins a new one. */
  async #sweep(generation: Generation): Promise<void> {
    if (generation === this.generation && generation.failed !== undefined) await this.#reset("failure");
  }

  /** Ends the generation; the folder that stands for /tmp stays, and the next invocation begins a new one. */
  async #reset(reason: ShutdownReason): Promise<void> {
    this.timeline.add("reset", { detail: reason });
    await this.#end(reason);
  }

  async #spindown(): Promise<ShutdownReport> {
    this.timeline.add("shutdown", { detail: "spindown" });
    const report = await this.#end("spindown");
    this.timeline.add("shutdown-done");
    return report;
  }

  async #end(reason: ShutdownReason): Promise<ShutdownReport> {
    const { generation } = this;
    if (generation === undefined) return { reason, durationMs: 0, processes: [] };
    this.thaw();
    this.relay.flush();
    const { clock, timeline } = this;
    const report = await shutDown(generation, reason, { clock, timeline, budgets: this.#budgets });
    this.relay.close();
    this.generation = undefined;
    return report;
  }
}

/** Lets everything that is readable now be read. */
async function turnOfTheLoop(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
}
