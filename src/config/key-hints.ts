/** What to say of a key that the policy file does not know: where it belongs, or which one was meant. Reads the JSON Schema, decides nothing. */
import { definitionOf, type PolicyJsonSchema, type SchemaNode } from "./json-schema.ts";
import { nearest } from "./nearest.ts";
import type { Path } from "./problem.ts";
import { policyJsonSchema } from "./schema.ts";
import { show } from "./show.ts";

/** Keys of other places or of none that people write, with what to do instead. */
const ADVICE: ReadonlyMap<string, string> = new Map([
  ["defaults.propagate", "write telemetry.propagate, which holds for every destination"],
  ["retry.attempts", "write max_retries, which counts the tries after the first"],
  ["retry.max_attempts", "write max_retries, which counts the tries after the first"],
  ["circuit_breaker.threshold", "write consecutive_failures, error_ratio or slow_ratio"],
  ["split.percent", "write weight, which counts in percent"],
  ["fault.abort_status", "write abort"],
  ["*.<<", "merge keys are not part of YAML 1.2; use an alias for a whole value, or defaults"],
]);

/** The message for the unknown `key` of the mapping at `path`. */
export function unknownKeyMessage(path: Path, key: string): string {
  const parent = path.findLast((step) => typeof step === "string");
  const advice = ADVICE.get(`${parent}.${key}`) ?? ADVICE.get(`*.${key}`);
  const known = propertiesAt(path);
  return `unknown key${advice === undefined ? hint(key, known) : `; ${advice}`}`;
}

function hint(key: string, known: Readonly<Record<string, SchemaNode>>): string {
  const names = Object.keys(known);
  const meant = nearest(key, names);
  if (meant !== null) return `; did you mean ${show(meant)}?`;
  const inner = names.find((name) => Object.hasOwn(propertiesOf(known[name]!), key));
  if (inner !== undefined) return `; it belongs under ${show(inner)}`;
  return `; known here: ${names.join(", ")}`;
}

/** Walked once per process: the schema does not change. */
let schema: PolicyJsonSchema | undefined;

function propertiesAt(path: Path): Readonly<Record<string, SchemaNode>> {
  schema ??= policyJsonSchema() as unknown as PolicyJsonSchema;
  let node: SchemaNode = schema;
  for (const step of path) {
    const next = typeof step === "number" ? target(node).items : propertiesOf(node)[step];
    if (next === undefined) return {};
    node = next;
  }
  return propertiesOf(node);
}

function propertiesOf(node: SchemaNode): Readonly<Record<string, SchemaNode>> {
  return target(node).properties ?? {};
}

function target(node: SchemaNode): SchemaNode {
  const id = definitionOf(node);
  return id === undefined ? node : schema!.$defs[id]!;
}
