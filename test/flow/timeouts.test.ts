/** Everything that is waited for ends, in virtual time: late by a second or two, never early. */
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { eventually, passUntil } from "../kit/eventually.ts";
import { field } from "../kit/message.ts";
import { type Origin, ok, scriptedOrigin, silence, speakFirst, step } from "../kit/origin.ts";
import { get, startProxy, type TestProxy } from "../kit/proxy.ts";

const DEFAULT_HEAD_MS = 10_000;
const DEFAULT_KEEP_ALIVE_MS = 65_000;
const DEFAULT_IDLE_MS = 60_000;
/** A sweep each second, and what the machine's load makes of real sockets beside virtual time: late is not wrong, never is. */
const LATE_MS = 30_000;

function expectBetween(elapsedMs: number, limitMs: number): void {
  expect(elapsedMs).toBeGreaterThanOrEqual(limitMs);
  expect(elapsedMs).toBeLessThanOrEqual(limitMs + LATE_MS);
}

const accepted = (proxy: TestProxy): Promise<void> =>
  eventually("the connection to be accepted", () => proxy.proxy.listener.open().connections === 1);

async function begun(origin: Origin): Promise<void> {
  await origin.connected(1);
  await origin.connections[0]!.seen("\r\n\r\n");
}

describe("the application's connection", () => {
  test("without a request is closed after limits.keep_alive", async () => {
    const clock = new VirtualClock();
    await using proxy = await startProxy({ clock });
    using client = await proxy.client();
    await accepted(proxy);
    const { value, elapsedMs } = await passUntil(clock, client.gone());
    expect(value).toBe("end");
    expectBetween(elapsedMs, DEFAULT_KEEP_ALIVE_MS);
  });

  test("between two requests is closed after limits.keep_alive, counted from the answer", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy({ clock, policy: { limits: { keep_alive: "20s" } } });
    using client = await proxy.client();
    await clock.advance(15_000);
    await client.ask(get(origin));
    const { elapsedMs } = await passUntil(clock, client.gone());
    expectBetween(elapsedMs, 20_000);
  });

  test("with a head that does not end gets 408 after limits.head_timeout", async () => {
    const clock = new VirtualClock();
    await using proxy = await startProxy({ clock });
    using client = await proxy.client();
    await client.write("GET http://a.test/ HTTP/1.1\r\n");
    await accepted(proxy);
    const { value, elapsedMs } = await passUntil(clock, client.response());
    expect([value.status, field(value, "outrider-error")]).toEqual([408, "HEAD_TIMEOUT"]);
    expectBetween(elapsedMs, DEFAULT_HEAD_MS);
    expect(await client.gone()).toBe("end");
  });

  test("S16: with a head that comes a byte at a time gets 408 all the same", async () => {
    const clock = new VirtualClock();
    await using proxy = await startProxy({ clock });
    using client = await proxy.client();
    await client.write("GET http://a.test/ HTTP/1.1\r\n");
    await accepted(proxy);
    const response = client.response();
    let over = false;
    response.then(() => (over = true));
    let elapsedMs = 0;
    for (; !over; elapsedMs += 1000) {
      await client.write("X");
      await clock.advance(1000);
      await new Promise((resolve) => setTimeout(resolve, 5));
      expect(elapsedMs).toBeLessThan(60_000);
    }
    expect(field(await response, "outrider-error")).toBe("HEAD_TIMEOUT");
    expectBetween(elapsedMs, DEFAULT_HEAD_MS);
  });

  test("with a body that stops gets 408 after idle_timeout, and the origin no whole request", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([step(() => false, "head")]);
    await using proxy = await startProxy({ clock });
    using client = await proxy.client();
    await client.write(
      `POST http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf`,
    );
    await origin.connected(1);
    await origin.connections[0]!.seen("half");
    const { value, elapsedMs } = await passUntil(clock, client.response());
    expect([value.status, field(value, "outrider-error")]).toEqual([408, "BODY_TIMEOUT"]);
    expect(field(value, "connection")).toBe("close");
    expectBetween(elapsedMs, DEFAULT_IDLE_MS);
    await origin.connections[0]!.gone();
  });

  test("with a body that keeps coming, however slowly, is waited for", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([ok("patient")]);
    await using proxy = await startProxy({ clock });
    using client = await proxy.client();
    await client.write(`POST http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n`);
    await begun(origin);
    for (const byte of "slow") {
      await clock.advance(DEFAULT_IDLE_MS - 5000);
      await client.write(byte);
      await origin.connections[0]!.seen(byte);
    }
    expect((await client.response()).body.toString()).toBe("patient");
  });

  test("that does not take its answer is reset after idle_timeout, and not before", async () => {
    const clock = new VirtualClock();
    const size = 32 * 1024 * 1024;
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
        await peer.write(Buffer.alloc(size));
        return false;
      }),
    ]);
    await using proxy = await startProxy({ clock });
    using client = await proxy.client();
    client.pause();
    // The wait for the head does not count against the application.
    await client.write(get(origin));
    await begun(origin);
    await eventually("the origin to be held back", () => origin.connections[0]!.socket.writableLength > 0);
    const { elapsedMs } = await passUntil(clock, origin.connections[0]!.gone());
    expectBetween(elapsedMs, DEFAULT_IDLE_MS);
    expect(proxy.proxy.telemetry.metrics().destinations[0]!.errors.map(({ blame }) => blame)).toEqual([
      "client",
    ]);
    client.resume();
    expect(await client.gone()).toBe("reset");
  });
});

