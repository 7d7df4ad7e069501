import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { EgressError } from "../../src/errors.ts";
import type { EgressRequest } from "../../src/exchange.ts";
import { certificate } from "../kit/certificates.ts";
import { eventually, passUntil, signal } from "../kit/eventually.ts";
import {
  type FrameScript,
  frameOrigin,
  type Http2Handler,
  http2Ok,
  http2Origin,
} from "../kit/http2-origin.ts";
import { ok, scriptedOrigin } from "../kit/origin.ts";
import { attemptOf, errorOf, Sending } from "./sending.ts";

const tls = certificate("server");
const https = (sending: Sending, parts: Partial<EgressRequest> = {}) =>
  sending.request({ scheme: "https", ...parts });

describe("over TLS, the version is agreed on", () => {
  test("by ALPN: HTTP/2 where the server has it", async () => {
    await using origin = await http2Origin(http2Ok(), { tls });
    using sending = new Sending({ port: origin.port });
    const request = https(sending);
    expect(await sending.send(request)).toMatchObject({ status: 200, body: "ok" });
    const facts = attemptOf(request);
    expect(facts).toMatchObject({ reused: false, address: "127.0.0.1", status: 200, error: null });
    expect(facts.securedMs).toBeGreaterThanOrEqual(facts.connectedMs);
    expect(facts.firstByteMs).toBeGreaterThanOrEqual(facts.securedMs);
  });

  test.each([["http/1.1"], [undefined]])(
    "by ALPN: HTTP/1.1 where the server says %j, over the connection that asked, which is kept",
    async (protocol) => {
      const alpn = protocol === undefined ? {} : { ALPNProtocols: [protocol] };
      await using origin = await scriptedOrigin([ok("one"), ok("two")], { tls: { ...tls, ...alpn } });
      using sending = new Sending({ port: origin.port });
      expect(await sending.send(https(sending))).toMatchObject({ body: "one" });
      const request = https(sending);
      expect(await sending.send(request)).toMatchObject({ body: "two" });
      expect(attemptOf(request).reused).toBe(true);
      expect(origin.connections).toHaveLength(1);
      expect(sending.upstream.stats()).toEqual({ open: 1, idle: 1, dialled: 1 });
    },
  );

  test("and calls to a server that is known to have HTTP/1.1 only do not wait for one another", async () => {
    await using origin = await scriptedOrigin([ok()], { tls: { ...tls, ALPNProtocols: ["http/1.1"] } });
    using sending = new Sending({ port: origin.port });
    const answers = await Promise.all([1, 2, 3].map(() => sending.send(https(sending))));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(origin.connections.length).toBeGreaterThan(1);
  });

  test.each([
    ["refuses what is offered", { ALPNProtocols: ["http/1.1"] }],
    ["knows no ALPN", {}],
  ])("and where HTTP/2 is demanded, a server that %s is an error", async (_, alpn) => {
    await using origin = await scriptedOrigin([ok()], { tls: { ...tls, ...alpn } });
    using sending = new Sending({ port: origin.port, reach: { httpVersion: "http2" } });
    const request = https(sending);
    const error = await errorOf(sending.send(request));
    expect(error).toMatchObject({ code: "VERSION_REFUSED", reached: "final" });
    expect(attemptOf(request).error).toBe(error);
    expect(origin.received).toBe("");
  });

  test("and a server that asks for HTTP/1.1 after all gets it (HTTP_1_1_REQUIRED), the next time at once", async () => {
    const requiring: FrameScript = async (peer) => {
      await peer.settings();
      await peer.rst(await peer.request(), 13);
    };
    const plain: FrameScript = async ({ peer }) => {
      await peer.seen("\r\n\r\n");
      await peer.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nplain");
    };
    const options = { tls: { ...tls, ALPNProtocols: ["h2", "http/1.1"] } };
    await using origin = await frameOrigin([requiring, plain], options);
    using sending = new Sending({ port: origin.port });
    const request = https(sending, { method: "POST" });
    expect(await sending.send(request)).toMatchObject({ body: "plain" });
    expect(attemptOf(request)).toMatchObject({ replayed: true, error: null });
    expect(await sending.send(https(sending))).toMatchObject({ body: "plain" });
    expect(origin.connections).toHaveLength(3);
  });
});

