/** What is shipped beside the code agrees with it: schema, reference page, example policies. */
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { compile } from "../../src/config/compile.ts";
import { DEFAULTS } from "../../src/config/defaults.ts";
import { effectiveValues } from "../../src/config/effective.ts";
import { jsonSchema, jsonSchemaText } from "../../src/config/json-schema.ts";
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
      .filter(([, { $ref, description }]) => $ref === undefined && (description ?? "") === "")
      .map(([key]) => `${id}.${key}`),
  );
  expect(undescribed).toEqual([]);
});

test("every default that the reference shows can be written in a policy and changes nothing", () => {
  const file = {
    version: 1,
    on_proxy_failure: DEFAULTS.onProxyFailure,
    listen: DEFAULTS.listen,
    limits: DEFAULTS.limits,
    acl: DEFAULTS.acl,
    defaults: { ...DEFAULTS.policy, propagate: undefined, limits: { rate: "off", max_concurrency: "off" } },
    telemetry: { ...DEFAULTS.telemetry, propagate: DEFAULTS.policy.propagate },
  };
  const compiled = compile(JSON.stringify(file), "defaults.json");
  expect(compiled).toMatchObject({ ok: true, warnings: [], config: resolve({ version: 1 }) });
});

test("`outrider explain` shows every value that levels can override", () => {
  const text =
    "version: 1\ndefaults: { limits: { rate: 1/s, burst: 1, overflow: wait, max_concurrency: 1, queue: 1 } }";
  const compiled = compile(text, "p");
  if (!compiled.ok) throw new Error(compiled.problems.join("\n"));
  const shown = new Set(
    effectiveValues(compiled.config.destinations[0]!.policy).map(({ key }) => key.join(".")),
  );
  const leaves = (value: object, prefix: string): string[] =>
    Object.entries(value).flatMap(([key, inner]) =>
      typeof inner === "object" && !Array.isArray(inner)
        ? leaves(inner, `${prefix}${key}.`)
        : [`${prefix}${key}`],
    );
  expect([...shown].sort()).toEqual([...leaves(DEFAULTS.policy, ""), "limits.burst"].sort());
});

const examples = readdirSync(new URL("examples/policies/", root)).filter((name) => name.endsWith(".yaml"));

test("there are example policies", () => {
  expect(examples).toEqual([
    "database.yaml",
    "deny-by-default.yaml",
    "interception.yaml",
    "minimal.yaml",
    "payments.yaml",
  ]);
});

test.each(examples)("examples/policies/%s is valid and gives no warning", (name) => {
  expect(compile(read(`examples/policies/${name}`), name)).toMatchObject({ ok: true, warnings: [] });
});

test("the policy on the reference page is valid", () => {
  const [, sample] = /```yaml\n([\s\S]*?)```/.exec(policyReference()) ?? [];
  expect(compile(sample!, "sample.yaml")).toMatchObject({ ok: true, warnings: [] });
});
