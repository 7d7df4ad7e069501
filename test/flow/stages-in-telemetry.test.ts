/** What real stages did to real calls, as the log and the metrics tell it. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { systemClock } from "../../src/clock.ts";
import { eventually } from "../kit/eventually.ts";
import { answer, ok, scriptedOrigin } from "../kit/origin.ts";
import { type ProxyOptions, startProxy, type TestProxy } from "../kit/proxy.ts";

const folder = mkdtempSync(join(tmpdir(), "outrider-stages-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const unavailable = answer("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");

/** A proxy that writes its lines into a file. */
async function startLogging(name: string, policy: NonNullable<ProxyOptions["policy"]>) {
  const file = join(folder, name);
  const telemetry = { destination: `file:${file}`, propagate: [] };
  const proxy = await startProxy({ policy: { ...policy, telemetry } });
  await proxy.proxy.telemetry.start();
  return { proxy, lines: () => linesOf(proxy, file) };
}

/** The lines of all calls so far. */
async function linesOf({ proxy }: TestProxy, file: string): Promise<Record<string, unknown>[]> {
  await eventually("the calls to be over", () => proxy.telemetry.metrics().openCalls === 0);
  await proxy.telemetry.flush(10_000);
  return readFileSync(file, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

test("a fallback, and the breaker that opened behind it", async () => {
  await using origin = await scriptedOrigin([unavailable]);
  const { proxy, lines } = await startLogging("fallback", {
    defaults: {
      fallback: { status: 200, content_type: "text/plain", body: "later" },
      circuit_breaker: { consecutive_failures: 2, open_for: "1h" },
    },
  });
  await using _ = proxy;
  for (let i = 0; i < 3; i++) expect(String((await proxy.get(origin)).body)).toBe("later");
  expect(origin.requests).toHaveLength(2);
  const calls = await lines();
  expect(calls.map(({ status, attempts }) => [status, attempts])).toEqual([
    [200, 1],
    [200, 1],
    [200, 0],
  ]);
  expect(calls.map(({ stages }) => stages)).toEqual([
    { served: "fallback", served_for: expect.stringContaining("503") },
    {
      served: "fallback",
      served_for: expect.stringContaining("503"),
      breaker: "open",
      breaker_why: expect.any(String),
    },
    { served: "fallback", served_for: "CIRCUIT_OPEN" },
  ]);
  const { stages } = proxy.proxy.telemetry.metrics().destinations[0]!;
  expect(stages).toMatchObject({
    served: [{ label: "fallback", count: 3 }],
    breakerTransitions: [{ label: "open", count: 1 }],
    breakers: { open: 1, half_open: 0 },
  });
});

test("a budget that is spent, and a split", async () => {
  await using origin = await scriptedOrigin([ok()]);
  const { proxy, lines } = await startLogging("budget", {
    defaults: {
      limits: { per_invocation: { calls: 1 } },
      split: [{ host: "127.0.0.1", port: origin.port, weight: 100, sticky: "none" }],
    },
  });
  await using _ = proxy;
  proxy.lifecycle.workStarted("inv-1", systemClock.wall() + 60_000, "");
  await proxy.get(origin);
  await proxy.get(origin);
  const calls = (await lines()).filter(({ event }) => event === "call");
  expect(calls.map(({ status, error }) => [status, error])).toEqual([
    [200, undefined],
    [429, "BUDGET_SPENT"],
  ]);
  expect(calls.map(({ stages }) => stages)).toEqual([
    { split_host: "127.0.0.1" },
    { limited_by: "invocation budget" },
  ]);
});
