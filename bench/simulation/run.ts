/**
 * One run of the simulation: clients, the stages of a policy, the upstream that browns out; and what is read off it. Owns the figures'
 * definitions; the same seed gives the same run.
 */

import type { RoutePolicy } from "../../src/config/types.ts";
import { compose, type Send } from "../../src/exchange.ts";
import { Lifecycle } from "../../src/lifecycle.ts";
import { policyChain } from "../../src/policy/chain.ts";
import type { RandomSource } from "../../src/policy/random.ts";
import { seededRandom } from "../seed.ts";
import { type BrownOut, BrownOutUpstream } from "./brown-out.ts";
import { type Behaviour, Observations, type Seen, SPAN_MS, startClient } from "./clients.ts";
import { SimulationClock } from "./clock.ts";

/** What is simulated. */
export interface Scenario {
  readonly policy: RoutePolicy;
  readonly clients: number;
  /** All clients behind one proxy, as beside a container; or each behind its own, with an invocation for each call, as in functions. */
  readonly proxies: "one" | "one for each client";
  readonly behaviour: Behaviour;
  readonly brownOut: BrownOut;
  /** The run's length, seconds. */
  readonly seconds: number;
}

/** What came of it. */
export interface Run {
  /** What clients saw in each span of `SPAN_MS`. */
  readonly spans: readonly Seen[];
  /** Attempts that reached the upstream in each second. */
  readonly arrived: readonly number[];
}

/** A run in figures. */
export interface Figures {
  /** Of all calls. */
  readonly success_percent: number;
  /** Of the calls that ended in the brown-out. */
  readonly brown_out_success_percent: number;
  /** Attempts for each call that began in the brown-out. */
  readonly amplification: number;
  /** From the end of the brown-out; the rest of the run where it never recovered. */
  readonly recover_s: number;
}

/** Part of the calls of a second that have to succeed for it to count as recovered. */
const RECOVERED_RATIO = 0.99;

const spansPerSecond = 1000 / SPAN_MS;

/** Runs `scenario`. */
export async function simulate(scenario: Scenario, seed: number): Promise<Run> {
  const clock = new SimulationClock();
  const random = seededRandom(seed);
  const upstream = new BrownOutUpstream(scenario.brownOut, clock, random);
  const observations = new Observations(scenario.seconds);
  const proxy = () => proxyOf(scenario.policy, clock, random, upstream.send);
  const shared = proxy();
  shared.lifecycle.workStarted("", Number.POSITIVE_INFINITY, "");
  for (let client = 0; client < scenario.clients; client++) {
    const { send, lifecycle } = scenario.proxies === "one" ? shared : proxy();
    const invoked = () => lifecycle.workStarted(`${clock.now()}`, Number.POSITIVE_INFINITY, "");
    startClient(
      send,
      scenario.behaviour,
      clock,
      random,
      observations,
      scenario.proxies === "one" ? undefined : invoked,
    );
  }
  await clock.runUntil(scenario.seconds * 1000);
  const arrived = Array.from({ length: scenario.seconds }, (_, at) => upstream.arrivedBySecond[at] ?? 0);
  return { spans: observations.spans, arrived };
}

/** A proxy's chain and its lifecycle: what `createProxy` makes, less the sockets. */
function proxyOf(
  policy: RoutePolicy,
  clock: SimulationClock,
  random: () => number,
  upstream: Send,
): { send: Send; lifecycle: Lifecycle } {
  const lifecycle = new Lifecycle(clock);
  return {
    send: compose(policyChain(policy, { clock, lifecycle, random: sourceOf(random) }), upstream),
    lifecycle,
  };
}

function sourceOf(random: () => number): RandomSource {
  const digits = (count: number) =>
    Array.from({ length: count }, () => Math.floor(random() * 16).toString(16)).join("");
  return { fraction: random, spanId: () => digits(16), traceId: () => digits(32) };
}

/** The figures of a run. */
export function figuresOf({ spans }: Run, { beginsMs, endsMs }: BrownOut): Figures {
  const during = spans.slice(beginsMs / SPAN_MS, endsMs / SPAN_MS);
  return {
    success_percent: 100 * successRatio(spans),
    brown_out_success_percent: 100 * successRatio(during),
    amplification: sum(during, "attempts") / sum(during, "begun"),
    recover_s: recoverySeconds(spans.slice(endsMs / SPAN_MS)),
  };
}

/** Seconds from the first of the spans until the beginning of the first second from which on no second is bad, wherever it begins. */
export function recoverySeconds(after: readonly Seen[]): number {
  const isBad = (_: Seen, at: number) =>
    successRatio(after.slice(at, at + spansPerSecond)) < RECOVERED_RATIO &&
    at + spansPerSecond <= after.length;
  return (after.findLastIndex(isBad) + 1) / spansPerSecond;
}

/** Part of the calls that succeed, percent, for each whole second of a run. */
export function successBySecond({ spans }: Run): number[] {
  return Array.from(
    { length: spans.length / spansPerSecond },
    (_, second) => 100 * successRatio(spans.slice(second * spansPerSecond, (second + 1) * spansPerSecond)),
  );
}

/** Part of the calls that ended in these spans which succeeded; 1 when none ended. */
export function successRatio(spans: readonly Seen[]): number {
  const ended = sum(spans, "ended");
  return ended === 0 ? 1 : sum(spans, "succeeded") / ended;
}

function sum(spans: readonly Seen[], key: keyof Seen): number {
  return spans.reduce((total, span) => total + span[key], 0);
}
