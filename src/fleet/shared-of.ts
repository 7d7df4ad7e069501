/** What the stages of one route have in common with other sandboxes. Of the warm tier: knows the fleet's shape, and none of its code. */
import type { Destination, Route } from "../config/types.ts";
import type { BreakerStore } from "../policy/breaker-store.ts";
import type { FleetRates } from "../policy/rate-source.ts";
import type { Fleet } from "./fleet.ts";

/** The part of `PolicySurroundings` that a fleet gives; nothing without one. */
export interface Shared {
  readonly rates?: FleetRates;
  readonly breakers?: { readonly store: BreakerStore; readonly scope: string };
}

/** Routes have no names: they are told apart by their place in the file, which all sandboxes of one policy version share. */
export function sharedOf(fleet: Fleet | undefined, destination: Destination, route: Route | null): Shared {
  if (fleet === undefined) return {};
  const place = route === null ? "" : String(destination.routes.indexOf(route));
  const rates = fleet.rates({ destination: destination.name, place, path: route?.match.path ?? "" });
  const { breakers: store } = fleet;
  return store === null ? { rates } : { rates, breakers: { store, scope: `${destination.name} ${place}` } };
}
