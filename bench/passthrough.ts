/**
 * The bench `passthrough`: what does it cost to forward one small call?
 *
 * A request of 300 bytes and a response of 700 over kept-alive connections on both sides, the same bytes for every
 * subject. Owns the subjects, the order of the rounds and the bars; the procedure of one subject is in
 * `load/course.ts`.
 */

import type { Bench, BenchOptions, BenchResult } from "./bench.ts";
import { choose } from "./choose.ts";
import { busyConnections, type Counts, Course } from "./load/course.ts";
import { requestBytes, responseBytes } from "./load/messages.ts";
import { describeMachine, describeVersions } from "./machine.ts";
import { median, pairedRatio } from "./measure.ts";
import { haproxy } from "./peers/haproxy.ts";
import { nginx } from "./peers/nginx.ts";
import { nodeHttpAgent, nodeHttpUndici } from "./peers/node-peers.ts";
import { outrider } from "./peers/outrider.ts";
import type { Subject } from "./peers/subject.ts";
import { requireProc } from "./proc.ts";
import { type Bar, Samples } from "./report.ts";
import { seededRandom, shuffled } from "./seed.ts";
import { TemporaryFolder } from "./temporary-folder.ts";

const full: Counts & { readonly rounds: number } = {
  rounds: 5,
  warmUp: 20_000,
  busy: 60_000,
  single: 250,
  turns: 20,
};
const quick: typeof full = { rounds: 1, warmUp: 200, busy: 400, single: 20, turns: 2 };

/** No proxy at all: what the load generator and the origin cost by themselves. */
const direct: Subject = {
  name: "direct",
  form: "origin",
  version: undefined,
  absence: undefined,
  addedHeaders: [],
  start: async () => undefined,
};

/** The bench itself. */
export const passthrough: Bench = {
  name: "passthrough",
  question: "what does it cost to forward one small call over kept-alive connections?",
  subjects: ["outrider", "haproxy", "nginx", "node-http-undici", "node-http-agent", "direct"],
  run,
};

async function run(options: BenchOptions): Promise<BenchResult> {
  requireProc();
  const machine = describeMachine();
  const counts = options.quick ? quick : full;
  const rounds = options.rounds ?? counts.rounds;
  const { present, skipped } = choose(allSubjects(), options);
  for (const line of skipped) options.progress(line);
  const samples = new Samples(present.map(({ name }) => name));
  const random = seededRandom(options.seed);
  using folder = TemporaryFolder.make();
  await using course = await Course.open(folder.path, random);
  for (const subject of present) {
    await course.check(subject);
    options.progress(`${subject.name}: its answers are right`);
  }
  for (let round = 1; round <= rounds; round++) {
    for (const subject of shuffled(present, random)) {
      options.progress(`round ${round} of ${rounds}: ${subject.name} under load`);
      samples.add(subject.name, await course.underLoad(subject, counts));
    }
    options.progress(`round ${round} of ${rounds}: all in turns over one connection`);
    for (const turn of await course.inTurns(present, counts, random)) {
      for (const [subject, p50Us] of turn) samples.add(subject.name, { p50_us: p50Us });
    }
  }
  return {
    bench: passthrough.name,
    machine,
    versions: { ...describeVersions(), ...versionsOf(present) },
    seed: options.seed,
    rounds,
    rows: samples.rows(),
    ratios: samples.ratios("cpu_us_per_request", "haproxy"),
    bars: options.quick ? [] : barsOf(samples),
    notes: notesOf(counts),
    skipped,
  };
}

function allSubjects(): Subject[] {
  return [outrider(), haproxy(), nginx(), nodeHttpUndici(), nodeHttpAgent(), direct];
}

function versionsOf(subjects: readonly Subject[]): Record<string, string> {
  return Object.fromEntries(subjects.flatMap(({ name, version }) => (version ? [[name, version]] : [])));
}

function barsOf(samples: Samples): Bar[] {
  const cpuTo = (reference: string) => samples.ratio("cpu_us_per_request", "outrider", reference);
  const pssKb = samples.values("outrider", "pss_kb");
  return [
    { what: "CPU per request, to haproxy", unit: "×", measured: cpuTo("haproxy"), limit: 1.6, aim: 1.0 },
    {
      what: "CPU per request, to node-http-undici",
      unit: "×",
      measured: cpuTo("node-http-undici"),
      limit: 0.65,
      aim: undefined,
    },
    {
      what: "p50 added to direct at 1 connection, to haproxy",
      unit: "×",
      measured: pairedRatio(addedP50(samples, "outrider"), addedP50(samples, "haproxy")),
      limit: 2,
      aim: 1.2,
    },
    {
      what: "PSS after load",
      unit: "MB",
      measured: pssKb.length === 0 ? undefined : median(pssKb) / 1024,
      limit: 80,
      aim: 60,
    },
  ];
}

/** What a subject added to the p50 of a direct call, in µs, turn by turn; empty unless both ran. */
function addedP50(samples: Samples, subject: string): number[] {
  const direct = samples.values("direct", "p50_us");
  return direct.length === 0
    ? []
    : samples.values(subject, "p50_us").map((value, turn) => value - direct[turn]!);
}

function notesOf(counts: Counts): string[] {
  return [
    `A request of ${requestBytes} bytes and a response of ${responseBytes}; ${counts.warmUp} requests to warm up, ` +
      `${counts.busy} over ${busyConnections} connections; over one connection ${counts.turns} turns of ${counts.single} ` +
      "in each round, of which each counts as a round. Every answer is checked.",
    "Each round starts each subject anew, in an order drawn from the seed. nginx runs one worker and HAProxy one " +
      "thread, both as reverse proxies; the others are forward proxies. The Node peers run with Node's default flags.",
    "PSS counts a page that n processes map as 1/n: beside a subject at least three processes, the bench's, map the same " +
      "node binary. RSS counts it whole, which is the bound when nothing is shared.",
  ];
}
