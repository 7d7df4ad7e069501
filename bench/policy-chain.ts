/**
 * The bench `policy-chain`: what does each stage of the chain cost a call, and what all of them together?
 *
 * The messages of the bench `passthrough` through the built proxy, once without any stage, once for each stage alone, once with all.
 * All of them run at once and take short turns in an order drawn from the seed, so that a turn's figures are neighbours in time; a
 * ratio is the median of the ratios within the turns.
 */

import type { Bench, BenchOptions, BenchResult } from "./bench.ts";
import { choose } from "./choose.ts";
import { ChainCourse } from "./load/chain-course.ts";
import { busyConnections, type Counts, Course } from "./load/course.ts";
import { describeMachine, describeVersions } from "./machine.ts";
import { STAGES, stagePolicy, stageSubjects } from "./peers/outrider-stages.ts";
import { requireProc } from "./proc.ts";
import { Samples } from "./report.ts";
import { seededRandom, shuffled } from "./seed.ts";
import { TemporaryFolder } from "./temporary-folder.ts";

/** Calls in a turn of the chain alone, and before its turns are timed. */
const chainCalls = { full: { turn: 3000, warmUp: 20_000 }, quick: { turn: 100, warmUp: 100 } };

const full: Counts = { warmUp: 20_000, busy: 2000, single: 0, turns: 40 };
const quick: Counts = { warmUp: 200, busy: 200, single: 0, turns: 1 };

/** The bench itself. */
export const policyChain: Bench = {
  name: "policy-chain",
  question: "what does each stage of the policy chain cost a call, alone and all together?",
  subjects: stageSubjects().map(({ name }) => name),
  run,
};

async function run(options: BenchOptions): Promise<BenchResult> {
  requireProc();
  const machine = describeMachine();
  const counts = { ...(options.quick ? quick : full) };
  const turns = options.rounds ?? counts.turns;
  const { present, skipped } = choose(stageSubjects(), options);
  for (const line of skipped) options.progress(line);
  const samples = new Samples(present.map(({ name }) => name));
  const random = seededRandom(options.seed);
  using folder = TemporaryFolder.make();
  await using course = await Course.open(folder.path, random);
  for (const subject of present) {
    await course.check(subject);
    options.progress(`${subject.name}: its answers are right`);
  }
  options.progress(`all in ${turns} turns of ${counts.busy} calls`);
  for (const turn of await course.cpuInTurns(present, { ...counts, turns }, random)) {
    for (const [subject, cpuUs] of turn) samples.add(subject.name, { cpu_us_per_request: cpuUs });
  }
  options.progress(`the chains alone in ${turns} turns`);
  await measureChains(present, turns, options.quick ? chainCalls.quick : chainCalls.full, random, samples);
  const all = samples.ratio("cpu_us_per_request", "all", "none");
  return {
    bench: policyChain.name,
    machine,
    versions: describeVersions(),
    seed: options.seed,
    rounds: turns,
    rows: samples.rows(),
    ratios: samples.ratios("cpu_us_per_request", "none"),
    bars: options.quick
      ? []
      : [{ what: "CPU per request, all stages to none", unit: "×", measured: all, limit: 1.35, aim: 1.2 }],
    notes: notesOf(counts),
    skipped,
  };
}

/** The same turns without sockets, in this process. */
async function measureChains(
  subjects: readonly { readonly name: string }[],
  turns: number,
  calls: { readonly turn: number; readonly warmUp: number },
  random: () => number,
  samples: Samples,
): Promise<void> {
  const chains = STAGES.filter((stage) => subjects.some(({ name }) => name === stage.name)).map((stage) => ({
    name: stage.name,
    course: new ChainCourse((originPort) => stagePolicy({ port: 0, originPort, stage })),
  }));
  for (const { course } of chains) await course.cpuUsPerCall(calls.warmUp);
  for (let turn = 0; turn < turns; turn++) {
    for (const { name, course } of shuffled(chains, random)) {
      samples.add(name, { chain_us_per_call: await course.cpuUsPerCall(calls.turn) });
    }
  }
}

function notesOf(counts: Counts): string[] {
  return [
    `CPU of the proxy's process for one small call over ${busyConnections} kept-alive connections; ${counts.warmUp} calls to warm up, then turns of ` +
      `${counts.busy}, of which each counts as a round. Every answer is checked, and what a stage adds is seen at the origin.`,
    "stages alone: the same chains in the bench's own process, without sockets, over an upstream that answers in the next turn of the event " +
      "loop; what none costs there is that upstream and the call itself.",
    "none has no stage but the deadline, which is always there and has nothing to bound the call by. Each stage does its work for every " +
      "call and lets all of them pass; mirror and fault are drawn for one call in a thousand. The answers say `no-store`, so " +
      "stale-if-error keeps none of them. Fleet-wide limits are not among them: they need a store.",
  ];
}
