/** S16: who is slow on purpose is shown the door in time, and costs nobody else anything meanwhile. In virtual time, over real sockets. */
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { certificate, certificateFile } from "../kit/certificates.ts";
import { eventually, passUntil } from "../kit/eventually.ts";
import { field } from "../kit/message.ts";
import { ok, scriptedOrigin, silence, step } from "../kit/origin.ts";
import { get, startProxy, type TestProxy } from "../kit/proxy.ts";
import type { Client } from "../kit/raw-client.ts";

const DEFAULT_HEAD_MS = 10_000;
const DEFAULT_IDLE_MS = 60_000;

const openConnections = (proxy: TestProxy): number => proxy.proxy.listener.open().connections;

/** `count` connections that are up to no good. */
async function crowd(proxy: TestProxy, count: number): Promise<Client[] & Disposable> {
  const clients = await Promise.all(Array.from({ length: count }, () => proxy.client()));
  await eventually("all of them to be accepted", () => openConnections(proxy) === count);
  return Object.assign(clients, {
    [Symbol.dispose]: () => {
      for (const client of clients) client.destroy();
    },
  });
}

/** Lets a byte of `next` come on each of `clients` each second, until all are gone. Returns the virtual milliseconds. */
async function dribble(
  clock: VirtualClock,
  clients: readonly Client[],
  next: string,
  limitMs: number,
): Promise<number> {
  let elapsedMs = 0;
  while (clients.some((client) => client.parting === null)) {
    if (elapsedMs > limitMs) throw new Error(`still there after ${elapsedMs} virtual ms`);
    for (const client of clients) if (client.parting === null) void client.write(next);
    await clock.advance(1000);
    await new Promise((resolve) => setTimeout(resolve, 5));
    elapsedMs += 1000;
  }
  return elapsedMs;
}

describe("S16: slowloris:", () => {
  test.each([
    ["in the request line", "GET http://a.test/", "x"],
    ["in a field's name", "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nX", "x"],
    ["in one field after the other", "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n", "X: y\r\n"],
  ])(
    "S16: fifty heads that come a byte at a time, %s, all get 408 after limits.head_timeout",
    async (_, first, next) => {
      const clock = new VirtualClock();
      await using origin = await scriptedOrigin([ok("served")]);
      await using proxy = await startProxy({ clock });
      using clients = await crowd(proxy, 50);
      for (const client of clients) await client.write(first);
      // Others are served meanwhile.
      expect((await proxy.get(origin)).body.toString()).toBe("served");
      const elapsedMs = await dribble(clock, clients, next, 60_000);
      expect(elapsedMs).toBeGreaterThanOrEqual(DEFAULT_HEAD_MS);
      for (const client of clients) expect(client.received).toMatch(/^HTTP\/1\.1 408 /);
      expect(origin.requests).toHaveLength(1);
      // They do not end their side: they are waited for a moment, and then no more.
      await passUntil(
        clock,
        eventually("all of them to be gone", () => openConnections(proxy) === 0),
      );
    },
  );

  test("S16: empty lines in front of a request are no progress", async () => {
    const clock = new VirtualClock();
    await using proxy = await startProxy({ clock });
    using clients = await crowd(proxy, 1);
    await dribble(clock, clients, "\r\n", 120_000);
    await passUntil(
      clock,
      eventually("it to be gone", () => openConnections(proxy) === 0),
    );
  });
});

describe("S16: a body that stops", () => {
  test.each([
    ["of stated length", "Content-Length: 100000\r\n\r\nbegin"],
    ["in a chunk", "Transfer-Encoding: chunked\r\n\r\nffff\r\nbegin"],
    ["in a chunk's size", "Transfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n1"],
    ["in its trailers", "Transfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n0\r\nX: "],
  ])(
    "S16: %s gets 408 after idle_timeout; the origin gets no whole request, and its connection is free",
    async (_, rest) => {
      const clock = new VirtualClock();
      await using origin = await scriptedOrigin([step(() => false, "head"), ok("served")]);
      await using proxy = await startProxy({ clock });
      using client = await proxy.client();
      await client.write(`POST http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\n${rest}`);
      await origin.connected(1);
      await origin.connections[0]!.seen("begin");
      const { value, elapsedMs } = await passUntil(clock, client.response());
      expect([value.status, field(value, "outrider-error")]).toEqual([408, "BODY_TIMEOUT"]);
      expect(elapsedMs).toBeGreaterThanOrEqual(DEFAULT_IDLE_MS);
      await origin.connections[0]!.gone();
      expect(origin.received).not.toMatch(/\r\n0\r\n\r\n$/);
      expect((await proxy.get(origin)).body.toString()).toBe("served");
    },
  );

  test("S16: one that dribbles is bounded by timeout, where the policy has one", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([step(() => false, "head")]);
    await using proxy = await startProxy({ clock, policy: { defaults: { timeout: "30s" } } });
    using client = await proxy.client();
    await client.write(
      `POST http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n`,
    );
    await origin.connected(1);
    await origin.connections[0]!.seen("\r\n\r\n");
    const elapsedMs = await dribble(clock, [client], "x", 60_000);
    expect(elapsedMs).toBeGreaterThanOrEqual(30_000);
    expect(client.received).toMatch(/^HTTP\/1\.1 504 /);
    await origin.connections[0]!.gone();
  });
});

