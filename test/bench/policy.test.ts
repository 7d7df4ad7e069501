/** Outrider is measured with its stages on, by a policy that it accepts. */

import { expect, test } from "vitest";
import { policy } from "../../bench/peers/outrider.ts";
import { routedPolicy } from "../../bench/peers/outrider-routed.ts";
import { STAGES, stagePolicy } from "../../bench/peers/outrider-stages.ts";
import { compile } from "../../src/config/compile.ts";

test("the policy of the bench is valid, and has limits, deadlines, traces and sampled logs on", () => {
  const compiled = compile(policy({ port: 40_000, originPort: 40_001 }), "outrider.yaml");
  expect(compiled).toMatchObject({ ok: true, warnings: [] });
  if (!compiled.ok) return;
  const { acl, destinations, telemetry } = compiled.config;
  expect(acl).toMatchObject({ default: "deny", mode: "enforce" });
  expect(destinations[0]).toMatchObject({
    hosts: ["127.0.0.1"],
    allowAddresses: ["127.0.0.1:40001"],
    policy: {
      timeoutMs: 10_000,
      rateLimit: { perSecond: 100_000 },
      concurrency: { max: 1000 },
      propagate: ["tracecontext", "xray"],
    },
  });
  expect(telemetry).toMatchObject({ accessLog: "sampled", sampleRatio: 0.01 });
});

test.each([
  ["tunnel", "", {}],
  ["intercept", '    tls: { intercept: true, ca: "file:/ca.pem" }\n', { tls: { intercept: true } }],
  ["h2", "    http_version: http2\n", { httpVersion: "http2" }],
])("the policy of the bench %s is valid, and has the same features on", (_bench, keys, expected) => {
  const compiled = compile(routedPolicy({ port: 40_000, originPort: 40_001, keys }), "outrider.yaml");
  expect(compiled).toMatchObject({ ok: true, warnings: [] });
  if (!compiled.ok) return;
  expect(compiled.config.destinations[0]).toMatchObject({
    ...expected,
    hosts: ["localhost"],
    policy: { timeoutMs: 60_000, concurrency: { max: 5000 }, propagate: ["tracecontext", "xray"] },
  });
});

test.each(STAGES.map((stage) => [stage.name, stage] as const))(
  "the policy of the bench policy-chain with %s is valid",
  (_name, stage) => {
    const compiled = compile(stagePolicy({ port: 40_000, originPort: 40_001, stage }), "outrider.yaml");
    expect(compiled).toMatchObject({ ok: true, warnings: [] });
  },
);

test("without a stage nothing is configured but what is always there, and with all of them everything is", () => {
  const policyOf = (name: string) => {
    const stage = STAGES.find((one) => one.name === name)!;
    const compiled = compile(stagePolicy({ port: 40_000, originPort: 40_001, stage }), "outrider.yaml");
    if (!compiled.ok) throw new Error("does not compile");
    return compiled.config.destinations[0]!.policy;
  };
  const off = {
    rateLimit: null,
    concurrency: null,
    hedge: null,
    circuitBreaker: null,
    fault: null,
    mirror: null,
  };
  expect(policyOf("none")).toMatchObject({ ...off, timeoutMs: 0, propagate: [], retry: { maxRetries: 0 } });
  const values = Object.entries(policyOf("all"));
  const idle = values.filter(
    ([, value]) => value === null || value === 0 || (Array.isArray(value) && value.length === 0),
  );
  // The caller's own headers are read by the deadline, which each of the other subjects has too.
  expect(idle.map(([key]) => key)).toEqual(["deadlineHeaders"]);
});