describe("a connection", () => {
  test("is shared by calls at the same time, and the first of them share one dial", async () => {
    await using origin = await http2Origin(http2Ok());
    using sending = new Sending({ port: origin.port });
    const requests = Array.from({ length: 20 }, () => sending.request());
    const answers = await Promise.all(requests.map((request) => sending.send(request)));
    expect(answers.every(({ status, body }) => status === 200 && body === "ok")).toBe(true);
    expect(sending.upstream.stats()).toEqual({ open: 1, idle: 1, dialled: 1 });
    expect(requests.map((request) => attemptOf(request).address)).toEqual(Array(20).fill("127.0.0.1"));
    const next = sending.request();
    await sending.send(next);
    expect(attemptOf(next)).toMatchObject({ reused: true, connectedMs: 0 });
  });

  test("takes as many calls as limits.streams, the next go on another one", async () => {
    const waiting: (() => void)[] = [];
    const held: Http2Handler = (request) => void waiting.push(() => http2Ok()(request));
    await using origin = await http2Origin(held);
    using sending = new Sending({ port: origin.port, limits: { streamsMax: 2 } });
    const answers = [1, 2, 3].map(() => sending.send());
    await eventually("three requests", () => waiting.length === 3);
    expect(sending.upstream.stats()).toEqual({ open: 2, idle: 0, dialled: 2 });
    for (const release of waiting) release();
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([200, 200, 200]);
  });

  test("that one of two callers no longer waits for is dialled for the other; nobody waits: it is given up", async () => {
    await using origin = await http2Origin(http2Ok());
    const resolved = signal();
    const lookup = async () => {
      await resolved.given;
      return [{ address: "127.0.0.1", family: 4 } as const];
    };
    using sending = new Sending({ port: origin.port, lookup });
    const dialled = (count: number) =>
      eventually(`${count} dials`, () => sending.upstream.stats().dialled === count);
    const reason = new EgressError("CLIENT_GONE", "test");
    const [alone, leaving, staying] = [1, 2, 3].map(() => sending.request({ host: "slow.test" }));

    const leftAlone = errorOf(sending.send(alone));
    await dialled(1);
    alone!.cancelled.fire(reason);
    expect(await leftAlone).toBe(reason);

    const left = errorOf(sending.send(leaving));
    const stayed = sending.send(staying);
    await dialled(2);
    leaving!.cancelled.fire(reason);
    expect(await left).toBe(reason);
    resolved.give();
    expect(await stayed).toMatchObject({ status: 200 });
    expect(sending.upstream.stats()).toEqual({ open: 1, idle: 1, dialled: 2 });
  });

  test("is not dialled for a call that was cancelled already", async () => {
    await using origin = await http2Origin(http2Ok());
    using sending = new Sending({ port: origin.port });
    const request = sending.request();
    const reason = new EgressError("CLIENT_GONE", "test");
    request.cancelled.fire(reason);
    expect(await errorOf(sending.send(request))).toBe(reason);
    expect(sending.upstream.stats().dialled).toBe(0);
  });

  test("that cannot be made fails every call that waits for it", async () => {
    const origin = await http2Origin(http2Ok());
    const { port } = origin;
    await origin[Symbol.asyncDispose]();
    using sending = new Sending({ port });
    const errors = await Promise.all([1, 2].map(() => errorOf(sending.send())));
    expect(errors.map(({ code, reached }) => [code, reached])).toEqual(
      Array(2).fill(["CONNECT_FAILED", "unsent"]),
    );
    expect(sending.upstream.stats()).toEqual({ open: 0, idle: 0, dialled: 1 });
  });

  test("without calls is closed after 60 s, and not much earlier", async () => {
    const clock = new VirtualClock();
    await using origin = await http2Origin(http2Ok());
    using sending = new Sending({ port: origin.port, clock });
    await sending.send();
    const { elapsedMs } = await passUntil(
      clock,
      eventually("the close", () => sending.upstream.stats().open === 0),
    );
    expect(elapsedMs).toBeGreaterThanOrEqual(60_000);
    expect(elapsedMs).toBeLessThanOrEqual(90_000);
  });

  test("without calls beyond limits.idle_upstream is closed, the oldest first", async () => {
    await using one = await http2Origin(http2Ok());
    await using other = await http2Origin(http2Ok());
    using sending = new Sending({ port: one.port, limits: { idleUpstreamMax: 1 } });
    await sending.send();
    await sending.send(sending.request({ port: other.port }));
    expect(sending.upstream.stats()).toEqual({ open: 1, idle: 1, dialled: 2 });
  });

  test("that is destroyed with the proxy fails its calls and takes no others", async () => {
    await using origin = await http2Origin(() => {});
    using sending = new Sending({ port: origin.port });
    const sent = errorOf(sending.send());
    await eventually("the request", () => origin.requests.length === 1);
    sending.upstream.destroy();
    expect(await sent).toMatchObject({ code: "UPSTREAM_RESET" });
    expect(sending.upstream.stats().open).toBe(0);
  });
});