describe("an origin", () => {
  test("that never answers: 504 after idle_timeout", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([silence()]);
    await using proxy = await startProxy({ clock, policy: { defaults: { idle_timeout: "30s" } } });
    using client = await proxy.client();
    await client.write(get(origin));
    await begun(origin);
    const { value, elapsedMs } = await passUntil(clock, client.response());
    expect([value.status, field(value, "outrider-error")]).toEqual([504, "UPSTREAM_TIMEOUT"]);
    expectBetween(elapsedMs, 30_000);
    await origin.connections[0]!.gone();
  });

  test("that stops in the middle of its answer breaks it off after idle_timeout", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        return false;
      }),
    ]);
    await using proxy = await startProxy({ clock });
    using client = await proxy.client();
    await client.write(get(origin));
    await client.seen("half");
    const { value, elapsedMs } = await passUntil(clock, client.gone());
    expect(value).toBe("reset");
    expectBetween(elapsedMs, DEFAULT_IDLE_MS);
  });

  test("that keeps sending, however slowly, is waited for", async () => {
    const clock = new VirtualClock();
    const pieces = ["a", "b", "c", "d"];
    const wanted = pieces.map(() => Promise.withResolvers<void>());
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
        for (const [index, piece] of pieces.entries()) {
          await wanted[index]!.promise;
          await peer.write(piece);
        }
        return true;
      }),
    ]);
    await using proxy = await startProxy({ clock });
    using client = await proxy.client();
    await client.write(get(origin));
    await client.until("\r\n\r\n");
    for (const [index, piece] of pieces.entries()) {
      await clock.advance(DEFAULT_IDLE_MS - 5000);
      wanted[index]!.resolve();
      expect((await client.take(1)).toString()).toBe(piece);
    }
  });

  test("that does not take the request: 504 after idle_timeout", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([
      step(({ peer }) => {
        peer.pause();
        return false;
      }, "head"),
    ]);
    await using proxy = await startProxy({ clock });
    using client = await proxy.client();
    const size = 32 * 1024 * 1024;
    await client.write(
      `POST http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\nContent-Length: ${size}\r\n\r\n`,
    );
    void client.write(Buffer.alloc(size));
    await begun(origin);
    await eventually("the application to be held back", () => client.socket.writableLength > 0);
    const { value, elapsedMs } = await passUntil(clock, client.response());
    expect(field(value, "outrider-error")).toBe("UPSTREAM_TIMEOUT");
    expectBetween(elapsedMs, DEFAULT_IDLE_MS);
  });

  test("whose name nobody resolves: 504 after dns_timeout", async () => {
    const clock = new VirtualClock();
    await using proxy = await startProxy({ clock, lookup: () => new Promise(() => {}) });
    using client = await proxy.client();
    await client.write("GET http://slow.test/ HTTP/1.1\r\nHost: x\r\n\r\n");
    const { value, elapsedMs } = await passUntil(clock, client.response(), { stepMs: 100 });
    expect([value.status, field(value, "outrider-error")]).toEqual([504, "DNS_TIMEOUT"]);
    expectBetween(elapsedMs, 2000);
  });

  test("that never ends its handshake: 504 after tls_timeout", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([speakFirst("")]);
    await using proxy = await startProxy({ clock });
    using client = await proxy.client();
    await client.write(`GET https://${origin.authority}/ HTTP/1.1\r\nHost: x\r\n\r\n`);
    await origin.connected(1);
    const { value, elapsedMs } = await passUntil(clock, client.response(), { stepMs: 100 });
    expect([value.status, field(value, "outrider-error")]).toEqual([504, "TLS_TIMEOUT"]);
    expectBetween(elapsedMs, 5000);
  });
});

test("a tunnel has no idle timeout: nobody knows what its silence means", async () => {
  const clock = new VirtualClock();
  await using origin = await scriptedOrigin([
    step(async ({ peer }) => {
      peer.socket.pipe(peer.socket);
      await peer.closed();
      return false;
    }, "connect"),
  ]);
  await using proxy = await startProxy({ clock });
  using client = await proxy.client();
  await client.ask(`CONNECT ${origin.authority} HTTP/1.1\r\nHost: x\r\n\r\n`);
  await client.write("\x16first");
  await client.take(6);
  await clock.advance(3_600_000);
  await client.write("still");
  expect((await client.take(5)).toString()).toBe("still");
});
