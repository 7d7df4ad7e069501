/** The JSON Schema of the policy file with its defaults, for editors: what `outrider schema` prints and the package ships. */
import { DEFAULTS } from "./defaults.ts";
import { STAGE_DEFAULTS } from "./defaults-stages.ts";
import { policyJsonSchema } from "./schema.ts";

/** As much of a JSON Schema (draft 2020-12) as the policy file's needs. */
export interface SchemaNode {
  readonly $ref?: string;
  readonly title?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly required?: readonly string[];
  readonly items?: SchemaNode;
  readonly anyOf?: readonly SchemaNode[];
}

/** The definition that a node stands for, also where the word `off` may stand in its place; `undefined` for a plain value. */
export function definitionOf(node: SchemaNode | undefined): string | undefined {
  const ref = node?.$ref ?? node?.anyOf?.find((form) => form.$ref !== undefined)?.$ref;
  return ref?.slice("#/$defs/".length);
}

/** The whole schema: every mapping of the file is one definition, `policy` the root. */
export interface PolicyJsonSchema {
  readonly $schema: string;
  readonly title: string;
  readonly $ref: string;
  readonly $defs: Readonly<Record<string, SchemaNode>>;
}

/**
 * Defaults by definition. Destinations and routes have none of the keys that policies share: there the default is what the level
 * above says.
 */
const DEFAULTS_BY_DEFINITION: Readonly<Record<string, object>> = {
  policy: { on_proxy_failure: DEFAULTS.onProxyFailure },
  listen: DEFAULTS.listen,
  acl: DEFAULTS.acl,
  fleet: DEFAULTS.fleet,
  policy_keys: DEFAULTS.policy,
  retry: DEFAULTS.policy.retry,
  backoff: DEFAULTS.policy.retry.backoff,
  budget: DEFAULTS.policy.retry.budget,
  route_limits: DEFAULTS.policy.limits,
  ...STAGE_DEFAULTS,
  ...STAGE_DEFAULTS.limits,
  limits: DEFAULTS.limits,
  balance: DEFAULTS.balance,
  destination: { ...DEFAULTS.destination, ports: [], allow_addresses: [], routes: [] },
  tls: DEFAULTS.tls,
  telemetry: { ...DEFAULTS.telemetry, propagate: DEFAULTS.policy.propagate },
};

/** The schema as an object. */
export function jsonSchema(): PolicyJsonSchema {
  const { $schema, $ref, $defs } = policyJsonSchema() as unknown as PolicyJsonSchema;
  const entries = Object.entries($defs).map(([id, node]) => [
    id,
    withDefaults(node, DEFAULTS_BY_DEFINITION[id] ?? {}),
  ]);
  return { $schema, title: "Outrider policy", $ref, $defs: Object.fromEntries(entries) };
}

/** Width of a line of the file, as the formatter of this repository has it. */
const LINE_WIDTH = 110;

/** The schema as the text of a file, lists of plain values on one line where they fit. */
export function jsonSchemaText(): string {
  const text = JSON.stringify(jsonSchema(), null, 2);
  const folded = text.replace(
    /^(.*)\[\n([^[\]{}]*)\n +\](,?)$/gm,
    (list, before: string, entries: string, comma: string) => {
      const line = `${before}[${entries.trim().replace(/\n +/g, " ")}]`;
      return line.length + comma.length <= LINE_WIDTH ? `${line}${comma}` : list;
    },
  );
  return `${folded}\n`;
}

function withDefaults(node: SchemaNode, defaults: object): SchemaNode {
  const properties = Object.entries(node.properties ?? {}).map(([key, property]) => {
    const isLeaf = property.$ref === undefined;
    const value: unknown = Object.hasOwn(defaults, key) ? defaults[key as keyof typeof defaults] : undefined;
    return [key, isLeaf && isShown(key, value) ? { ...property, default: value } : property];
  });
  return { ...node, properties: Object.fromEntries(properties) };
}

/** Keys of which 0 stands for "has to be stated", or for what the call says itself. */
const ZERO_IS_NONE = ["port", "percent", "status"];

function isShown(key: string, value: unknown): boolean {
  return value !== undefined && value !== "" && !(value === 0 && ZERO_IS_NONE.includes(key));
}
