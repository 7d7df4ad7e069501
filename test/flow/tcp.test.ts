/** `protocol: tcp`: a port on this machine that stands for a database, a cache or anything else whose bytes are nobody's business. */
import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import type { DestinationFile, PolicyFile } from "../../src/config/schema.ts";
import { certificate, certificateFile } from "../kit/certificates.ts";
import { eventually, passUntil, signal } from "../kit/eventually.ts";
import { apart, type Origin, type Step, scriptedOrigin, silence, step } from "../kit/origin.ts";
import { type ProxyOptions, startProxy, type TestProxy } from "../kit/proxy.ts";
import { type Client, rawClient } from "../kit/raw-client.ts";

/** Sends back what it gets, and ends when the other side does. */
const echo = (): Step =>
  step(async ({ peer }) => {
    peer.socket.pipe(peer.socket);
    await peer.closed();
    return false;
  }, "connect");

/** Says `greeting` first, then echoes. */
const greets = (greeting: string): Step =>
  step(async ({ peer }) => {
    await peer.write(greeting);
    peer.socket.pipe(peer.socket);
    return false;
  }, "connect");

const idle = (): Step => ({ ...silence(), when: "connect" });

/** A destination `db` whose port leads to `origin`. */
const to = (
  origin: Pick<Origin, "port">,
  more: Partial<DestinationFile> = {},
  limits: PolicyFile["limits"] = {},
): Required<Pick<ProxyOptions, "policy">> => ({
  policy: {
    limits,
    destinations: [
      {
        name: "db",
        hosts: ["db.test"],
        protocol: "tcp",
        local_port: 9999,
        upstream: { host: "127.0.0.1", port: origin.port },
        ...more,
      },
    ],
  },
});

const application = (proxy: TestProxy): Promise<Client> => rawClient(proxy.localPorts.get("db")!);

/** Connects and waits for the reset, which may be here before `connect` has been told. */
async function isReset(proxy: TestProxy): Promise<void> {
  const client = await application(proxy).catch((error: NodeJS.ErrnoException) => error);
  if (client instanceof Error) expect(client.code).toBe("ECONNRESET");
  else expect(await client.gone()).toBe("reset");
}

/** Codes of the calls of `db` that failed, as the metrics count them. */
async function failures(proxy: TestProxy): Promise<string[]> {
  const { text } = await proxy.proxy.telemetry.prometheus();
  return [...text.matchAll(/^outrider_call_errors_total\{(.*)\} [1-9]/gm)].map(
    ([, labels]) => /code="([A-Z_]+)"/.exec(labels!)?.[1] ?? labels!,
  );
}

async function failed(proxy: TestProxy, code: string): Promise<void> {
  let codes: string[] = [];
  await eventually(`a record of ${code}`, () => {
    void failures(proxy).then((now) => (codes = now));
    return codes.includes(code);
  });
}

/** A port of this machine where nobody listens. */
async function deadPort(): Promise<{ port: number }> {
  const origin = await scriptedOrigin([echo()]);
  const { port } = origin;
  await origin[Symbol.asyncDispose]();
  return { port };
}

