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

/** A `Send` that hands each call to the chain of its destination and route. */
export function createRouter(destinations: readonly Destination[], acl: Acl, chainFor: ChainFor): Send {
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
  return (request) => {
    const destination =
      (request.destination === "" ? undefined : byName.get(request.destination)) ??
      matchDestination(matcher, request.host, request.port);
    const route =
      destination.routes.length === 0 ? null : matchRoute(destination, request.method, request.path);
    return chains.get(route ?? destination)!(request);
  };
}

/** The acl as a stage: nothing, a note in the trail, or a refusal. Hosts that two programs read differently are refused whatever the acl says. */
function admit(admission: TargetAdmission): Policy {
  return (next) => (request) => {
    if (mayBeNumber(request.host) && hostKind(request.host) === "ambiguous") {
      request.trail.push({ kind: "denied", rule: "host.ambiguous" });
      return Promise.reject(new EgressError("BAD_TARGET", `ambiguous host ${request.host}`));
    }
    if (admission.effect === "none") return next(request);
    const refused = admission.effect === "refuse";
    request.trail.push({ kind: refused ? "denied" : "would_deny", rule: admission.rule });
    if (!refused) return next(request);
    return Promise.reject(new EgressError("DENIED", `${request.host}:${request.port}: ${admission.rule}`));
  };
}

/** Only a host that ends in a digit or a hex digit of `0x…` can be a number; names rarely do. */
function mayBeNumber(host: string): boolean {
  const last = host.charCodeAt(host.length - 1);
  return (last >= 48 && last <= 57) || host.includes("0x");
}
