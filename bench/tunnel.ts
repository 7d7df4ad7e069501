/**
 * The bench `tunnel`: what does it cost to pass bytes that nobody reads?
 *
 * Bulk bytes each way, connections that are opened and closed, and tunnels that idle. Owns the subjects and the bars; the
 * procedure of one subject is in `load/tunnel-course.ts`.
 */

import type { Bench, BenchOptions, BenchResult } from "./bench.ts";
import { choose } from "./choose.ts";
import { bulkConnections, connectsAtOnce, type TunnelCounts, TunnelCourse } from "./load/tunnel-course.ts";
import { describeMachine, describeVersions } from "./machine.ts";
import { median } from "./measure.ts";
import { haproxyTcp } from "./peers/haproxy.ts";
import { netPipe } from "./peers/node-routed-peers.ts";
import { outriderTunnel } from "./peers/outrider-routed.ts";
import { type RoutedSubject, versionsOf } from "./peers/routed-subject.ts";
import { requireProc } from "./proc.ts";
import type { Bar, Samples } from "./report.ts";
import { measureInRounds } from "./rounds.ts";
import { seededRandom } from "./seed.ts";
import { TemporaryFolder } from "./temporary-folder.ts";

const full: TunnelCounts & { readonly rounds: number } = {
  rounds: 5,
  warmUpMb: 256,
  mb: 2048,
  connects: 6_000,
  idle: 500,
};
const quick: typeof full = { rounds: 1, warmUpMb: 2, mb: 4, connects: 50, idle: 10 };

/** No proxy at all: what the generator and the origin can do by themselves. */
const direct: RoutedSubject = {
  name: "direct",
  version: undefined,
  absence: undefined,
  addedHeaders: [],
  secureOrigin: false,
  share: 1,
  start: async ({ originPort }) => ({ server: undefined, route: { port: originPort } }),
};

/** The bench itself. */
export const tunnel: Bench = {
  name: "tunnel",
  question: "what does it cost to pass bytes that nobody reads?",
  subjects: ["outrider", "haproxy", "net-pipe", "direct"],
  run,
};

async function run(options: BenchOptions): Promise<BenchResult> {
  requireProc();
  const machine = describeMachine();
  const counts = options.quick ? quick : full;
  const rounds = options.rounds ?? counts.rounds;
  const { present, skipped } = choose([outriderTunnel(), haproxyTcp(), netPipe(), direct], options);
  for (const line of skipped) options.progress(line);
  const random = seededRandom(options.seed);
  using folder = TemporaryFolder.make();
  await using course = await TunnelCourse.open(folder.path, counts, options.seed);
  const samples = await measureInRounds(present, rounds, course, random, options);
  return {
    bench: tunnel.name,
    machine,
    versions: { ...describeVersions(), ...versionsOf(present) },
    seed: options.seed,
    rounds,
    rows: samples.rows(),
    ratios: samples.ratios("cpu_us_per_mb", "net-pipe"),
    bars: options.quick ? [] : barsOf(samples),
    notes: notesOf(counts),
    skipped,
  };
}

function barsOf(samples: Samples): Bar[] {
  const idleKb = samples.values("outrider", "idle_connection_kb");
  return [
    {
      what: "CPU per MB, to net-pipe",
      unit: "×",
      measured: samples.ratio("cpu_us_per_mb", "outrider", "net-pipe"),
      limit: 1.25,
      aim: 1,
    },
    {
      what: "CPU per MB, to haproxy",
      unit: "×",
      measured: samples.ratio("cpu_us_per_mb", "outrider", "haproxy"),
      limit: 2,
      aim: 1.25,
    },
    {
      what: "CPU per connection, to net-pipe",
      unit: "×",
      measured: samples.ratio("cpu_us_per_connect", "outrider", "net-pipe"),
      limit: 3,
      aim: 2,
    },
    {
      what: "PSS of an idle tunnel",
      unit: "KB",
      measured: idleKb.length === 0 ? undefined : median(idleKb),
      limit: 64,
      aim: 32,
    },
  ];
}

function notesOf(counts: TunnelCounts): string[] {
  return [
    `${counts.mb} MB (2^20 bytes) each way over ${bulkConnections} connections, plain TCP, after ${counts.warmUpMb} each way to warm up; ` +
      `${counts.connects} connections, ${connectsAtOnce} at a time, each closed after one byte each way; ${counts.idle} tunnels that ` +
      "idle. Every byte is checked, on both sides.",
    "Outrider is asked by CONNECT and looks at the first bytes, because the port is not 443; resolves a name each time and writes " +
      "a record; the others know one address and are asked nothing. HAProxy runs one thread in TCP mode, without splicing, which is its default.",
    "Each round starts each subject anew, in an order drawn from the seed. The client and the origin share two cores with the subject: " +
      "CPU per MB is the steadier figure.",
  ];
}
