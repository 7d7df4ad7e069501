/**
 * Which endpoint takes a call. Pure but for the state that is handed in, which is plain and serialisable; the stage that obeys is
 * endpoints.ts, what ejects an endpoint outlier.ts.
 *
 * First the candidates: of the first priority that has any, those that are not ejected and that this call has not tried; then those
 * that it has; and when every endpoint is ejected, all of them, because a try that may fail is better than none. Then one of them.
 */
import type { Clock } from "../clock.ts";
import type { BalanceOptions, Endpoint } from "../config/types.ts";
import { expectedCost, type LatencyEstimate } from "./balance-latency.ts";
import { isEjected, newOutlierState, type OutlierState } from "./outlier.ts";

/** What does not change: the endpoints by index, as the options list them. */
export interface BalancePlan {
  readonly algorithm: BalanceOptions["algorithm"];
  /** More than 0 each. */
  readonly weights: readonly number[];
  /** The indexes of each priority, the one that is tried first first. */
  readonly priorities: readonly (readonly number[])[];
}

/** What is known of one endpoint. */
export interface EndpointState {
  /** Attempts that hold it. */
  inFlight: number;
  latency: LatencyEstimate | null;
  outlier: OutlierState;
  /** Its credit in the round robin, in weights; `null` before the first turn. */
  turn: number | null;
}

/** Uniform in [0, 1). */
export type Random = () => number;

/** The plan for a list of endpoints. */
export function balancePlan(
  endpoints: readonly Pick<Endpoint, "priority" | "weight">[],
  algorithm: BalanceOptions["algorithm"],
): BalancePlan {
  const byPriority = new Map<number, number[]>();
  endpoints.forEach(({ priority }, at) => {
    const members = byPriority.get(priority);
    if (members === undefined) byPriority.set(priority, [at]);
    else members.push(at);
  });
  const priorities = [...byPriority].sort(([a], [b]) => a - b).map(([, members]) => members);
  return { algorithm, weights: endpoints.map(({ weight }) => weight), priorities };
}

/** An endpoint that nothing is known of. */
export function newEndpointState(): EndpointState {
  return { inFlight: 0, latency: null, outlier: newOutlierState(), turn: null };
}

/**
 * The index of the endpoint for an attempt.
 *
 * @param states one for each endpoint; the round robin's turns move on
 * @param tried those that the call has tried already
 */
export function chooseEndpoint(
  plan: BalancePlan,
  states: readonly EndpointState[],
  tried: readonly number[],
  clock: Clock,
  random: Random,
): number {
  const candidates = candidatesOf(plan, states, tried, clock);
  if (candidates.length === 1) return candidates[0]!;
  if (plan.algorithm === "round_robin") return inTurn(plan, states, candidates, random);
  return betterOfTwo(plan, candidates, random, (at) => {
    const { inFlight, latency } = states[at]!;
    const load = plan.algorithm === "ewma" ? expectedCost(latency, inFlight, clock) : inFlight;
    return load / plan.weights[at]!;
  });
}

/** The endpoints that may take the attempt; never none. */
function candidatesOf(
  { priorities }: BalancePlan,
  states: readonly EndpointState[],
  tried: readonly number[],
  clock: Clock,
): readonly number[] {
  let triedOnes: readonly number[] | null = null;
  for (const members of priorities) {
    const inUse = membersInUse(members, states, clock);
    const fresh = untried(inUse, tried);
    if (fresh.length > 0) return fresh;
    if (inUse.length > 0) triedOnes ??= inUse;
  }
  if (triedOnes !== null) return triedOnes;
  const all = priorities.flat();
  const fresh = untried(all, tried);
  return fresh.length > 0 ? fresh : all;
}

/** Those of `members` that are not ejected. Mostly none is: then there is nothing to copy. */
function membersInUse(
  members: readonly number[],
  states: readonly EndpointState[],
  clock: Clock,
): readonly number[] {
  for (const at of members) {
    if (isEjected(states[at]!.outlier, clock)) {
      return members.filter((other) => !isEjected(states[other]!.outlier, clock));
    }
  }
  return members;
}

function untried(members: readonly number[], tried: readonly number[]): readonly number[] {
  return tried.length === 0 ? members : members.filter((at) => !tried.includes(at));
}

/**
 * Draws two by weight and takes the one with the lower load, the first drawn when they are equal: close to the least loaded of all,
 * and it does not send everything to one endpoint that has just come free (Mitzenmacher, "The Power of Two Choices in Randomized
 * Load Balancing", 2001).
 */
function betterOfTwo(
  { weights }: BalancePlan,
  candidates: readonly number[],
  random: Random,
  load: (at: number) => number,
): number {
  const first = drawn(weights, candidates, random, -1);
  const second = drawn(weights, candidates, random, first);
  return load(second) < load(first) ? second : first;
}

/** One of `candidates` but for `except`, by weight. */
function drawn(
  weights: readonly number[],
  candidates: readonly number[],
  random: Random,
  except: number,
): number {
  let total = 0;
  for (const at of candidates) if (at !== except) total += weights[at]!;
  let left = random() * total;
  let last = except;
  for (const at of candidates) {
    if (at === except) continue;
    last = at;
    left -= weights[at]!;
    if (left < 0) break;
  }
  return last;
}

/**
 * Smooth weighted round robin (nginx, ngx_http_upstream_round_robin.c): everybody earns their weight, who has most goes and pays for
 * all. Begins at a random place, because many sandboxes make few calls each, and their first ones are not all to go to one endpoint.
 */
function inTurn(
  { weights }: BalancePlan,
  states: readonly EndpointState[],
  candidates: readonly number[],
  random: Random,
): number {
  const total = candidates.reduce((sum, at) => sum + weights[at]!, 0);
  let next = candidates[0]!;
  for (const at of candidates) {
    const state = states[at]!;
    state.turn = (state.turn ?? random() * total) + weights[at]!;
    if (state.turn > states[next]!.turn!) next = at;
  }
  states[next]!.turn! -= total;
  return next;
}
