/** What is shipped beside the code agrees with it: schema, reference page, example policies. */
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { compile } from "../../src/config/compile.ts";
import { DEFAULTS } from "../../src/config/defaults.ts";
import { STAGE_DEFAULTS } from "../../src/config/defaults-stages.ts";
import { effectiveValues } from "../../src/config/effective.ts";
import { definitionOf, jsonSchema, jsonSchemaText } from "../../src/config/json-schema.ts";
import { policyReference } from "../../src/config/reference.ts";
import { resolve } from "../../src/config/resolve.ts";

const root = new URL("../../", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), "utf8");

test("docs/policy.schema.json is what `outrider schema` prints", () => {
  expect(read("docs/policy.schema.json")).toBe(jsonSchemaText());
});

test("docs/policy.md is what `outrider schema --markdown` prints", () => {
  expect(read("docs/policy.md")).toBe(policyReference());
});

test("every key of the policy file has a description", () => {
  const undescribed = Object.entries(jsonSchema().$defs).flatMap(([id, { properties = {} }]) =>
    Object.entries(properties)
      .filter(([, node]) => definitionOf(node) === undefined && (node.description ?? "") === "")
      .map(([key]) => `${id}.${key}`),
  );
  expect(undescribed).toEqual([]);
});

/** The defaults of limits, less the keys that mean nothing without another. */
const OFF_LIMITS = {
  rate: "off",
  max_concurrency: "off",
  adaptive_concurrency: "off",
  per_invocation: "off",
};

test("every default that the reference shows can be written in a policy and changes nothing", () => {
  const file = {
    version: 1,
    on_proxy_failure: DEFAULTS.onProxyFailure,
    listen: DEFAULTS.listen,
    limits: DEFAULTS.limits,
    acl: DEFAULTS.acl,
    defaults: { ...DEFAULTS.policy, propagate: undefined, limits: OFF_LIMITS },
    telemetry: { ...DEFAULTS.telemetry, propagate: DEFAULTS.policy.propagate },
  };
  const compiled = compile(JSON.stringify(file), "defaults.json");
  expect(compiled).toMatchObject({ ok: true, warnings: [], config: resolve({ version: 1 }) });
});

test("`outrider explain` shows every value that levels can override", () => {
  const { limits, ...stages } = STAGE_DEFAULTS;
  const defaults = {
    limits: {
      rate: "1/s",
      burst: 1,
      max_concurrency: 1,
      adaptive_concurrency: {},
      per_invocation: { calls: 1 },
    },
    hedge: {},
    circuit_breaker: {},
    fallback: { status: 200 },
    stale_if_error: {},
    rewrite: { remove_headers: ["x"] },
    mirror: { host: "m", percent: 1 },
    fault: { percent: 1, reset: true, expires: "2020-01-01" },
  };
  const compiled = compile(JSON.stringify({ version: 1, defaults }), "p");
  if (!compiled.ok) throw new Error(compiled.problems.join("\n"));
  const shown = effectiveValues(compiled.config.destinations[0]!.policy).map(({ key }) => key.join("."));
  const leaves = (value: object, prefix: string): string[] =>
    Object.entries(value).flatMap(([key, inner]) =>
      typeof inner === "object" && !Array.isArray(inner)
        ? leaves(inner, `${prefix}${key}.`)
        : [`${prefix}${key}`],
    );
  const all = { ...DEFAULTS.policy, ...stages, limits: { ...DEFAULTS.policy.limits, ...limits } };
  expect(shown.toSorted()).toEqual([...leaves(all, ""), "limits.burst"].sort());
});

test("`outrider explain` shows what is off as off", () => {
  const shown = effectiveValues(resolve({ version: 1 }).destinations[0]!.policy);
  const off = shown.filter(({ value }) => value === "off").map(({ key }) => key.join("."));
  expect(off).toEqual(
    expect.arrayContaining(["hedge", "limits.per_invocation", "mirror", "deadline_header"]),
  );
});

const examples = readdirSync(new URL("examples/policies/", root)).filter((name) => name.endsWith(".yaml"));

test("there are example policies", () => {
  expect(examples).toEqual([
    "access.yaml",
    "canary.yaml",
    "database.yaml",
    "deny-by-default.yaml",
    "interception.yaml",
    "minimal.yaml",
    "payments.yaml",
    "resilience.yaml",
  ]);
});

test.each(examples)("examples/policies/%s is valid and gives no warning", (name) => {
  expect(compile(read(`examples/policies/${name}`), name)).toMatchObject({
    ok: true,
    warnings: [],
  });
});

test("the policy on the reference page is valid", () => {
  const [, sample] = /```yaml\n([\s\S]*?)```/.exec(policyReference()) ?? [];
  expect(compile(sample!, "sample.yaml")).toMatchObject({ ok: true, warnings: [] });
});
