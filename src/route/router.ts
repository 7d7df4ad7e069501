/**
 * Picks the chain of policies for a call. Every chain is composed when the router is made; a call costs one look-up.
 */

import type { Acl, Destination, Route, RoutePolicy } from "../config/types.ts";
import { EgressError } from "../errors.ts";
import { compose, type Policy, type Send } from "../exchange.ts";
import { admitTarget, type TargetAdmission } from "./admit.ts";
import { compileMatcher, matchDestination, matchRoute } from "./match.ts";
import { hostKind } from "./target-host.ts";

/** What handles the calls of one destination and route (`null`: no route matches), from outside in. */
export interface Chain {
  /** Sees every call of the route, the refused ones too. */
  readonly outside: Policy;
  /** Sees the calls that the acl lets through. */
  readonly inside: readonly Policy[];
  readonly send: Send;
}

/** Composes the chain of a destination's route. Called once for each when the configuration is loaded. */
export type ChainFor = (destination: Destination, route: Route | null, policy: RoutePolicy) => Chain;

/** Calls by destination and route. */
export interface Router {
  /** Hands a call to the chain of its destination and route. */
  readonly send: Send;
  /** The destination that a target belongs to. */
  readonly destinationFor: (host: string, port: number) => Destination;
  /** Whether the acl lets calls to a target through, as far as that can be said without a path. */
  readonly admits: (host: string, port: number) => boolean;
}

/** Composes all chains. */
export function createRouter(destinations: readonly Destination[], acl: Acl, chainFor: ChainFor): Router {
  const matcher = compileMatcher(destinations);
  const byName = new Map(destinations.map((destination) => [destination.name, destination]));
  const chains = new Map<Destination | Route, Send>();
  for (const destination of destinations) {
    const admission = admitTarget(acl, destination);
    const composed = (route: Route | null): Send => {
      const chain = chainFor(destination, route, route === null ? destination.policy : route.policy);
      return compose([chain.outside, admit(admission), ...chain.inside], chain.send);
    };
    chains.set(destination, composed(null));
    for (const route of destination.routes) chains.set(route, composed(route));
  }
  // A function calls few hosts, mostly the same one again: the last answer is kept.
  let last = { host: "", port: 0, destination: matcher.fallback };
  const find = (host: string, port: number): Destination => {
    if (host !== last.host || port !== last.port) {
      last = { host, port, destination: matchDestination(matcher, host, port) };
    }
    return last.destination;
  };
  const send: Send = (request) => {
    const named = request.destination === "" ? undefined : byName.get(request.destination);
    const destination = named ?? find(request.host, request.port);
    const route =
      destination.routes.length === 0 ? null : matchRoute(destination, request.method, request.path);
    return chains.get(route ?? destination)!(request);
  };
  const admits = (host: string, port: number): boolean =>
    hostKind(host) !== "ambiguous" && admitTarget(acl, find(host, port)).effect !== "refuse";
  return { send, destinationFor: find, admits };
}

/** The acl as a stage: nothing, a note in the trail, or a refusal. Hosts that two programs read differently are refused whatever the acl says. */
function admit(admission: TargetAdmission): Policy {
  return (next) => {
    // The last host that was looked at and found to be read in one way only.
    let unambiguous = "";
    return (request) => {
      if (request.host !== unambiguous) {
        if (hostKind(request.host) === "ambiguous") {
          request.trail.push({ kind: "denied", rule: "host.ambiguous" });
          return Promise.reject(new EgressError("BAD_TARGET", `ambiguous host ${request.host}`));
        }
        unambiguous = request.host;
      }
      if (admission.effect === "none") return next(request);
      const refused = admission.effect === "refuse";
      request.trail.push({ kind: refused ? "denied" : "would_deny", rule: admission.rule });
      if (!refused) return next(request);
      return Promise.reject(new EgressError("DENIED", `${request.host}:${request.port}: ${admission.rule}`));
    };
  };
}
