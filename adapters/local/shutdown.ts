/**
 * How an environment ends: at spindown, and at every reset.
 *
 * Owns the order (runtime first, extensions after), the budgets and the kills. The plan is pure; carrying it out waits for
 * processes, each time with a bound. Sources: "Understanding the Lambda execution environment lifecycle" of the AWS Lambda
 * Developer Guide; the runtime interface emulator, internal/lambda/rapid/shutdown.go.
 */
import type { Clock } from "../../src/clock.ts";
import { eventAnswer } from "./answers.ts";
import type { Budget, Budgets } from "./budget.ts";
import type { Generation } from "./generation.ts";
import { type ShutdownReason, shutdownEvent } from "./invocation.ts";
import { describeExit, type ProcessGroup } from "./processes.ts";
import type { Extension } from "./roster.ts";
import type { Timeline } from "./timeline.ts";

/** What is done to whom, and how long it may take. */
export interface ShutdownPlan {
  /** From the beginning to the last kill, in ms. */
  readonly budgetMs: number;
  /** `kill` gives the runtime no chance; `terminate` sends SIGTERM and waits `runtimeMs`. */
  readonly runtime: "kill" | "terminate";
  readonly runtimeMs: number;
  /** Extensions that are told with a SHUTDOWN event, and those that are killed untold. */
  readonly told: readonly string[];
  readonly killed: readonly string[];
}

/** Budgets in ms, by who is registered. */
const INTERNAL_ONLY_MS = 500;
const WITH_EXTERNAL_MS = 2_000;
/** What the runtime may use of the budget while extensions wait for their turn. */
const RUNTIME_SHARE = 0.3;

/** How long a killed process may take to disappear (it may hang in the kernel). */
const EXIT_MS_MAX = 2_000;

/** How one process ended. `killed` is true when it had to be. */
export interface ProcessEnd {
  readonly name: string;
  readonly pid: number;
  /** `exit status 0`, `signal: killed`, or `still running` beyond every bound. */
  readonly exit: string;
  readonly killed: boolean;
}

/** How an environment ended. */
export interface ShutdownReport {
  readonly reason: ShutdownReason;
  readonly durationMs: number;
  readonly processes: readonly ProcessEnd[];
}

/** Decides the shutdown of these extensions and the runtime beside them. */
export function shutdownPlan(
  extensions: readonly Pick<Extension, "name" | "kind" | "events">[],
): ShutdownPlan {
  const external = extensions.filter(({ kind }) => kind === "external");
  const told = external.filter(({ events }) => events.has("SHUTDOWN")).map(({ name }) => name);
  const killed = external.filter(({ events }) => !events.has("SHUTDOWN")).map(({ name }) => name);
  if (extensions.length === 0) return { budgetMs: 0, runtime: "kill", runtimeMs: 0, told, killed };
  if (external.length === 0)
    return {
      budgetMs: INTERNAL_ONLY_MS,
      runtime: "terminate",
      runtimeMs: INTERNAL_ONLY_MS,
      told,
      killed,
    };
  return {
    budgetMs: WITH_EXTERNAL_MS,
    runtime: "terminate",
    runtimeMs: WITH_EXTERNAL_MS * RUNTIME_SHARE,
    told,
    killed,
  };
}

/** What carrying out a plan needs. */
export interface ShutdownTools {
  readonly clock: Clock;
  readonly budgets: Budgets;
  readonly timeline: Timeline;
}

/** Ends every process of `generation`, which must be thawed. Afterwards none is left, or the report says so. */
export async function shutDown(
  generation: Generation,
  reason: ShutdownReason,
  tools: ShutdownTools,
): Promise<ShutdownReport> {
  const { clock, budgets, timeline } = tools;
  const startedMs = clock.now();
  const plan = shutdownPlan(generation.roster.extensions());
  const deadlineMs = Math.round(clock.wall() + plan.budgetMs);
  const budget = budgets.begin(plan.budgetMs);
  const killed = new Set<string>();
  const kill = (group: ProcessGroup) => {
    if (group.gone) return;
    killed.add(group.name);
    timeline.add("sigkill", { process: group.name });
    group.signal("SIGKILL");
  };
  generation.closing = true;
  await endRuntime(generation, plan, tools, kill);
  await endExtensions(generation, plan, shutdownEvent(reason, deadlineMs), { timeline, budget, kill });
  budgets.end(budget);
  const groups = generation.processes();
  for (const group of groups) kill(group);
  await withinMs(budgets, EXIT_MS_MAX, Promise.all(groups.map(({ exited }) => exited)));
  const processes = groups.map(({ name, pid, exit }) => ({
    name,
    pid,
    exit: exit === undefined ? "still running" : describeExit(exit),
    killed: killed.has(name),
  }));
  return { reason, durationMs: clock.now() - startedMs, processes };
}

async function endRuntime(
  { runtime }: Generation,
  plan: ShutdownPlan,
  { budgets, timeline }: ShutdownTools,
  kill: (group: ProcessGroup) => void,
): Promise<void> {
  if (runtime === undefined || runtime.gone) return;
  if (plan.runtime === "terminate") {
    timeline.add("sigterm", { process: "runtime" });
    runtime.signal("SIGTERM");
    await withinMs(budgets, plan.runtimeMs, runtime.exited);
  }
  kill(runtime);
  // Extensions are told only when the runtime is gone: what it flushes last still finds them up.
  await withinMs(budgets, EXIT_MS_MAX, runtime.exited);
}

async function endExtensions(
  { extensions, roster }: Generation,
  plan: ShutdownPlan,
  event: object,
  { timeline, budget, kill }: { timeline: Timeline; budget: Budget; kill: (group: ProcessGroup) => void },
): Promise<void> {
  for (const name of plan.killed) {
    const group = extensions.get(name);
    if (group !== undefined) kill(group);
  }
  const waiting = roster.extensions("external").filter(({ name }) => plan.told.includes(name));
  const exits = waiting.map(async (extension) => {
    const group = extensions.get(extension.name);
    if (group === undefined || group.gone) return;
    timeline.add("shutdown-event", { process: extension.name });
    roster.release(extension, eventAnswer(event));
    const exit = await group.exited;
    roster.advance(extension, exit.code === 0 ? "exited" : "shutdownFailed");
  });
  await Promise.race([Promise.all(exits), budget.expired]);
}

/** Waits for `promise`, at most `ms` of unfrozen time. */
async function withinMs(budgets: Budgets, ms: number, promise: Promise<unknown>): Promise<void> {
  const budget = budgets.begin(ms);
  await Promise.race([promise, budget.expired]);
  budgets.end(budget);
}