describe("a port with protocol: tcp", () => {
  test("carries every byte both ways, and counts them", async () => {
    await using origin = await scriptedOrigin([echo()]);
    await using proxy = await startProxy(to(origin));
    using client = await application(proxy);
    const bytes = randomBytes(3_000_000);
    const [back] = await Promise.all([client.take(bytes.length), client.write(bytes)]);
    expect(back.equals(bytes)).toBe(true);
    expect(proxy.proxy.listener.open().tunnels).toBe(1);
    client.halfClose();
    expect(await client.gone()).toBe("end");
    await eventually("the tunnel to be over", () => proxy.proxy.listener.open().tunnels === 0);
    const { text } = await proxy.proxy.telemetry.prometheus();
    expect(text).toMatch(/^outrider_tunnel_bytes_total\{.*direction="up".*\} 3000000$/m);
    expect(text).toMatch(/^outrider_tunnel_bytes_total\{.*direction="down".*\} 3000000$/m);
    expect(await failures(proxy)).toEqual([]);
  });

  test("does not wait for the application to speak first", async () => {
    await using origin = await scriptedOrigin([greets("5.7.0 ready\r\n")]);
    await using proxy = await startProxy(to(origin));
    using client = await application(proxy);
    expect(await client.until("\r\n")).toBe("5.7.0 ready\r\n");
  });

  test.each([10, 100_000, 3_000_000])(
    "hears %i bytes of an upstream that ends behind them",
    async (count) => {
      const bytes = randomBytes(count);
      await using origin = await scriptedOrigin([
        step(async ({ peer }) => {
          await peer.write(bytes);
          peer.halfClose();
          return false;
        }, "connect"),
      ]);
      await using proxy = await startProxy(to(origin));
      using client = await application(proxy);
      expect((await client.rest()).equals(bytes)).toBe(true);
      expect(client.parting).toBe("end");
    },
  );

  test("keeps apart what many connections carry at once, to slow readers and to fast ones", async () => {
    await using origin = await scriptedOrigin([echo()]);
    await using proxy = await startProxy(to(origin));
    const all = Array.from({ length: 12 }, () => randomBytes(2_000_000));
    await Promise.all(
      all.map(async (bytes, i) => {
        using client = await application(proxy);
        const written = client.write(bytes);
        if (i % 3 === 0) {
          client.pause();
          await eventually("others to be under way", () => proxy.proxy.listener.open().tunnels > 4);
          await apart();
          client.resume();
        }
        expect((await client.take(bytes.length)).equals(bytes)).toBe(true);
        await written;
        // Small pieces behind large ones: their reads are into another buffer.
        await client.write("small");
        expect((await client.take(5)).toString()).toBe("small");
      }),
    );
  });

  test("passes what would be a request elsewhere as it is", async () => {
    await using origin = await scriptedOrigin([echo()]);
    await using proxy = await startProxy(to(origin));
    using client = await application(proxy);
    const text = "GET http://other.test/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
    await client.write(text);
    expect((await client.take(text.length)).toString()).toBe(text);
  });

  test("keeps what the application sends before the upstream is there, and holds the rest back", async () => {
    const resolved = signal();
    await using origin = await scriptedOrigin([echo()]);
    const upstream = { host: "db.test", port: origin.port };
    await using proxy = await startProxy({
      ...to(origin, { upstream }, { exchange_buffer: "64KiB" }),
      lookup: async () => {
        await resolved.given;
        return [{ address: "127.0.0.1", family: 4 }];
      },
    });
    using client = await application(proxy);
    const bytes = randomBytes(16_000_000);
    const written = client.write(bytes);
    await eventually("the system's buffers to be full", () => client.socket.writableNeedDrain);
    expect(origin.connections).toHaveLength(0);
    resolved.give();
    expect((await client.take(bytes.length)).equals(bytes)).toBe(true);
    await written;
  });

  test("delivers everything to an application that has ended its side, and to an upstream that has", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        const all = await peer.rest();
        await peer.write(`got ${all.length}`);
        peer.halfClose();
        return false;
      }, "connect"),
    ]);
    await using proxy = await startProxy(to(origin));
    using client = await application(proxy);
    await client.write(Buffer.alloc(100_000));
    client.halfClose();
    expect((await client.rest()).toString()).toBe("got 100000");
    expect(client.parting).toBe("end");
  });

  test("breaks the application's side when the upstream breaks", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.until("go");
        peer.reset();
        return false;
      }, "connect"),
    ]);
    await using proxy = await startProxy(to(origin));
    using client = await application(proxy);
    await client.write("go");
    expect(await client.gone()).toBe("reset");
    await failed(proxy, "UPSTREAM_ABORTED");
  });

  test("breaks the upstream's side when the application breaks", async () => {
    await using origin = await scriptedOrigin([idle()]);
    await using proxy = await startProxy(to(origin));
    using client = await application(proxy);
    await client.write("x");
    await origin.connected(1);
    await origin.connections[0]!.until("x");
    client.reset();
    expect(await origin.connections[0]!.gone()).toBe("reset");
    await failed(proxy, "CLIENT_GONE");
  });
});

describe("over TLS that the proxy speaks for the application", () => {
  const MUTUAL = {
    ...certificate("server"),
    requestCert: true,
    rejectUnauthorized: true,
    ca: certificate("ca").cert,
  };

  test("the upstream sees the client's certificate, the application plain bytes", async () => {
    await using origin = await scriptedOrigin([greets("hello\n")], { tls: MUTUAL });
    const tls = {
      ca: certificateFile("ca"),
      client_cert: certificateFile("client"),
      server_name: "api.test",
    };
    await using proxy = await startProxy(to(origin, { tls }));
    using client = await application(proxy);
    expect(await client.until("\n")).toBe("hello\n");
    const bytes = randomBytes(1_000_000);
    const [back] = await Promise.all([client.take(bytes.length), client.write(bytes)]);
    expect(back.equals(bytes)).toBe(true);
    client.halfClose();
    expect(await client.gone()).toBe("end");
  });

  test("an upstream whose certificate is not trusted gets no byte", async () => {
    await using origin = await scriptedOrigin([greets("hello\n")], { tls: certificate("server") });
    const tls = { ca: certificateFile("other-ca"), server_name: "api.test" };
    await using proxy = await startProxy(to(origin, { tls }));
    using client = await application(proxy);
    await client.write("secret");
    expect(await client.gone()).toBe("reset");
    await failed(proxy, "CERTIFICATE_REJECTED");
    expect(origin.received).toBe("");
  });
});

describe("a connection that gets no upstream is reset, and the record says why:", () => {
  test("nobody listens there", async () => {
    await using proxy = await startProxy(to(await deadPort()));
    await isReset(proxy);
    await failed(proxy, "CONNECT_FAILED");
    expect(proxy.proxy.listener.open()).toEqual({ connections: 0, tunnels: 0 });
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
  expect(proxy.proxy.listener.open()).toEqual({ connections: 0, tunnels: 0 });
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
