/**
 * How the levels of a policy add up: built-in ← `defaults` ← destination ← route. Scalars override, lists replace, mappings merge key
 * by key; a mapping over `off` begins with the defaults of its own. Stays in the notation of the file; pure.
 */
import { DEFAULTS } from "./defaults.ts";
import { STAGE_DEFAULTS } from "./defaults-stages.ts";
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
  const merge = (under: unknown, over: unknown) => mergeValues(under, over, STAGE_DEFAULTS);
  return layers.map((layer) => layer.keys as unknown).reduce(merge) as MergedPolicy;
}

/**
 * The strongest level that states the key at `key`, for instance `["retry", "backoff", "max"]`. What a level says under a mapping
 * that a stronger one switched off is not heard.
 */
export function layerOf(layers: readonly Layer[], key: readonly string[]): Layer {
  for (const layer of layers.toReversed()) {
    const said = statedAt(layer.keys, key);
    if (said === "stated") return layer;
    if (said === "switched off") break;
  }
  return layers[0]!;
}

/** Whether a level says something at `key`, nothing, or replaces the whole mapping that `key` is in. */
function statedAt(value: unknown, key: readonly string[]): "stated" | "unstated" | "switched off" {
  const [first, ...rest] = key;
  if (value === undefined) return "unstated";
  if (first === undefined) return "stated";
  if (!isMapping(value)) return "switched off";
  return Object.hasOwn(value, first) ? statedAt(value[first], rest) : "unstated";
}

function mergeValues(under: unknown, over: unknown, begun: unknown): unknown {
  if (over === undefined) return under;
  if (!isMapping(over)) return over;
  const base = isMapping(under) ? under : begun;
  if (!isMapping(base)) return over;
  // Without a prototype, a key named __proto__ is only a key.
  const merged: Record<string, unknown> = Object.assign(Object.create(null), base);
  for (const key of Object.keys(over)) {
    const inner = isMapping(begun) && Object.hasOwn(begun, key) ? begun[key] : undefined;
    merged[key] = mergeValues(merged[key], over[key], inner);
  }
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
