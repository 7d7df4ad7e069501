/**
 * How the levels of a policy add up: built-in ← `defaults` ← destination ← route. Scalars override, lists replace, mappings merge key
 * by key. Stays in the notation of the file; pure.
 */
import { DEFAULTS } from "./defaults.ts";
import type { PolicyFile, PolicyKeys } from "./schema.ts";

/** Which level a value comes from. `telemetry` is the level of `telemetry.propagate`. */
export type Origin = "built-in" | "defaults" | "telemetry" | "destination" | "route";

/** One level: what it states, and where it stands in the file. */
export interface Layer {
  readonly origin: Origin;
  readonly keys: PolicyKeys;
  /** Path of the mapping that holds `keys`; empty for the built-in level. */
  readonly path: readonly (string | number)[];
}

type Filled<T> = T extends readonly unknown[]
  ? T
  : T extends object
    ? { readonly [K in keyof T]-?: Filled<NonNullable<T[K]>> }
    : T;

type LimitsKeys = NonNullable<PolicyKeys["limits"]>;

/** Every key has a value, except the one whose default is made from another. */
export interface MergedPolicy extends Filled<Omit<PolicyKeys, "limits">> {
  readonly limits: Filled<Omit<LimitsKeys, "burst">> & Pick<LimitsKeys, "burst">;
}

/** The levels that hold for a route of a destination, weakest first; `null` for "no route", "the implicit destination". */
export function layersFor(file: PolicyFile, destination: number | null, route: number | null): Layer[] {
  const layers: Layer[] = [{ origin: "built-in", keys: DEFAULTS.policy, path: [] }];
  if (file.telemetry?.propagate !== undefined) {
    layers.push({ origin: "telemetry", keys: { propagate: file.telemetry.propagate }, path: ["telemetry"] });
  }
  if (file.defaults !== undefined)
    layers.push({ origin: "defaults", keys: file.defaults, path: ["defaults"] });
  if (destination === null) return layers;
  const stated = file.destinations![destination]!;
  layers.push({ origin: "destination", keys: policyKeysOf(stated), path: ["destinations", destination] });
  if (route === null) return layers;
  const path = ["destinations", destination, "routes", route];
  layers.push({ origin: "route", keys: policyKeysOf(stated.routes![route]!), path });
  return layers;
}

/** One policy of all levels. */
export function mergeLayers(layers: readonly Layer[]): MergedPolicy {
  // The first level states every key, so the sum does.
  return layers.map((layer) => layer.keys as unknown).reduce(mergeValues) as MergedPolicy;
}

/** The strongest level that states the key at `key`, for instance `["retry", "backoff", "max"]`. */
export function layerOf(layers: readonly Layer[], key: readonly string[]): Layer {
  return layers.findLast((layer) => states(layer.keys, key)) ?? layers[0]!;
}

function states(value: unknown, key: readonly string[]): boolean {
  const [first, ...rest] = key;
  if (first === undefined) return value !== undefined;
  return isMapping(value) && Object.hasOwn(value, first) && states(value[first], rest);
}

function mergeValues(under: unknown, over: unknown): unknown {
  if (over === undefined) return under;
  if (!isMapping(under) || !isMapping(over)) return over;
  // Without a prototype, a key named __proto__ is only a key.
  const merged: Record<string, unknown> = Object.assign(Object.create(null), under);
  for (const key of Object.keys(over)) merged[key] = mergeValues(merged[key], over[key]);
  return merged;
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Of a destination or a route only the keys that policies share. */
function policyKeysOf(stated: PolicyKeys): PolicyKeys {
  const shared = Object.keys(DEFAULTS.policy).filter((key) => Object.hasOwn(stated, key));
  return Object.fromEntries(shared.map((key) => [key, stated[key as keyof PolicyKeys]]));
}
