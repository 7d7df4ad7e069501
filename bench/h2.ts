/**
 * The bench `h2`: what does it cost to forward a small call over HTTP/2 on both sides?
 *
 * Many streams on a few connections, through interception and by prior knowledge (h2c). Owns the subjects and the bars; the
 * procedure of one subject is in `load/exchange-course.ts`.
 */

import type { Bench, BenchOptions, BenchResult } from "./bench.ts";
import { choose } from "./choose.ts";
import { tlsHost } from "./load/certificates.ts";
import { type ExchangeCounts, ExchangeCourse } from "./load/exchange-course.ts";
import { describeMachine, describeVersions } from "./machine.ts";
import { median } from "./measure.ts";
import { nodeHttp2, nodeHttp2Plain } from "./peers/node-routed-peers.ts";
import { outriderH2c, outriderIntercept } from "./peers/outrider-routed.ts";
import { type RoutedSubject, versionsOf } from "./peers/routed-subject.ts";
import { requireProc } from "./proc.ts";
import type { Bar, MetricName, Samples } from "./report.ts";
import { measureInRounds } from "./rounds.ts";
import { seededRandom } from "./seed.ts";
import { TemporaryFolder } from "./temporary-folder.ts";

const full: ExchangeCounts & { readonly rounds: number } = {
  rounds: 5,
  warmUp: 20_000,
  busy: 60_000,
  handshakes: 0,
  idle: 200,
  open: 1_000,
};
const quick: typeof full = { rounds: 1, warmUp: 200, busy: 400, handshakes: 0, idle: 10, open: 100 };

/** Connections under load, and streams at once on each. */
const shape = { protocol: "http2", connections: 4, streams: 50 } as const;

/** The bench itself. */
export const h2: Bench = {
  name: "h2",
  question: "what does it cost to forward one small call over HTTP/2?",
  subjects: ["outrider", "outrider-h2c", "node-http2", "node-http2-h2c", "direct", "direct-h2c"],
  run,
};

/** No proxy at all: what the load generator and the origin can do by themselves. */
function direct(name: string, secureOrigin: boolean): RoutedSubject {
  return {
    name,
    version: undefined,
    absence: undefined,
    addedHeaders: [],
    secureOrigin,
    share: 1,
    start: async ({ originPort, certificates: { ca } }) => {
      const tls = { ca, serverName: tlsHost, alpn: "h2" } as const;
      return { server: undefined, route: { port: originPort, ...(secureOrigin ? { tls } : {}) } };
    },
  };
}

async function run(options: BenchOptions): Promise<BenchResult> {
  requireProc();
  const machine = describeMachine();
  const counts = options.quick ? quick : full;
  const rounds = options.rounds ?? counts.rounds;
  const candidates = [
    ...[outriderIntercept("h2"), outriderH2c()],
    ...[nodeHttp2(), nodeHttp2Plain()],
    ...[direct("direct", true), direct("direct-h2c", false)],
  ];
  const { present, skipped } = choose(candidates, options);
  for (const line of skipped) options.progress(line);
  const random = seededRandom(options.seed);
  using folder = TemporaryFolder.make();
  await using course = await ExchangeCourse.open(folder.path, shape, counts, random);
  const samples = await measureInRounds(present, rounds, course, random, options);
  return {
    bench: h2.name,
    machine,
    versions: { ...describeVersions(), ...versionsOf(present) },
    seed: options.seed,
    rounds,
    rows: samples.rows(),
    ratios: samples.ratios("cpu_us_per_request", "node-http2"),
    bars: options.quick ? [] : barsOf(samples),
    notes: notesOf(counts),
    skipped,
  };
}

function barsOf(samples: Samples): Bar[] {
  const cpu = (subject: string, reference: string): Bar => ({
    what: `CPU per request, ${subject} to ${reference}`,
    unit: "×",
    measured: samples.ratio("cpu_us_per_request", subject, reference),
    limit: 1.25,
    aim: 1,
  });
  const kb = (what: string, metric: MetricName, limit: number, aim: number): Bar => {
    const values = samples.values("outrider", metric);
    return { what, unit: "KB", measured: values.length === 0 ? undefined : median(values), limit, aim };
  };
  return [
    cpu("outrider", "node-http2"),
    cpu("outrider-h2c", "node-http2-h2c"),
    kb("PSS of an idle connection", "idle_connection_kb", 200, 100),
    kb("PSS of an open stream", "open_exchange_kb", 40, 20),
  ];
}

function notesOf(counts: ExchangeCounts): string[] {
  const { connections, streams } = shape;
  return [
    `The fields and the body of the bench passthrough; ${counts.warmUp} requests to warm up, ${counts.busy} over ${connections} ` +
      `connections with ${streams} streams each. Every answer is checked.`,
    "outrider opens TLS inside CONNECT with its own authority and speaks TLS to the origin; outrider-h2c speaks HTTP/2 by prior knowledge inside " +
      "CONNECT and to the origin. node-http2 is a reverse proxy with the compatibility API of node:http2 and one client session, under Node's default flags; " +
      "node-http2-h2c is the same without TLS.",
    `Memory for each of ${counts.idle} idle connections, after one request each, and for each of ${counts.open} streams that the origin ` +
      "leaves unanswered, by PSS, in a process of its own.",
    "Load + origin CPU is what the bench's own two processes spend: where it is more than a subject spends, that subject could do more " +
      "requests per second than the table says.",
  ];
}
