/** Rate limits through the whole proxy: by key, shared over a real Redis, and judged by a service of gRPC's own library. */
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import type { PolicyFile } from "../../src/config/schema.ts";
import { skipWithout } from "../clients/needs.ts";
import { startRateLimitServer } from "../fleet/rate-limit-server.ts";
import { freePort, MISSING_REDIS, startRedis } from "../fleet/redis.ts";
import { eventually, passUntil } from "../kit/eventually.ts";
import { field } from "../kit/message.ts";
import { type Origin, ok, scriptedOrigin } from "../kit/origin.ts";
import { get, startProxy, type TestProxy } from "../kit/proxy.ts";

type Limits = NonNullable<NonNullable<PolicyFile["defaults"]>["limits"]>;

const policy = (limits: Limits, fleet?: PolicyFile["fleet"]): Omit<PolicyFile, "version"> => ({
  defaults: { limits },
  ...(fleet === undefined ? {} : { fleet }),
});

/** Far more than loopback needs; virtual, so that nothing waits for it. */
const STORE = { timeout: "10s" };

const statusOf = async (proxy: TestProxy, origin: Origin, fields = ""): Promise<number> =>
  (await proxy.ask(get(origin, "/", fields))).status;

describe("a rate limit by header", () => {
  test("refuses the tenant that has spent its rate, and serves the other", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([ok()]);
    const limits = { rate: "1/s", burst: 1, key_header: "x-tenant" };
    await using proxy = await startProxy({ policy: policy(limits), clock });
    expect(await statusOf(proxy, origin, "X-Tenant: a\r\n")).toBe(200);
    const refused = await proxy.ask(get(origin, "/", "X-Tenant: a\r\n"));
    expect([refused.status, field(refused, "outrider-error")]).toEqual([429, "RATE_LIMITED"]);
    expect(field(refused, "retry-after")).toBe("1");
    expect(await statusOf(proxy, origin, "X-Tenant: b\r\n")).toBe(200);
    expect(origin.requests).toHaveLength(2);
  });

  test("holds a call back until its tenant has a token, while another's goes at once", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([ok()]);
    const limits: Limits = { rate: "1/s", burst: 1, key_header: "x-tenant", overflow: "wait" };
    await using proxy = await startProxy({ policy: policy(limits), clock });
    expect(await statusOf(proxy, origin, "X-Tenant: a\r\n")).toBe(200);
    const waits = statusOf(proxy, origin, "X-Tenant: a\r\n");
    expect(await statusOf(proxy, origin, "X-Tenant: b\r\n")).toBe(200);
    expect(origin.requests).toHaveLength(2);
    const { value, elapsedMs } = await passUntil(clock, waits, { stepMs: 100 });
    expect(value).toBe(200);
    expect(elapsedMs).toBeGreaterThanOrEqual(1000);
    expect(origin.requests).toHaveLength(3);
  });
});

describe("a rate limit of the fleet", () => {
  test("is one limit for two proxies", async (context) => {
    skipWithout(context, MISSING_REDIS);
    const clock = new VirtualClock();
    await using redis = await startRedis();
    await using origin = await scriptedOrigin([ok()]);
    // An hour for the next token: the store's time is real.
    const shared = policy(
      { rate: "1/h", burst: 10, fleet: true },
      { store: `redis://127.0.0.1:${redis.port}`, ...STORE },
    );
    await using a = await startProxy({ policy: shared, clock });
    await using b = await startProxy({ policy: shared, clock });
    let passed = 0;
    for (let i = 0; i < 30; i++) {
      for (const proxy of [a, b]) {
        if ((await statusOf(proxy, origin)) === 200) passed += 1;
        await eventually("the store to have answered", () => proxy.fleet!.pending() === 0);
      }
      await clock.advance(200);
    }
    expect(passed).toBe(10);
    expect(origin.requests).toHaveLength(10);
  });

  test("goes on by itself when the store was never there and it fails open", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([ok()]);
    const store = `redis://127.0.0.1:${await freePort()}`;
    await using proxy = await startProxy({
      policy: policy({ rate: "1/s", burst: 1, fleet: true }, { store }),
      clock,
    });
    for (let i = 0; i < 3; i++) {
      expect(await statusOf(proxy, origin)).toBe(200);
      expect(await statusOf(proxy, origin)).toBe(429);
      await clock.advance(1000);
    }
  });

  test("refuses when the store was never there and it fails closed", async () => {
    await using origin = await scriptedOrigin([ok()]);
    const fleet = { store: `redis://127.0.0.1:${await freePort()}`, on_failure: "closed" as const };
    await using proxy = await startProxy({ policy: policy({ rate: "1/s", burst: 1, fleet: true }, fleet) });
    const refused = await proxy.get(origin);
    expect([refused.status, field(refused, "outrider-error")]).toEqual([429, "RATE_LIMITED"]);
    expect(origin.requests).toHaveLength(0);
  });
});

