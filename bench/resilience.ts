/**
 * The bench `resilience`: what becomes of an upstream that browns out, and of its callers, under different policies?
 *
 * A simulation in virtual time: the stages are the project's own, composed as the proxy composes them; clients and upstream are
 * models (`simulation/`). Owns the scenarios, the bars and the picture. The seed gives the same figures on every machine.
 */

import { resolve } from "../src/config/resolve.ts";
import type { PolicyFile } from "../src/config/schema.ts";
import type { RoutePolicy } from "../src/config/types.ts";
import type { Bench, BenchOptions, BenchResult } from "./bench.ts";
import { describeMachine, describeVersions } from "./machine.ts";
import { median } from "./measure.ts";
import { type Bar, Samples } from "./report.ts";
import { seededRandom } from "./seed.ts";
import type { BrownOut } from "./simulation/brown-out.ts";
import type { Behaviour } from "./simulation/clients.ts";
import { drawSvg } from "./simulation/picture.ts";
import { figuresOf, type Run, type Scenario, simulate, successBySecond } from "./simulation/run.ts";

const roundsFull = 11;
const clients = 200;
const seconds = 120;

/** Three quarters of its capacity are used while it is well. */
const brownOut: BrownOut = {
  workers: 10,
  queueMax: 64,
  rejectionMs: 4,
  networkMs: 1,
  healthy: { serviceMs: 40, errorRatio: 0 },
  sick: { serviceMs: 120, errorRatio: 0.3 },
  beginsMs: 30_000,
  endsMs: 60_000,
  warmUpMs: 10_000,
};

const behaviour: Behaviour = { thinkMs: 1000, patienceMs: 1000 };

/** A naive client divides its patience among its tries. */
const naiveTryMs = behaviour.patienceMs / 4;

/** One way to call the upstream. */
interface Subject {
  readonly name: string;
  readonly policy: RoutePolicy;
  readonly proxies: Scenario["proxies"];
}

const names = ["no-policy", "naive-retries", "outrider", "outrider-breaker", "outrider-functions"] as const;
type Name = (typeof names)[number];

/** The bench itself. */
export const resilience: Bench = {
  name: "resilience",
  question: "what becomes of an upstream that browns out for 30 s under 200 clients, by policy?",
  subjects: names,
  run,
};

async function run(options: BenchOptions): Promise<BenchResult> {
  const machine = describeMachine();
  const rounds = options.rounds ?? (options.quick ? 1 : roundsFull);
  const chosen = subjects().filter(({ name }) => options.only?.includes(name) ?? true);
  const samples = new Samples(chosen.map(({ name }) => name));
  const seeds = seededRandom(options.seed);
  const drawn = new Map<string, Run>();
  for (let round = 1; round <= rounds; round++) {
    // The same luck for all of a round.
    const seed = Math.floor(seeds() * 2 ** 32);
    for (const { name, policy, proxies } of chosen) {
      options.progress(`round ${round} of ${rounds}: ${name}`);
      const scenario = { policy, proxies, clients, behaviour, brownOut, seconds };
      const run = await simulate(scenario, seed);
      samples.add(name, { ...figuresOf(run, brownOut) });
      if (round === 1) drawn.set(name, run);
    }
  }
  return {
    bench: resilience.name,
    machine,
    versions: describeVersions(),
    seed: options.seed,
    rounds,
    rows: samples.rows(),
    ratios: { metric: "amplification", reference: "no-policy", bySubject: {} },
    bars: options.quick ? [] : barsOf(samples),
    notes,
    skipped: [],
    picture: { file: "resilience.svg", svg: drawRuns(drawn) },
  };
}

function subjects(): Subject[] {
  const none = policyOf({});
  const retries = policyOf({ retry: { max_retries: 2 } });
  const breaker = policyOf({ retry: { max_retries: 2 }, circuit_breaker: {} });
  const policies: Readonly<Record<Name, RoutePolicy>> = {
    "no-policy": none,
    "naive-retries": naive(retries),
    outrider: retries,
    "outrider-breaker": breaker,
    "outrider-functions": retries,
  };
  return names.map((name) => ({
    name,
    policy: policies[name],
    proxies: name === "outrider-functions" ? "one for each client" : "one",
  }));
}

/** What the file says for calls to any host, with no trace headers, which change nothing here. */
function policyOf(defaults: NonNullable<PolicyFile["defaults"]>): RoutePolicy {
  const config = resolve({ version: 1, defaults, telemetry: { propagate: [] } });
  return config.destinations.at(-1)!.policy;
}

