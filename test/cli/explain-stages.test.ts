/** `outrider explain` and `outrider check` on rules of the acl, endpoints, and the stages that are off by default. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { outrider } from "./terminal.ts";

const cwd = mkdtempSync(join(tmpdir(), "outrider-stages-"));
afterAll(() => rmSync(cwd, { recursive: true, force: true }));

writeFileSync(
  join(cwd, "outrider.yaml"),
  `version: 1
fleet: { store: redis://cache, rate_limit_service: "rl:8081" }
acl:
  rules:
    - { name: no-deletes, action: deny, methods: [DELETE], paths: [/v1] }
    - { name: reports, action: allow, hosts: [a.example], identities: ["reports-*"] }
    - { name: nobody-else, action: deny, hosts: [a.example] }
defaults: { circuit_breaker: { open_for: 3s }, hedge: { delay: 30ms } }
destinations:
  - { name: a, hosts: [a.example] }
  - name: b
    hosts: [b.example]
    endpoints: [{ host: 10.0.0.1, port: 81 }, { host: "fd00::1", port: 82, priority: 1, weight: 2 }]
    circuit_breaker: { min_calls: 3 }
    limits: { rate: 10/s, fleet: true, key_header: x-tenant, descriptors: [a=b], per_invocation: { calls: 9, bytes: 1MiB } }
    split: [{ host: next.example, weight: 5 }]
    mirror: { host: shadow.example, port: 8080, percent: 1 }
    routes: [{ match: { path: /off }, circuit_breaker: off, hedge: off, split: [] }]
`,
);

/** The facts and values that are printed, by their label. */
async function explained(...argv: string[]): Promise<Map<string, string>> {
  const { code, out, err } = await outrider(["explain", ...argv], { cwd });
  expect({ code, err }).toEqual({ code: 0, err: "" });
  return new Map(
    out
      .split("\n")
      .slice(2)
      .flatMap((line) => (/^ *([a-z_. ]*?[a-z]) {2,}(.*)$/.exec(line) ? [[RegExp.$1, RegExp.$2]] : [])),
  );
}

describe("access by rules", () => {
  test.each([
    [["http://a.example/"], "refused by acl.rules.nobody-else (acl.mode: enforce)"],
    [["http://a.example/", "--identity", "reports-daily"], "allowed by acl.rules.reports"],
    [["http://b.example/v1/x", "-X", "DELETE"], "refused by acl.rules.no-deletes (acl.mode: enforce)"],
    [["http://b.example/v10", "-X", "DELETE"], "allowed by destinations.b.access: allow"],
    [["https://b.example/v1/x", "-X", "DELETE"], "allowed by destinations.b.access: allow"],
  ])("%j", async (argv, access) => {
    expect((await explained(...argv)).get("access")).toBe(access);
  });
});

test("endpoints are shown in place of the one target, each with the guard's word", async () => {
  expect((await explained("http://b.example/")).get("goes to")).toBe(
    "plain, to one by least_request: 10.0.0.1:81 (priority 0, weight 1; the address is allowed), [fd00::1]:82 (priority 1, weight 2; the address is allowed)",
  );
});

describe("values of stages", () => {
  test("have the level that they come from", async () => {
    const values = await explained("http://b.example/");
    expect(values.get("circuit_breaker.open_for")).toMatch(/^defaults +3s$/);
    expect(values.get("circuit_breaker.min_calls")).toMatch(/^destination +3$/);
    expect(values.get("circuit_breaker.window")).toMatch(/^built-in +30s$/);
    expect(values.get("hedge.delay")).toMatch(/^defaults +30ms$/);
    expect(values.get("hedge.percentile")).toMatch(/^built-in +off$/);
    expect(values.get("split")).toMatch(/^destination +5% to next\.example by trace$/);
    expect(values.get("mirror.port")).toMatch(/^destination +8080$/);
    expect(values.get("fault")).toMatch(/^built-in +off$/);
  });

  test("are off where an inner level says so", async () => {
    const values = await explained("http://b.example/off");
    expect(values.get("circuit_breaker")).toMatch(/^route +off$/);
    expect(values.get("hedge")).toMatch(/^route +off$/);
    expect(values.get("split")).toMatch(/^route +none$/);
    expect(values.has("circuit_breaker.open_for")).toBe(false);
  });
});

test("check says in short what stages do", async () => {
  const { code, out, err } = await outrider(["check"], { cwd });
  expect({ code, err }).toEqual({ code: 0, err: "" });
  expect(out.split("\n")[2]).toBe(
    "  b        b.example: to one of 2 endpoints (least_request); at most 10/s of all sandboxes for each x-tenant; a rate limit service is asked; a second try after 30ms; circuit breaker; at most 9 calls and 1MiB per invocation; 5% to next.example; 1% copied to shadow.example:8080; 1 route",
  );
});
