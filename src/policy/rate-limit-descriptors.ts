/** The descriptor that a rate limit service judges a call by: entries of the policy, filled in from the call. Pure. */
import type { FieldLines } from "../exchange.ts";
import { fieldValue } from "../http1/fields.ts";
import type { DescriptorEntry, FleetRates } from "./rate-source.ts";

const HEADER = "$header:";

/**
 * Reads `entries` (`key=value`) once; the function that it returns fills them in for each call. `null`: the call lacks a header that
 * one of them names, so that it has no descriptor and is not asked about, as in Envoy (`RateLimit.Action.RequestHeaders`,
 * config/route/v3/route_components.proto: "no descriptor is generated").
 */
export function descriptorFor(
  entries: readonly string[],
  names: FleetRates["names"],
): (fields: FieldLines) => DescriptorEntry[] | null {
  const compiled = entries.map((entry) => {
    const at = entry.indexOf("=");
    return { key: entry.slice(0, at), fill: valueFiller(entry.slice(at + 1), names) };
  });
  return (fields) => {
    const filled: DescriptorEntry[] = [];
    for (const { key, fill } of compiled) {
      const value = fill(fields);
      if (value === undefined || value === "") return null;
      filled.push({ key, value });
    }
    return filled;
  };
}

function valueFiller(
  text: string,
  { destination, route, identity }: FleetRates["names"],
): (fields: FieldLines) => string | undefined {
  if (text.startsWith(HEADER)) {
    const name = text.slice(HEADER.length).toLowerCase();
    return (fields) => fieldValue(fields, name);
  }
  // A value that is known and empty (no route, no identity) must not take the whole descriptor away.
  const fixed: Readonly<Record<string, string>> = {
    $destination: destination,
    $route: route === "" ? "/" : route,
    $identity: identity === "" ? "-" : identity,
  };
  const value = Object.hasOwn(fixed, text) ? fixed[text] : text;
  return () => value;
}