/** Three more tries at once whatever happened, as a loop around a client's call makes them: no backoff, no budget. */
function naive(policy: RoutePolicy): RoutePolicy {
  const { retry } = policy;
  return {
    ...policy,
    perTryTimeoutMs: naiveTryMs,
    retry: {
      ...retry,
      on: [...retry.on, "per_try_timeout"],
      maxRetries: 3,
      backoffBaseMs: 0,
      backoffMaxMs: 0,
      budgetRatio: 1000,
      budgetFloor: Number.POSITIVE_INFINITY,
    },
  };
}

function barsOf(samples: Samples): Bar[] {
  const amplification = (subject: Name) => {
    const values = samples.values(subject, "amplification");
    return values.length === 0 ? undefined : median(values);
  };
  return [
    {
      what: "attempts per call in the brown-out, outrider",
      unit: "×",
      measured: amplification("outrider"),
      limit: 1.2,
      aim: 1.1,
    },
    {
      what: "the same, naive-retries: the danger is there",
      unit: "×",
      better: "more",
      measured: amplification("naive-retries"),
      limit: 2.5,
      aim: undefined,
    },
    {
      what: "recovery of outrider, later than the first of the two others",
      unit: "s",
      measured: laterThanFirst(samples),
      limit: 0,
      aim: undefined,
    },
  ];
}

/** The median over the rounds of the seconds by which Outrider recovered later than whoever of the two others was first. */
function laterThanFirst(samples: Samples): number | undefined {
  const [own, none, naive] = (["outrider", "no-policy", "naive-retries"] as const).map((name) =>
    samples.values(name, "recover_s"),
  );
  const later = own!.flatMap((value, round) => {
    const others = [none![round], naive![round]];
    return others.includes(undefined) ? [] : [value - Math.min(...(others as number[]))];
  });
  return later.length === 0 ? undefined : median(later);
}

function drawRuns(runs: ReadonlyMap<string, Run>): string {
  const lines = (values: (run: Run) => number[]) =>
    [...runs].map(([name, run]) => ({ name, values: values(run) }));
  const arrivals = Math.max(...[...runs.values()].flatMap(({ arrived }) => arrived));
  const step = 200;
  const top = Math.ceil(arrivals / step) * step;
  return drawSvg({
    description:
      "Calls that succeed and attempts that reach the upstream, second by second, before, in and after a brown-out of 30 s, by policy.",
    seconds,
    shaded: { from: brownOut.beginsMs / 1000, to: brownOut.endsMs / 1000, label: "brown-out" },
    panels: [
      {
        title: "Calls that succeed, %",
        top: 100,
        ticks: [0, 50, 100],
        lines: lines(successBySecond),
      },
      {
        title: "Attempts at the upstream, per second",
        top,
        ticks: Array.from({ length: top / step + 1 }, (_, at) => at * step),
        lines: lines((run) => [...run.arrived]),
      },
    ],
  });
}

const notes: readonly string[] = [
  `Virtual time. ${clients} clients call, wait ${behaviour.patienceMs} ms at the most for an outcome, pause for ${behaviour.thinkMs} ms on average, ` +
    `and call again, for ${seconds} s. The stages are the project's own, as the policy file configures them; clients and upstream are models.`,
  `The upstream has ${brownOut.workers} workers, which take ${brownOut.healthy.serviceMs} ms for a request, and a queue of ${brownOut.queueMax}; beyond it 503 at once, ` +
    `which costs it ${brownOut.rejectionMs} ms. From second ${brownOut.beginsMs / 1000} to ${brownOut.endsMs / 1000} a request takes ${brownOut.sick.serviceMs} ms and ` +
    `${100 * brownOut.sick.errorRatio} % end in 503; from then on it gets better, evenly over ${brownOut.warmUpMs / 1000} s. It does not notice that a caller has given up.`,
  `no-policy sends once. naive-retries tries four times, ${naiveTryMs} ms each, at once and whatever happened. outrider is \`retry: {max_retries: 2}\` with its defaults, ` +
    "one proxy for all clients, as beside a container; outrider-breaker has `circuit_breaker: {}` besides. outrider-functions is the same " +
    "policy in 200 functions, each with a proxy of its own and an invocation for each call.",
  "Recovered is the moment from which on at least 99 % of the calls of any second succeed, counted from the end of the brown-out; about 60 s, the rest of the run, means that it never did.",
];