describe("S16: a reader that takes nothing", () => {
  test("S16: is reset after idle_timeout, its origin is let go, and others are served meanwhile", async () => {
    const clock = new VirtualClock();
    const size = 48 * 1024 * 1024;
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
        await peer.write(Buffer.alloc(size, 97));
        return false;
      }),
      ok("served"),
    ]);
    await using proxy = await startProxy({ clock });
    using client = await proxy.client();
    client.pause();
    await client.write(get(origin));
    await origin.connected(1);
    await eventually("the origin to be held back", () => origin.connections[0]!.socket.writableLength > 0);
    expect((await proxy.get(origin)).body.toString()).toBe("served");
    const { elapsedMs } = await passUntil(clock, origin.connections[0]!.gone());
    expect(elapsedMs).toBeGreaterThanOrEqual(DEFAULT_IDLE_MS);
    await eventually("it to be gone", () => openConnections(proxy) === 0);
  });
});

describe("S16: CONNECT", () => {
  test("S16: that nobody follows up ends at limits.keep_alive when it fails, and holds no tunnel", async () => {
    const clock = new VirtualClock();
    await using proxy = await startProxy({ clock, lookup: () => new Promise(() => {}) });
    using client = await proxy.client();
    await client.write("CONNECT slow.test:443 HTTP/1.1\r\nHost: slow.test:443\r\n\r\n");
    await eventually("the tunnel to be counted", () => proxy.proxy.listener.open().tunnels === 1);
    const { value } = await passUntil(clock, client.response(), { stepMs: 100 });
    expect(value.status).toBe(504);
    await eventually("the tunnel to be given back", () => proxy.proxy.listener.open().tunnels === 0);
  });

  test("S16: idle tunnels are bounded by limits.tunnels, and calls are served beside them", async () => {
    await using origin = await scriptedOrigin([
      step(() => false, "connect"),
      step(() => false, "connect"),
      ok("served"),
    ]);
    const upstream = { host: "127.0.0.1", port: origin.port };
    await using proxy = await startProxy({
      policy: { limits: { tunnels: 2 }, destinations: [{ name: "t", hosts: ["t.test"], upstream }] },
    });
    const CONNECT = "CONNECT t.test:443 HTTP/1.1\r\nHost: t.test:443\r\n\r\n";
    using first = await proxy.client();
    using second = await proxy.client();
    using third = await proxy.client();
    expect((await first.ask(CONNECT)).status).toBe(200);
    expect((await second.ask(CONNECT)).status).toBe(200);
    const refused = await third.ask(CONNECT);
    expect([refused.status, field(refused, "outrider-error")]).toEqual([503, "OVERLOADED"]);
    expect((await proxy.get(origin)).body.toString()).toBe("served");
  });
});

describe("S16: an origin", () => {
  test("S16: whose handshake never ends costs tls_timeout, and others are served meanwhile", async () => {
    const clock = new VirtualClock();
    await using stuck = await scriptedOrigin([step(() => false, "connect")]);
    await using fine = await scriptedOrigin([ok("served")], { tls: certificate("server") });
    const tls = { originate: true, ca: certificateFile("ca") };
    const to = (name: string, port: number) => ({
      name,
      hosts: [`${name}.test`],
      upstream: { host: "127.0.0.1", port },
      tls: { ...tls, server_name: "api.test" },
    });
    await using proxy = await startProxy({
      clock,
      policy: { destinations: [to("stuck", stuck.port), to("fine", fine.port)] },
    });
    const ask = (name: string): string => `GET http://${name}.test/ HTTP/1.1\r\nHost: ${name}.test\r\n\r\n`;
    using client = await proxy.client();
    const answered = client.ask(ask("stuck"));
    await stuck.connected(1);
    expect((await proxy.ask(ask("fine"))).body.toString()).toBe("served");
    const { value, elapsedMs } = await passUntil(clock, answered, { stepMs: 100 });
    expect([value.status, field(value, "outrider-error")]).toEqual([504, "TLS_TIMEOUT"]);
    expect(elapsedMs).toBeGreaterThanOrEqual(5000);
  });

  test("S16: whose head comes a byte at a time is bounded by timeout, where the policy has one", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([silence()]);
    await using proxy = await startProxy({ clock, policy: { defaults: { timeout: "20s" } } });
    using client = await proxy.client();
    await client.write(get(origin));
    await origin.connected(1);
    const [peer] = origin.connections;
    await peer!.seen("\r\n\r\n");
    await peer!.write("HTTP/1.1 200 OK\r\nX-Slow: ");
    let over = false;
    const answered = client.response().finally(() => (over = true));
    let elapsedMs = 0;
    while (!over) {
      expect(elapsedMs).toBeLessThan(60_000);
      await peer!.write("x");
      await clock.advance(1000);
      await new Promise((resolve) => setTimeout(resolve, 5));
      elapsedMs += 1000;
    }
    expect(elapsedMs).toBeGreaterThanOrEqual(20_000);
    expect((await answered).status).toBe(504);
    await peer!.gone();
  });

  test("S16: whose head never ends, however fast it comes, is refused at limits.head_bytes", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write("HTTP/1.1 200 OK\r\n");
        while (peer.parting === null) {
          await peer.write(`X: ${"y".repeat(1000)}\r\n`);
          await new Promise((resolve) => setImmediate(resolve));
        }
        return false;
      }),
    ]);
    await using proxy = await startProxy();
    const response = await proxy.get(origin);
    expect([response.status, field(response, "outrider-error")]).toEqual([502, "UPSTREAM_INVALID"]);
  });
});
