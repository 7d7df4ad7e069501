/**
 * The bench `fleet`: what does a rate limit that sandboxes share add to the time of a call?
 *
 * Calls through the stage alone, in this process, one after the other; the upstream answers at once, so that the difference between the
 * subjects is the stages' own. The store is a real redis-server on loopback. Owns the subjects, the procedure and the bar.
 */

import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises";
import { Body } from "../src/body.ts";
import { systemClock } from "../src/clock.ts";
import type { FleetOptions, RateLimitOptions } from "../src/config/types.ts";
import { EgressRequest, EgressResponse, type Send } from "../src/exchange.ts";
import { createFleet, type Fleet } from "../src/fleet/fleet.ts";
import { ASK_JITTER, ASK_MS_MIN } from "../src/fleet/share.ts";
import { rateLimitStage } from "../src/policy/rate-limit-stage.ts";
import type { Bench, BenchOptions, BenchResult } from "./bench.ts";
import { describeMachine, describeVersions } from "./machine.ts";
import { median, percentile } from "./measure.ts";
import { freePort, startServer } from "./peers/server-process.ts";
import { findProgram, programVersion } from "./peers/subject.ts";
import { type Bar, Samples } from "./report.ts";
import { seededRandom, shuffled } from "./seed.ts";
import { TemporaryFolder } from "./temporary-folder.ts";

/** Calls of a round: of the busy subjects, and of the one whose every call asks the store. */
interface Counts {
  readonly rounds: number;
  readonly warmUp: number;
  readonly busy: number;
  readonly asking: number;
}

const full: Counts = { rounds: 5, warmUp: 20_000, busy: 20_000, asking: 60 };
const quick: Counts = { rounds: 1, warmUp: 100, busy: 200, asking: 3 };

/** Longer than the time between two questions to the store, so that each call is the first after it. */
const APART_MS = ASK_MS_MIN * (1 + ASK_JITTER) + 5;

const names = ["no-limit", "local", "fleet", "fleet-asking"] as const;
type Name = (typeof names)[number];

/** No call of the bench is to be refused. */
const limit: RateLimitOptions = {
  perSecond: 1_000_000,
  burst: 1_000_000,
  overflow: "reject",
  keyHeader: "",
  keysMax: 1000,
  fleet: true,
  descriptors: [],
};

/** The bench itself. */
export const fleet: Bench = {
  name: "fleet",
  question: "what does a rate limit that sandboxes share over Redis add to a call?",
  subjects: names,
  run,
};

async function run(options: BenchOptions): Promise<BenchResult> {
  const machine = describeMachine();
  const counts = options.quick ? quick : full;
  const rounds = options.rounds ?? counts.rounds;
  const program = findProgram("redis-server");
  const redis = program && programVersion(program, /v=(\S+)/, "--version");
  const chosen = names.filter((name) => options.only?.includes(name) ?? true);
  const present = program === undefined ? chosen.filter((name) => !name.startsWith("fleet")) : chosen;
  const skipped = chosen
    .filter((name) => !present.includes(name))
    .map((name) => `${name} was skipped: redis-server is not installed.`);
  for (const line of skipped) options.progress(line);
  const samples = new Samples(present);
  await withFleet(program, async (fleet) => {
    const random = seededRandom(options.seed);
    const sends = new Map(present.map((name) => [name, stageOf(name, fleet)]));
    for (const name of present)
      await timesOf(sends.get(name)!, name, counts.warmUp, { ...counts, asking: 3 });
    for (let round = 1; round <= rounds; round++) {
      options.progress(`round ${round} of ${rounds}`);
      for (const name of shuffled(present, random)) {
        const times = await timesOf(sends.get(name)!, name, counts.busy, counts);
        times.sort((a, b) => a - b);
        samples.add(name, { call_p50_us: percentile(times, 50), call_p99_us: percentile(times, 99) });
      }
    }
  });
  return {
    bench: fleet.name,
    machine,
    versions: { ...describeVersions(), ...(redis === undefined ? {} : { redis }) },
    seed: options.seed,
    rounds,
    rows: samples.rows(),
    ratios: samples.ratios("call_p50_us", "no-limit"),
    bars: options.quick ? [] : barsOf(samples),
    notes: [
      `Microseconds from handing a call to the stage until its answer, ${counts.busy} calls a round, one after the other. The upstream ` +
        "answers at once: what is left is the stage.",
      `fleet asks the store some eight times a second while it is called; fleet-asking is called every ${APART_MS} ms, so that each ` +
        `call asks (${counts.asking} a round): its first calls after a pause are slow by themselves, with caches cold.`,
    ],
    skipped,
  };
}

function barsOf(samples: Samples): Bar[] {
  const added = (name: Name): number | undefined => {
    const [with_, without] = [samples.values(name, "call_p50_us"), samples.values("no-limit", "call_p50_us")];
    return with_.length === 0 || without.length === 0 ? undefined : median(with_) - median(without);
  };
  return (["fleet", "fleet-asking"] as const).map((name) => ({
    what: `p50 that a leased share adds to a call, ${name}`,
    unit: "µs",
    measured: added(name),
    limit: 50,
    aim: undefined,
  }));
}

/** Runs `measure` with a fleet whose store is a redis-server of the bench's own. */
async function withFleet(
  program: string | undefined,
  measure: (fleet: Fleet | undefined) => Promise<void>,
): Promise<void> {
  if (program === undefined) return measure(undefined);
  using folder = TemporaryFolder.make();
  const port = await freePort();
  const args = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder.path];
  const server = await startServer({ name: "redis-server", file: program, args }, port);
  const options: FleetOptions = {
    store: `redis://127.0.0.1:${port}`,
    passwordEnv: "",
    prefix: "bench:",
    timeoutMs: 1000,
    onFailure: "closed",
    rateLimitService: "",
    rateLimitDomain: "",
  };
  const made = createFleet(options, { clock: systemClock, password: "", identity: "" });
  try {
    await measure(made);
  } finally {
    made.close();
    await server.stop();
  }
}

const upstream: Send = async () => new EgressResponse(200, "", "", Body.of(""));

function stageOf(name: Name, fleet: Fleet | undefined): Send {
  if (name === "no-limit") return upstream;
  const route = { destination: name, place: "", path: "" };
  return rateLimitStage(limit, systemClock, name === "local" ? undefined : fleet?.rates(route))(upstream);
}

/** Microseconds of each call. A call that is refused is tried again: the first token comes with the store's first answer. */
async function timesOf(send: Send, name: Name, busy: number, { asking }: Counts): Promise<number[]> {
  const count = name === "fleet-asking" ? asking : busy;
  const times: number[] = [];
  for (let refused = 0; times.length < count; ) {
    const request = new EgressRequest({
      method: "GET",
      scheme: "https",
      host: "api.example",
      port: 443,
      path: "/",
      fields: "",
    });
    const beganMs = performance.now();
    const answered = await send(request).then(
      () => true,
      () => false,
    );
    const endedMs = performance.now();
    if (answered) times.push((endedMs - beganMs) * 1000);
    else if (++refused > count) throw new Error(`${name}: ${refused} calls were refused`);
    if (name === "fleet-asking") await sleep(APART_MS);
    // The store's answers are read between two calls, as in a proxy.
    else await (answered ? turn() : sleep(1));
  }
  return times;
}