describe("a rate limit service", () => {
  const limits: Limits = {
    rate: "1/s",
    burst: 1,
    descriptors: ["tenant=$header:x-tenant", "to=$destination"],
  };

  test("decides each call, and its fields reach the origin and the client", async () => {
    await using server = await startRateLimitServer(({ descriptors }) =>
      descriptors[0]!.entries[0]!.value === "greedy"
        ? {
            overallCode: "OVER_LIMIT",
            statuses: [{ code: "OVER_LIMIT", durationUntilReset: { seconds: 7 } }],
            responseHeadersToAdd: [{ key: "X-Limit", value: "5" }],
          }
        : { overallCode: "OK", requestHeadersToAdd: [{ key: "X-Class", value: "gold" }] },
    );
    await using origin = await scriptedOrigin([ok()]);
    const fleet = { rate_limit_service: server.authority, rate_limit_domain: "shop", timeout: "10s" };
    await using proxy = await startProxy({ policy: policy(limits, fleet) });
    for (let i = 0; i < 3; i++) expect(await statusOf(proxy, origin, "X-Tenant: modest\r\n")).toBe(200);
    const refused = await proxy.ask(get(origin, "/", "X-Tenant: greedy\r\n"));
    expect([refused.status, field(refused, "outrider-error")]).toEqual([429, "RATE_LIMITED"]);
    expect([field(refused, "retry-after"), field(refused, "x-limit")]).toEqual(["7", "5"]);
    expect(origin.requests).toHaveLength(3);
    expect(field(origin.requests[0]!, "x-class")).toBe("gold");
    expect(server.questions[0]).toMatchObject({
      domain: "shop",
      descriptors: [
        {
          entries: [
            { key: "tenant", value: "modest" },
            { key: "to", value: "default" },
          ],
        },
      ],
    });
  });

  test("that is away leaves calls to the limit of the policy when it fails open", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([ok()]);
    const fleet = { rate_limit_service: `127.0.0.1:${await freePort()}` };
    await using proxy = await startProxy({ policy: policy(limits, fleet), clock });
    expect(await statusOf(proxy, origin, "X-Tenant: a\r\n")).toBe(200);
    expect(await statusOf(proxy, origin, "X-Tenant: a\r\n")).toBe(429);
  });

  test("that is silent is waited for no longer than the call's deadline", async () => {
    const clock = new VirtualClock();
    await using server = await startRateLimitServer(() => "silence");
    await using origin = await scriptedOrigin([ok()]);
    const fleet = { rate_limit_service: server.authority, timeout: "10s" };
    const limited = { ...policy(limits, fleet), defaults: { limits, timeout: "200ms" } };
    await using proxy = await startProxy({ policy: limited, clock });
    const asked = proxy.ask(get(origin, "/", "X-Tenant: a\r\n"));
    await eventually("the question to arrive", () => server.questions.length === 1);
    const { value } = await passUntil(clock, asked, { stepMs: 50 });
    expect([value.status, field(value, "outrider-error")]).toEqual([504, "DEADLINE_EXCEEDED"]);
    expect(origin.requests).toHaveLength(0);
  });
});
