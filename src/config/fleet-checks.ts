/** What the keys of `fleet` must be to each other. Pure; called by `cross-checks.ts`. */
import { errorAt, type Problem } from "./problem.ts";
import type { PolicyFile } from "./schema.ts";

/** Every finding about `fleet`. */
export function checkFleet(fleet: PolicyFile["fleet"] | null): Problem[] {
  if (fleet === undefined || fleet === null) return [];
  const { store, rate_limit_service: service } = fleet;
  if (store === undefined && service === undefined) {
    return [
      errorAt(["fleet"], "names nothing that is shared; state store or rate_limit_service, or delete it"),
    ];
  }
  const needs = (key: keyof typeof fleet, needed: "store" | "rate_limit_service"): Problem[] =>
    fleet[key] === undefined || fleet[needed] !== undefined
      ? []
      : [errorAt(["fleet", key], `has no effect without fleet.${needed}; state it, or delete the key`)];
  return [
    ...needs("password_env", "store"),
    ...needs("prefix", "store"),
    ...needs("rate_limit_domain", "rate_limit_service"),
  ];
}
