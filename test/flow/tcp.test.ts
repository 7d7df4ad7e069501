/** `protocol: tcp`: a port on this machine that stands for a database, a cache or anything else whose bytes are nobody's business. */
import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { certificate, certificateFile } from "../kit/certificates.ts";
import { eventually, signal } from "../kit/eventually.ts";
import { apart, scriptedOrigin, step } from "../kit/origin.ts";
import { startProxy } from "../kit/proxy.ts";
import { application, echo, failed, failures, greets, idle, to } from "./tcp-destination.ts";

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
