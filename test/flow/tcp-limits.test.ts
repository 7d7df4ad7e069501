/** What bounds connections of `protocol: tcp`, and what becomes of those that get no upstream. */
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { eventually, passUntil, signal } from "../kit/eventually.ts";
import { scriptedOrigin } from "../kit/origin.ts";
import { startProxy } from "../kit/proxy.ts";
import { application, deadPort, echo, failed, isReset, to } from "./tcp-destination.ts";

describe("a connection that gets no upstream is reset, and the record says why:", () => {
  test("nobody listens there", async () => {
    await using proxy = await startProxy(to(await deadPort()));
    await isReset(proxy);
    await failed(proxy, "CONNECT_FAILED");
    await eventually("the connection to be closed", () => proxy.proxy.listener.open().connections === 0);
    expect(proxy.proxy.listener.open().tunnels).toBe(0);
  });

  test("the policy denies it", async () => {
    await using origin = await scriptedOrigin([echo()]);
    await using proxy = await startProxy(to(origin, { access: "deny" }));
    await isReset(proxy);
    await failed(proxy, "DENIED");
    expect(origin.connections).toHaveLength(0);
  });

  test("its rate is used up", async () => {
    await using origin = await scriptedOrigin([echo()]);
    await using proxy = await startProxy(to(origin, { limits: { rate: "1/h", burst: 1 } }));
    using first = await application(proxy);
    await first.write("x");
    await first.take(1);
    await isReset(proxy);
    await failed(proxy, "RATE_LIMITED");
    expect(origin.connections).toHaveLength(1);
  });

  test("as many are open as the policy allows, until one of them ends", async () => {
    await using origin = await scriptedOrigin([echo()]);
    await using proxy = await startProxy(to(origin, { limits: { max_concurrency: 1 } }));
    using first = await application(proxy);
    await first.write("x");
    await first.take(1);
    await isReset(proxy);
    await failed(proxy, "CONCURRENCY_LIMITED");
    first.halfClose();
    await first.closed();
    await eventually("the first to be over", () => proxy.proxy.listener.open().tunnels === 0);
    using third = await application(proxy);
    await third.write("y");
    expect((await third.take(1)).toString()).toBe("y");
  });

  test("as many tunnels are open as the proxy carries", async () => {
    await using origin = await scriptedOrigin([echo()]);
    await using proxy = await startProxy(to(origin, {}, { tunnels: 1 }));
    using first = await application(proxy);
    await first.write("x");
    await first.take(1);
    await isReset(proxy);
    expect(proxy.proxy.listener.open().tunnels).toBe(1);
  });
});

test("a look-up that fails is tried again where the policy says so", async () => {
  await using origin = await scriptedOrigin([echo()]);
  let lookups = 0;
  const retry = {
    max_retries: 1,
    on: ["connect_failure" as const],
    backoff: { base: "1ms", max: "1ms" },
    budget: { floor: 1 },
  };
  await using proxy = await startProxy({
    ...to(origin, { upstream: { host: "db.test", port: origin.port }, retry }),
    lookup: async () => {
      lookups += 1;
      if (lookups === 1) throw Object.assign(new Error("later"), { code: "EAI_AGAIN" });
      return [{ address: "127.0.0.1", family: 4 }];
    },
  });
  using client = await application(proxy);
  await client.write("x");
  expect((await client.take(1)).toString()).toBe("x");
  expect(lookups).toBe(2);
});

test("an application that leaves before the upstream is there takes its dial with it", async () => {
  const asked = signal();
  await using origin = await scriptedOrigin([echo()]);
  await using proxy = await startProxy({
    ...to(origin, { upstream: { host: "db.test", port: origin.port } }),
    lookup: () => {
      asked.give();
      return new Promise(() => {});
    },
  });
  using client = await application(proxy);
  await asked.given;
  client.reset();
  await failed(proxy, "CLIENT_GONE");
  await eventually("the connection to be closed", () => proxy.proxy.listener.open().connections === 0);
  expect(proxy.proxy.listener.open().tunnels).toBe(0);
});

describe("time:", () => {
  test("timeout bounds connecting", async () => {
    const clock = new VirtualClock();
    await using proxy = await startProxy({
      ...to({ port: 1 }, { upstream: { host: "db.test", port: 1 }, timeout: "3s", dns_timeout: "1h" }),
      clock,
      lookup: () => new Promise(() => {}),
    });
    using client = await application(proxy);
    await passUntil(clock, client.gone());
    expect(client.parting).toBe("reset");
    await failed(proxy, "DEADLINE_EXCEEDED");
  });

  test("timeout does not bound what follows", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([echo()]);
    await using proxy = await startProxy({ ...to(origin, { timeout: "3s" }), clock });
    using client = await application(proxy);
    await client.write("x");
    await client.take(1);
    await clock.advance(60_000);
    await client.write("y");
    expect((await client.take(1)).toString()).toBe("y");
  });

  test("a connection through which nothing passes for limits.tunnel_idle is reset on both sides", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([echo()]);
    await using proxy = await startProxy({ ...to(origin, {}, { tunnel_idle: "60s" }), clock });
    using client = await application(proxy);
    for (let round = 0; round < 3; round++) {
      await client.write("x");
      await client.take(1);
      for (let second = 0; second < 50; second++) await clock.advance(1000);
      expect(client.parting).toBe(null);
    }
    await passUntil(clock, client.gone());
    expect(client.parting).toBe("reset");
    expect(await origin.connections[0]!.gone()).toBe("reset");
    await failed(proxy, "TUNNEL_IDLE");
  });

  test("so is a tunnel that was asked for with CONNECT", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([echo()]);
    const { port } = origin;
    await using proxy = await startProxy({
      ...to(origin, { protocol: "http", upstream: { host: "127.0.0.1", port } }, { tunnel_idle: "60s" }),
      clock,
    });
    using client = await proxy.client();
    await client.ask("CONNECT db.test:443 HTTP/1.1\r\nHost: db.test:443\r\n\r\n");
    await passUntil(clock, client.gone());
    expect(client.parting).toBe("reset");
    expect(await origin.connections[0]!.gone()).toBe("reset");
    await failed(proxy, "TUNNEL_IDLE");
  });

  test("with limits.tunnel_idle: off it may be silent for ever", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([echo()]);
    await using proxy = await startProxy({ ...to(origin, {}, { tunnel_idle: "off" }), clock });
    using client = await application(proxy);
    await client.write("x");
    await client.take(1);
    for (let hour = 0; hour < 30; hour++) await clock.advance(3_600_000);
    await client.write("y");
    expect((await client.take(1)).toString()).toBe("y");
  });
});
