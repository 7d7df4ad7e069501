/** `outrider compile` and `outrider schema`. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { jsonSchemaText } from "../../src/config/json-schema.ts";
import { loadPolicy } from "../../src/config/load.ts";
import { policyReference } from "../../src/config/reference.ts";
import { outrider } from "./terminal.ts";

const cwd = mkdtempSync(join(tmpdir(), "outrider-compile-"));
afterAll(() => rmSync(cwd, { recursive: true, force: true }));
writeFileSync(
  join(cwd, "p.yaml"),
  "version: 1\nacl: { default: deny }\ndestinations: [{ name: a, hosts: [x], timeout: 8s }]\n",
);
writeFileSync(join(cwd, "bad.yaml"), "version: 1\nx: 1\n");

test("writes to standard output what the cold path reads, warnings elsewhere", async () => {
  const { code, out, err } = await outrider(["compile", "p.yaml"], { cwd });
  expect({ code, err }).toEqual({
    code: 0,
    err: expect.stringMatching(/^p\.yaml:2:17: acl\.default: warning: .*\n$/),
  });
  writeFileSync(join(cwd, "stdout.json"), out);
  expect(loadPolicy(join(cwd, "stdout.json"))).toMatchObject({
    kind: "compiled",
    config: { format: 3, destinations: [{ name: "a", policy: { timeoutMs: 8000 } }, { name: "default" }] },
  });
});

test.each(["-o", "--output"])(
  "%s writes the same bytes to a file, replacing an older one",
  async (option) => {
    writeFileSync(join(cwd, "out.json"), "older");
    const { code, out } = await outrider(["compile", "p.yaml", option, "out.json"], { cwd });
    expect({ code, out }).toEqual({ code: 0, out: "" });
    expect(readFileSync(join(cwd, "out.json"), "utf8")).toBe(
      (await outrider(["compile", "p.yaml"], { cwd })).out,
    );
    expect(readdirSync(cwd).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  },
);

test("a policy with problems writes nothing", async () => {
  const { code, out, err } = await outrider(["compile", "bad.yaml", "-o", "never.json"], { cwd });
  expect({ code, out }).toEqual({ code: 1, out: "" });
  expect(err).toMatch(/^bad\.yaml:2:1: x: unknown key; .*\n$/);
  expect(readdirSync(cwd)).not.toContain("never.json");
});

test("a folder that does not exist is named", async () => {
  expect(await outrider(["compile", "p.yaml", "-o", "absent/out.json"], { cwd })).toMatchObject({
    code: 1,
    err: expect.stringMatching(
      /outrider: absent\/out\.json cannot be written \(ENOENT\); name a file in a folder that exists/,
    ),
  });
});

test("the policy itself is not overwritten", async () => {
  expect(await outrider(["compile", "p.yaml", "-o", "./p.yaml"], { cwd })).toMatchObject({ code: 2 });
  expect(readFileSync(join(cwd, "p.yaml"), "utf8")).toMatch(/^version: 1/);
});

test("a compiled policy is not compiled again", async () => {
  await outrider(["compile", "p.yaml", "-o", "once.json"], { cwd });
  expect(await outrider(["compile", "once.json"], { cwd })).toEqual({
    code: 1,
    out: "",
    err: "outrider: once.json is compiled already; name the policy it was made from\n",
  });
});

test("schema prints the JSON Schema, with --markdown the reference page", async () => {
  expect(await outrider(["schema"])).toEqual({ code: 0, out: jsonSchemaText(), err: "" });
  expect(await outrider(["schema", "--markdown"])).toEqual({ code: 0, out: policyReference(), err: "" });
});
