/**
 * Picks the chain of policies for a call. Every chain is composed when the router is made; a call costs one look-up.
 */

import type { Acl, Destination, Route, RoutePolicy } from "../config/types.ts";
import { EgressError } from "../errors.ts";
import { compose, type FieldLines, type Policy, type Send } from "../exchange.ts";
import { type Access, admitCall, admitsSome, compileAccess, rulesFor, type TargetRules } from "./access.ts";
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
  /** Whether the acl may let calls to a target through, as far as that can be said without a method and a path. */
  readonly admits: (host: string, port: number) => boolean;
}

/**
 * Composes all chains.
 *
 * @param identity name of the function or service whose calls these are, for the rules of the acl; "" when it has none
 * @param hasPassed whether a request with these fields was sent by this process before
 */
export function createRouter(
  destinations: readonly Destination[],
  acl: Acl,
  chainFor: ChainFor,
  identity = "",
  hasPassed: (fields: FieldLines) => boolean = () => false,
): Router {
  const matcher = compileMatcher(destinations);
  const access = compileAccess(acl, identity);
  const byName = new Map(destinations.map((destination) => [destination.name, destination]));
  const chains = new Map<Destination | Route, Send>();
  for (const destination of destinations) {
    const composed = (route: Route | null): Send => {
      const chain = chainFor(destination, route, route === null ? destination.policy : route.policy);
      return compose(
        [chain.outside, admit(access, admitTarget(acl, destination), hasPassed), ...chain.inside],
        chain.send,
      );
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
    hostKind(host) !== "ambiguous" &&
    admitsSome(rulesFor(access, host, port), admitTarget(acl, find(host, port)));
  return { send, destinationFor: find, admits };
}

/**
 * The acl as a stage: nothing, a note in the trail, or a refusal. Refused whatever the acl says: hosts that two programs read
 * differently, and calls that come back.
 */
function admit(access: Access, word: TargetAdmission, hasPassed: (fields: FieldLines) => boolean): Policy {
  return (next) => {
    // The last target that was looked at and found to be read in one way only.
    let last: { host: string; port: number; rules: TargetRules } = { host: "", port: 0, rules: [] };
    return (request) => {
      const { host, port, method, path } = request;
      if (host !== last.host || port !== last.port) {
        if (hostKind(host) === "ambiguous") {
          request.trail.push({ kind: "denied", rule: "host.ambiguous" });
          return Promise.reject(new EgressError("BAD_TARGET", `ambiguous host ${host}`));
        }
        last = { host, port, rules: rulesFor(access, host, port) };
      }
      if (hasPassed(request.fields)) {
        return Promise.reject(new EgressError("LOOP_DETECTED", `${host}:${port}: sent by this proxy before`));
      }
      const { effect, rule } = admitCall(last.rules, word, method, path);
      if (effect === "none") return next(request);
      request.trail.push({ kind: effect === "refuse" ? "denied" : "would_deny", rule });
      if (effect === "report") return next(request);
      return Promise.reject(
        new EgressError("DENIED", `${host}:${port}: ${rule}${unseen(method, last.rules)}`),
      );
    };
  };
}

/** What is added to the refusal of a tunnel where rules would have allowed some of what it may hold. */
function unseen(method: string, rules: TargetRules): string {
  const could = method === "CONNECT" && rules.some(({ admission }) => admission.allowed);
  return could ? "; rules with methods or paths do not see into a tunnel (tls.intercept does)" : "";
}
