/**
 * The bench `intercept`: what does it cost to open TLS, govern the call inside, and close TLS again?
 *
 * The calls of the bench `passthrough`, sent through a tunnel to a proxy that opens them with its own authority, to an origin that
 * speaks TLS too. Owns the subjects, the order of the rounds and the bars; the procedure of one subject is in
 * `load/exchange-course.ts`.
 */

import type { Bench, BenchOptions, BenchResult } from "./bench.ts";
import { choose } from "./choose.ts";
import { tlsHost } from "./load/certificates.ts";
import { type ExchangeCounts, ExchangeCourse } from "./load/exchange-course.ts";
import { requestBytes, responseBytes } from "./load/messages.ts";
import { describeMachine, describeVersions } from "./machine.ts";
import { mitmproxy } from "./peers/mitmproxy.ts";
import { mockttp } from "./peers/mockttp.ts";
import { outriderIntercept } from "./peers/outrider-routed.ts";
import { type RoutedSubject, versionsOf } from "./peers/routed-subject.ts";
import { requireProc } from "./proc.ts";
import type { Bar, MetricName, Samples } from "./report.ts";
import { measureInRounds } from "./rounds.ts";
import { seededRandom } from "./seed.ts";
import { TemporaryFolder } from "./temporary-folder.ts";

const full: ExchangeCounts & { readonly rounds: number } = {
  rounds: 5,
  warmUp: 10_000,
  busy: 30_000,
  handshakes: 2_000,
  idle: 300,
  open: 300,
};
const quick: typeof full = { rounds: 1, warmUp: 100, busy: 200, handshakes: 20, idle: 10, open: 10 };

/** Connections under load, each with one request in flight. */
const connections = 32;

/** No proxy at all: what the load generator and the origin can do by themselves. */
const direct: RoutedSubject = {
  name: "direct",
  version: undefined,
  absence: undefined,
  addedHeaders: [],
  secureOrigin: true,
  share: 1,
  start: async ({ originPort, certificates: { ca } }) => ({
    server: undefined,
    route: { port: originPort, tls: { ca, serverName: tlsHost, alpn: "http/1.1" } },
  }),
};

/** The bench itself. */
export const intercept: Bench = {
  name: "intercept",
  question: "what does it cost to open TLS and govern the call inside?",
  subjects: ["outrider", "mockttp", "mitmproxy", "direct"],
  run,
};

async function run(options: BenchOptions): Promise<BenchResult> {
  requireProc();
  const machine = describeMachine();
  const counts = options.quick ? quick : full;
  const rounds = options.rounds ?? counts.rounds;
  const candidates = [outriderIntercept("http/1.1"), mockttp(), mitmproxy(), direct];
  const { present, skipped } = choose(candidates, options);
  for (const line of skipped) options.progress(line);
  const random = seededRandom(options.seed);
  using folder = TemporaryFolder.make();
  const shape = { protocol: "http1", connections, streams: 1 } as const;
  await using course = await ExchangeCourse.open(folder.path, shape, counts, random);
  const samples = await measureInRounds(present, rounds, course, random, options);
  return {
    bench: intercept.name,
    machine,
    versions: { ...describeVersions(), ...versionsOf(present) },
    seed: options.seed,
    rounds,
    rows: samples.rows(),
    ratios: samples.ratios("requests_per_s", "mitmproxy"),
    bars: options.quick ? [] : barsOf(samples),
    notes: notesOf(counts, present),
    skipped,
  };
}

function barsOf(samples: Samples): Bar[] {
  const bar = (what: string, metric: MetricName, reference: string, limit: number): Bar => ({
    what: `${what}, to ${reference}`,
    unit: "×",
    better: "more",
    measured: samples.ratio(metric, "outrider", reference),
    limit,
    aim: undefined,
  });
  return [
    bar("requests per second", "requests_per_s", "mitmproxy", 8),
    bar("requests per second", "requests_per_s", "mockttp", 2),
    bar("handshakes per second", "handshakes_per_s", "mitmproxy", 2),
    bar("handshakes per second", "handshakes_per_s", "mockttp", 1),
  ];
}

function notesOf(counts: ExchangeCounts, subjects: readonly RoutedSubject[]): string[] {
  const shares = subjects.flatMap(({ name, share }) => (share < 1 ? [`${name} ${share} of them`] : []));
  return [
    `A request of ${requestBytes} bytes and a response of ${responseBytes}, HTTP/1.1 inside TLS inside CONNECT; ${counts.warmUp} ` +
      `requests to warm up, ${counts.busy} over ${connections} connections, then ${counts.handshakes} connections with one request ` +
      `each${shares.length > 0 ? ` (${shares.join(", ")})` : ""}. Every answer and every certificate is checked. No session is resumed.`,
    "Each round starts each subject anew, in an order drawn from the seed. Each makes its authority and its keys as it does by " +
      "default: P-256 in Outrider, RSA of 2048 bits in the others. To the origin Outrider shares its connections, the others open " +
      "one for each of the client's.",
    `Memory for each of ${counts.idle} idle connections, after one request each, and for each of ${counts.open} requests that the origin ` +
      "leaves unanswered, by PSS, in a process of its own.",
    "Load + origin CPU is what the bench's own two processes spend: where it is more than a subject spends, that subject could do more " +
      "requests per second than the table says.",
  ];
}
