/** Outrider is measured with its stages on, by a policy that it accepts. */

import { expect, test } from "vitest";
import { policy } from "../../bench/peers/outrider.ts";
import { routedPolicy } from "../../bench/peers/outrider-routed.ts";
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
