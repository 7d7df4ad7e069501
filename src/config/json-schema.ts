/** The JSON Schema of the policy file with its defaults, for editors: what `outrider schema` prints and the package ships. */
import { DEFAULTS } from "./defaults.ts";
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
  limits: DEFAULTS.limits,
  acl: DEFAULTS.acl,
  policy_keys: DEFAULTS.policy,
  retry: DEFAULTS.policy.retry,
  backoff: DEFAULTS.policy.retry.backoff,
  budget: DEFAULTS.policy.retry.budget,
  route_limits: DEFAULTS.policy.limits,
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
    return [key, isLeaf && value !== undefined ? { ...property, default: value } : property];
  });
  return { ...node, properties: Object.fromEntries(properties) };
}
