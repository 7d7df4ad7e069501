/** What the running invocation gives to calls: a deadline, a trace, and after a pause a pool without sleepers. */
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import type { PolicyFile } from "../../src/config/schema.ts";
import { passUntil } from "../kit/eventually.ts";
import { field } from "../kit/message.ts";
import { ok, scriptedOrigin, silence } from "../kit/origin.ts";
import { get, startProxy } from "../kit/proxy.ts";

const defaults = (values: PolicyFile["defaults"]): Omit<PolicyFile, "version"> => ({ defaults: values });

describe("the deadline of a call is the nearest of", () => {
  /** Virtual time after which a call to a silent origin is answered. */
  async function endsAfter(fields: string, values: PolicyFile["defaults"], invocationMs: number) {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([silence()]);
    await using proxy = await startProxy({ clock, policy: defaults({ idle_timeout: "10m", ...values }) });
    if (invocationMs > 0) proxy.lifecycle.workStarted("id", clock.wall() + invocationMs, "");
    using client = await proxy.client();
    await client.write(get(origin, "/", fields));
    await origin.connected(1);
    const { value, elapsedMs } = await passUntil(clock, client.response(), { stepMs: 100 });
    expect([value.status, field(value, "outrider-error")]).toEqual([504, "DEADLINE_EXCEEDED"]);
    // What the upstream saw of it: its connection was closed, so that it can stop working.
    await origin.connections[0]!.gone();
    return elapsedMs;
  }

  test.each<[string, string, PolicyFile["defaults"], number, number]>([
    ["the policy's timeout", "grpc-timeout: 9S\r\n", { timeout: "3s" }, 60_000, 3000],
    ["the caller's grpc-timeout", "grpc-timeout: 700m\r\n", { timeout: "3s" }, 60_000, 700],
    ["the invocation less the reserve", "", { timeout: "30s", deadline_reserve: "500ms" }, 2500, 2000],
    [
      "a header that the policy names",
      "X-Left: 1.5\r\n",
      { deadline_headers: [{ name: "x-left", format: "seconds" }] },
      0,
      1500,
    ],
  ])("%s", async (_what, fields, values, invocationMs, expectedMs) => {
    const elapsedMs = await endsAfter(fields, values, invocationMs);
    expect(elapsedMs).toBeGreaterThanOrEqual(expectedMs);
    expect(elapsedMs).toBeLessThanOrEqual(expectedMs + 500);
  });

  test("and a call that begins past it is not sent", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy({ clock, policy: defaults({ deadline_reserve: "5s" }) });
    proxy.lifecycle.workStarted("id", clock.wall() + 4000, "");
    const refused = await proxy.get(origin);
    expect([refused.status, field(refused, "outrider-error")]).toEqual([504, "DEADLINE_EXCEEDED"]);
    expect(origin.connections).toHaveLength(0);
  });
});

describe("trace context", () => {
  test("is that of the invocation, in the platform's own form, where the call brings none", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy({
      clock,
      policy: { telemetry: { propagate: ["tracecontext", "xray"] } },
    });
    const root = "1-5759e988-bd862e3fe1be46a994272793";
    proxy.lifecycle.workStarted(
      "id",
      clock.wall() + 60_000,
      `Root=${root};Parent=53995c3f42cd8ad8;Sampled=1`,
    );
    await proxy.get(origin);
    const [request] = origin.requests;
    const [, span] = /^00-5759e988bd862e3fe1be46a994272793-([0-9a-f]{16})-0[13]$/.exec(
      field(request!, "traceparent") ?? "",
    )!;
    expect(field(request!, "x-amzn-trace-id")).toBe(`Root=${root};Parent=${span};Sampled=1`);
    expect(span).not.toBe("53995c3f42cd8ad8");
  });

  test("is left alone where a signature covers it", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy({ policy: { telemetry: { propagate: ["tracecontext", "xray"] } } });
    const parent = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
    const signed =
      "Authorization: AWS4-HMAC-SHA256 Credential=A/20260101/r/s/aws4_request, " +
      "SignedHeaders=host;traceparent, Signature=0\r\n";
    await proxy.ask(get(origin, "/", parent + signed));
    expect(origin.requests[0]!.head).toContain(parent);
    expect(field(origin.requests[0]!, "x-amzn-trace-id")).toMatch(/^Root=1-/);
  });
});

test("a thaw after a long pause closes what slept in the pool", async () => {
  const clock = new VirtualClock();
  await using origin = await scriptedOrigin([ok()]);
  await using proxy = await startProxy({ clock });
  proxy.lifecycle.workStarted("1", Number.POSITIVE_INFINITY, "");
  await proxy.get(origin);
  await proxy.lifecycle.workFinished();
  await clock.advance(3900);
  expect(proxy.proxy.upstream.stats().idle).toBe(1);
  await clock.advance(300);
  proxy.lifecycle.workStarted("2", Number.POSITIVE_INFINITY, "");
  expect(proxy.proxy.upstream.stats().idle).toBe(0);
  await proxy.get(origin);
  expect(origin.requests.map(({ connection }) => connection)).toEqual([1, 2]);
});
