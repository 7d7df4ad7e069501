/**
 * Dials one of several endpoints in place of a destination's own address, another one on each retry, and keeps away from those that
 * fail. The host that is called, sent and verified stays as it is, and the guard is asked about the address that is dialled.
 *
 * Owns what is counted when; which endpoint it is, is decided in balance.ts, which is ejected in outlier.ts.
 */
import type { Clock } from "../clock.ts";
import type { BalanceOptions, Destination, Endpoint } from "../config/types.ts";
import { asEgressError, type EgressError } from "../errors.ts";
import type { EgressRequest, EgressResponse, Policy, Send } from "../exchange.ts";
import {
  type BalancePlan,
  balancePlan,
  chooseEndpoint,
  type EndpointState,
  newEndpointState,
  type Random,
} from "./balance.ts";
import { withFailure, withSample } from "./balance-latency.ts";
import { noteFailure, noteSuccess, type Sign, signOf, signOfBreak } from "./outlier.ts";
import { TriedEndpoints } from "./tried-endpoints.ts";

/** The endpoints of one destination with what is known of them: all routes of the destination share one. */
export interface EndpointSet {
  readonly endpoints: readonly Endpoint[];
  /** Where each of them is dialled; made once, because every attempt carries one of them. */
  readonly addresses: readonly { readonly host: string; readonly port: number }[];
  readonly options: BalanceOptions;
  readonly plan: BalancePlan;
  /** Plain and serialisable, one for each endpoint. */
  readonly states: readonly EndpointState[];
  /** What each call in flight has tried. */
  readonly triedBy: TriedEndpoints;
}

/** A set of which nothing is known yet; `null` for a destination without endpoints. */
export function endpointSet(destination: Pick<Destination, "endpoints" | "balance">): EndpointSet | null {
  const { endpoints, balance: options } = destination;
  if (endpoints.length === 0) return null;
  const plan = balancePlan(endpoints, options.algorithm);
  const addresses = endpoints.map(({ host, port }) => ({ host, port }));
  const states = endpoints.map(newEndpointState);
  return { endpoints, addresses, options, plan, states, triedBy: new TriedEndpoints() };
}

/** The sets of all destinations, made once per configuration. */
export function endpointSets(
  destinations: readonly Destination[],
): (destination: Destination) => EndpointSet | null {
  const sets = new Map(destinations.map((destination) => [destination, endpointSet(destination)]));
  return (destination) => sets.get(destination) ?? null;
}

/**
 * The stage. A call whose address another stage has chosen passes untouched: it does not go to this destination's endpoints.
 *
 * @param random uniform in [0, 1)
 */
export function endpoints(set: EndpointSet, clock: Clock, random: Random): Policy {
  return (next) => (request) => {
    if (request.address !== null) return next(request);
    const call = set.triedBy.callOf(request);
    const at = chooseEndpoint(set.plan, set.states, call.tried, clock, random);
    if (!call.tried.includes(at)) call.tried = [...call.tried, at];
    return new Visit(set, at, request, clock).send(next);
  };
}

/** One attempt at one endpoint. A good response occupies the endpoint until the call is over, and counts as a success only then. */
class Visit {
  readonly #set: EndpointSet;
  readonly #at: number;
  readonly #state: EndpointState;
  readonly #request: EgressRequest;
  readonly #clock: Clock;
  #startedMs = 0;

  constructor(set: EndpointSet, at: number, request: EgressRequest, clock: Clock) {
    this.#set = set;
    this.#at = at;
    this.#state = set.states[at]!;
    this.#request = request;
    this.#clock = clock;
  }

  send(next: Send): Promise<EgressResponse> {
    // Nobody else reads the estimate of a latency.
    if (this.#estimates) this.#startedMs = this.#clock.now();
    this.#state.inFlight += 1;
    return next(this.#request.with({ address: this.#set.addresses[this.#at]! })).then(
      (response) => {
        this.#answered(response);
        return response;
      },
      (error: unknown) => {
        const failure = asEgressError(error);
        this.#over(signOf(failure, this.#request.cancelled.value));
        throw failure;
      },
    );
  }

  #answered(response: EgressResponse): void {
    const sign = signOf(response, undefined);
    if (sign.kind !== "success") return this.#over(sign);
    if (this.#estimates) {
      this.#state.latency = withSample(this.#state.latency, this.#elapsedMs(), this.#clock);
    }
    this.#request.settled.on(() => {
      const broke = this.#brokeOff();
      this.#over(broke === null ? sign : signOfBreak(broke));
    });
  }

  get #estimates(): boolean {
    return this.#set.plan.algorithm === "ewma";
  }

  #elapsedMs(): number {
    return this.#clock.now() - this.#startedMs;
  }

  /** Why the response broke off after its head, as the upstream room noted it; `null` when it did not. */
  #brokeOff(): EgressError | null {
    const { trail, attempt: number } = this.#request;
    for (let at = trail.length - 1; at >= 0; at--) {
      const entry = trail[at]!;
      if (entry.kind === "attempt" && entry.attempt.number === number) return entry.attempt.error;
    }
    return null;
  }

  #over(sign: Sign): void {
    this.#state.inFlight -= 1;
    if (sign.kind === "success") noteSuccess(this.#state.outlier);
    else if (sign.kind === "failure") this.#failed(sign.why);
  }

  #failed(why: string): void {
    const { endpoints, options, plan, states } = this.#set;
    if (this.#estimates) {
      this.#state.latency = withFailure(this.#state.latency, this.#elapsedMs(), this.#clock);
    }
    const members = plan.priorities.find((priority) => priority.includes(this.#at))!;
    const peers = members.map((at) => states[at]!.outlier);
    if (!noteFailure(this.#state.outlier, peers, options, this.#clock)) return;
    const { host, port } = endpoints[this.#at]!;
    this.#request.trail.push({ kind: "ejected", endpoint: `${host}:${port}`, why });
  }
}
