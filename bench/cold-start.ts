/**
 * The bench `cold-start`: how long does a new sandbox wait for the extension?
 *
 * Lambda starts the runtime only after every extension has called `register`, so the time from spawning the process
 * to the arrival of that call is what a cold start pays. Owns the procedure and the bar; the processes are in
 * `peers/starters.ts`, the stub that they register with in `peers/extensions-api.ts`.
 */

import { setTimeout as sleep } from "node:timers/promises";
import type { Bench, BenchOptions, BenchResult } from "./bench.ts";
import { choose } from "./choose.ts";
import { describeMachine, describeVersions } from "./machine.ts";
import { ExtensionsApi } from "./peers/extensions-api.ts";
import { type Command, type StartedProcess, startProcess } from "./peers/server-process.ts";
import { type Starter, starters } from "./peers/starters.ts";
import { cpuUsOf, memoryOf, requireProc } from "./proc.ts";
import { type Bar, type MetricName, type Ratios, Samples } from "./report.ts";
import { seededRandom, shuffled } from "./seed.ts";
import { TemporaryFolder } from "./temporary-folder.ts";

const fullRounds = 25;
const quickRounds = 2;
/** A subject that has neither registered nor ended by then fails the bench. */
const startMaxMs = 30_000;
/** Idle is a span of `idleSpanMs` in which a process uses less than `idleCpuUs`; it is awaited for `idleWaitMaxMs`. */
const idleSpanMs = 100;
const idleCpuUs = 1_000;
const idleWaitMaxMs = 5_000;

const notes = [
  "The time is from spawning the process to the arrival of its register call at a stub on loopback; for bare-node, " +
    "which runs an empty file, to its end. One round that does not count comes first.",
  "net-only binds a port and registers over node:net. node-http-undici is bundled into one file, as Outrider is.",
  "PSS and RSS are those of the registered extension once it idles in event/next. PSS counts a page that n processes " +
    "map as 1/n: beside a subject at least one process, the bench's, maps the same node binary.",
];

/** The bench itself. */
export const coldStart: Bench = {
  name: "cold-start",
  question: "how long after its process is spawned does an extension call register?",
  subjects: starters.map(({ name }) => name),
  run,
};

/** A starter that is ready to be started, any number of times. */
interface Prepared {
  readonly command: Command;
  readonly until: Starter["until"];
}

async function run(options: BenchOptions): Promise<BenchResult> {
  requireProc();
  const machine = describeMachine();
  const rounds = options.rounds ?? (options.quick ? quickRounds : fullRounds);
  const { present, skipped } = choose(starters, options);
  for (const line of skipped) options.progress(line);
  const samples = new Samples(present.map(({ name }) => name));
  const random = seededRandom(options.seed);
  using folder = TemporaryFolder.make();
  await using api = await ExtensionsApi.open();
  const prepared: Prepared[] = [];
  for (const { name, until, prepare } of present) {
    const { file, args, env } = await prepare(folder.path);
    const sandbox = { AWS_LAMBDA_RUNTIME_API: api.address, TMPDIR: folder.path };
    prepared.push({ until, command: { name, file, args, env: { ...sandbox, ...env } } });
  }
  // Round 0 brings the files into the page cache and checks every subject before any is timed.
  for (let round = 0; round <= rounds; round++) {
    options.progress(round === 0 ? "checking that every subject registers" : `round ${round} of ${rounds}`);
    for (const subject of shuffled(prepared, random)) {
      const measured = await measure(subject, api);
      if (round > 0) samples.add(subject.command.name, measured);
    }
  }
  const ratios = samples.ratios("register_ms", "bare-node");
  return {
    bench: coldStart.name,
    machine,
    versions: describeVersions(),
    seed: options.seed,
    rounds,
    rows: samples.rows(),
    ratios,
    bars: options.quick ? [] : [barOf(ratios)],
    notes,
    skipped,
  };
}

function barOf({ bySubject: { outrider } }: Ratios): Bar {
  return { what: "spawn to register, to bare-node", unit: "×", measured: outrider, limit: 1.3, aim: 1.1 };
}

/** One start of one subject. */
async function measure(subject: Prepared, api: ExtensionsApi): Promise<Partial<Record<MetricName, number>>> {
  const { name } = subject.command;
  const arrival = api.expect();
  const spawnedAtMs = performance.now();
  const started = await startProcess(subject.command);
  const endedAtMs = started.ended.then(() => performance.now());
  try {
    if (subject.until === "exit") return { register_ms: (await within(endedAtMs, name)) - spawnedAtMs };
    const early = endedAtMs.then(() => {
      throw new Error(`${name} ended before it had registered: ${started.stderrTail() || "no message"}`);
    });
    const registeredAtMs = await within(Promise.race([arrival.registeredAtMs, early]), name);
    await within(Promise.race([arrival.polled, early]), name);
    await untilIdle(started);
    const { pssKb, rssKb } = memoryOf(started.pid);
    return { register_ms: registeredAtMs - spawnedAtMs, pss_kb: pssKb, rss_kb: rssKb };
  } finally {
    await started.stop();
  }
}

/** Waits until the process does nothing but wait, or until `idleWaitMaxMs` have passed. */
async function untilIdle({ pid }: StartedProcess): Promise<void> {
  const giveUpAtMs = performance.now() + idleWaitMaxMs;
  let usedUs = Number.NEGATIVE_INFINITY;
  for (let nowUs = cpuUsOf(pid); nowUs - usedUs > idleCpuUs; nowUs = cpuUsOf(pid)) {
    if (performance.now() > giveUpAtMs) return;
    usedUs = nowUs;
    await sleep(idleSpanMs);
  }
}

async function within<T>(awaited: Promise<T>, name: string): Promise<T> {
  const abort = new AbortController();
  const silence = sleep(startMaxMs, undefined, { signal: abort.signal }).then(() => {
    throw new Error(`${name} did nothing for ${startMaxMs / 1000} s after it was started`);
  });
  try {
    return await Promise.race([awaited, silence]);
  } finally {
    abort.abort();
    silence.catch(() => undefined);
  }
}
