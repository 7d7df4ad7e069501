/** What ends an application's HTTP/2 connection, and what its streams cost one another. */
import { constants } from "node:http2";
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { eventually, passUntil, signal } from "../kit/eventually.ts";
import { callHttp2, frameClient, getList, headerBlock, readHttp2 } from "../kit/http2-client.ts";
import { FRAME, frame, http2Ok, http2Origin } from "../kit/http2-origin.ts";
import { HOST, scene } from "../kit/http2-scene.ts";
import { field, readResponse } from "../kit/message.ts";
import { ok, scriptedOrigin, step } from "../kit/origin.ts";
import { startProxy } from "../kit/proxy.ts";

describe("a connection of HTTP/2", () => {
  test("refuses calls while too much waits in the proxy, and serves them again when it does not", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([ok("x".repeat(1024 * 1024)), ok("next")]);
    await using at = await scene("a local port", origin, {
      clock,
      policy: { limits: { total_buffer: "32KiB" }, defaults: { idle_timeout: "1h" } },
    });
    const slow = at.session.request({ ":path": "/" });
    await new Promise((resolve) => slow.once("response", resolve));
    slow.pause();
    const refused = async (): Promise<string> => {
      for (;;) {
        const { headers } = await callHttp2(at.session, { ":path": "/" });
        if (headers["outrider-error"] !== undefined) return String(headers["outrider-error"]);
      }
    };
    expect((await passUntil(clock, refused())).value).toBe("OVERLOADED");
    slow.on("error", () => {});
    slow.close(constants.NGHTTP2_CANCEL);
    const served = async (): Promise<string> => {
      for (;;) {
        const { status, body } = await callHttp2(at.session, { ":path": "/" });
        if (status === 200) return body;
      }
    };
    expect((await passUntil(clock, served())).value).toBe("next");
  });

  test("fault 23: holds the origin back when the application does not read", async () => {
    const piece = "x".repeat(64 * 1024);
    let sentBytes = 0;
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write(`HTTP/1.1 200 OK\r\nContent-Length: ${1024 * piece.length}\r\n\r\n`);
        for (; sentBytes < 1024 * piece.length && peer.parting === null; sentBytes += piece.length) {
          await peer.write(piece);
        }
        return true;
      }),
    ]);
    await using at = await scene("a local port", origin);
    const stream = at.session.request({ ":path": "/" });
    await new Promise((resolve) => stream.once("response", resolve));
    stream.pause();
    let before = -1;
    await eventually("a standstill", () => {
      const same = sentBytes === before;
      before = sentBytes;
      return same && sentBytes > 0;
    });
    expect(sentBytes).toBeLessThan(512 * piece.length);
    let read = 0;
    stream.on("data", (bytes: Buffer) => (read += bytes.length));
    stream.resume();
    await new Promise((resolve) => stream.once("end", resolve));
    expect(read).toBe(1024 * piece.length);
  });

  test("fault 23: holds the application back when the origin does not read", async () => {
    const go = signal();
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        peer.socket.pause();
        await go.given;
        peer.socket.resume();
        await peer.take(32 * 1024 * 1024);
        await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        return true;
      }, "head"),
    ]);
    await using at = await scene("a local port", origin);
    const stream = at.session.request({
      ":method": "PUT",
      ":path": "/",
      "content-length": String(32 * 1024 * 1024),
    });
    const answered = readHttp2(stream);
    let taken = 0;
    const piece = "x".repeat(256 * 1024);
    for (let count = 0; count < 128; count++) stream.write(piece, () => (taken += piece.length));
    stream.end();
    let before = -1;
    await eventually("a standstill", () => {
      const same = taken === before;
      before = taken;
      return same && origin.requests.length === 1;
    });
    expect(taken).toBeLessThan(24 * 1024 * 1024);
    go.give();
    expect(await answered).toMatchObject({ status: 200 });
  });

  test("serves others while uploads wait for an origin that does not read", async () => {
    const go = signal();
    await using origin = await scriptedOrigin([
      step(async ({ peer, request }) => {
        if (request.startLine.includes("/stuck")) {
          peer.socket.pause();
          await go.given;
          peer.socket.resume();
        }
        await peer.take(Number(field(request, "content-length")));
        await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        return true;
      }, "head"),
    ]);
    await using at = await scene("a local port", origin);
    const bytes = 8 * 1024 * 1024;
    const length = { "content-length": String(bytes) };
    const body = "x".repeat(bytes);
    const stuck = Array.from({ length: 8 }, () =>
      callHttp2(at.session, { ":method": "PUT", ":path": "/stuck", ...length }, body),
    );
    await eventually("the uploads at the origin", () => origin.requests.length === 8);
    const quick = await callHttp2(at.session, { ":method": "PUT", ":path": "/quick", ...length }, body);
    expect(quick).toMatchObject({ status: 200, body: "ok" });
    go.give();
    expect((await Promise.all(stuck)).every(({ status }) => status === 200)).toBe(true);
  });

  test("says goodbye when the proxy drains, and what is under way gets its answer", async () => {
    const go = signal();
    const slow = step(async ({ peer }) => {
      await go.given;
      await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast");
      return true;
    });
    await using origin = await scriptedOrigin([slow]);
    await using at = await scene("a local port", origin);
    const held = callHttp2(at.session, { ":path": "/" });
    await eventually("the call at the origin", () => origin.requests.length === 1);
    const goodbye = new Promise((resolve) => at.session.once("goaway", resolve));
    const drained = at.proxy.proxy.listener.drain(Number.POSITIVE_INFINITY);
    expect(await goodbye).toBe(constants.NGHTTP2_NO_ERROR);
    go.give();
    expect(await held).toMatchObject({ status: 200, body: "last", code: 0 });
    await drained;
    await eventually("no connection", () => at.proxy.proxy.listener.open().connections === 0);
  });

  test("is broken off when the drain's time is up", async () => {
    await using origin = await scriptedOrigin([step(() => false)]);
    await using at = await scene("a local port", origin);
    const held = callHttp2(at.session, { ":path": "/" });
    await eventually("the call at the origin", () => origin.requests.length === 1);
    await at.proxy.proxy.listener.drain(0);
    expect(await held).toMatchObject({ status: 0 });
    await eventually("the end", () => at.session.destroyed);
  });

  test("is closed after limits.keep_alive without a request, whatever else it sends", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([ok()]);
    await using at = await scene("a local port", origin, {
      clock,
      policy: { limits: { keep_alive: "20s" } },
    });
    expect(await callHttp2(at.session, { ":path": "/" })).toMatchObject({ status: 200 });
    const beat = setInterval(() => at.session.destroyed || at.session.ping(() => {}), 10);
    const closed = new Promise((resolve) => at.session.once("close", resolve));
    const { elapsedMs } = await passUntil(clock, closed, { limitMs: 120_000 });
    clearInterval(beat);
    expect(elapsedMs).toBeGreaterThanOrEqual(20_000);
    expect(elapsedMs).toBeLessThanOrEqual(40_000);
  });

  test("S16: is closed when a header block stays open longer than limits.head_timeout", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([step(() => false)]);
    await using at = await scene("a local port", origin, {
      clock,
      policy: { limits: { head_timeout: "10s", keep_alive: "1h" } },
    });
    using client = await frameClient(at.proxy.localPorts.get("api")!);
    await client.roundTrip();
    // Between HEADERS and its end nothing else may come, so that no PING is answered.
    client.silent = true;
    // A call under way keeps no such connection open either.
    await client.headers(1, getList(HOST, "/held"));
    await eventually("the call at the origin", () => origin.requests.length === 1);
    await client.write(frame(FRAME.headers, 1, 3, headerBlock(getList(HOST, "/open"))));
    // A byte now and then: less than what nghttp2 takes for a flood.
    const rest = frame(FRAME.continuation, 0, 3, headerBlock([["x-a", "1".repeat(2000)]]));
    let at3 = 0;
    const drip = setInterval(() => {
      if (at3 < rest.length) client.socket.write(rest.subarray(at3, ++at3));
    }, 5);
    const closed = client.until("the end", () => client.closed);
    const { elapsedMs } = await passUntil(clock, closed, { limitMs: 300_000 });
    expect(elapsedMs).toBeGreaterThanOrEqual(10_000);
    clearInterval(drip);
    expect(origin.received).not.toContain("/open");
  });

  test("S16: loses a call whose body stops, and only that", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([step(() => false, "head"), ok("next")]);
    await using at = await scene("a local port", origin, {
      clock,
      policy: { defaults: { idle_timeout: "20s" } },
    });
    const stream = at.session.request({ ":method": "POST", ":path": "/" });
    const answered = readHttp2(stream);
    stream.write("half");
    await eventually("the call at the origin", () => origin.requests.length === 1);
    const { value, elapsedMs } = await passUntil(clock, answered);
    expect(value.status).toBe(408);
    expect(value.headers["outrider-error"]).toBe("BODY_TIMEOUT");
    expect(elapsedMs).toBeGreaterThanOrEqual(20_000);
    expect(await callHttp2(at.session, { ":path": "/" })).toMatchObject({ status: 200, body: "next" });
  });

  test("fault 23: loses a call whose answer is not taken", async () => {
    const clock = new VirtualClock();
    const body = "x".repeat(1024 * 1024);
    await using origin = await scriptedOrigin([ok(body)]);
    await using at = await scene("a local port", origin, {
      clock,
      policy: { defaults: { idle_timeout: "20s" } },
    });
    const stream = at.session.request({ ":path": "/" });
    await new Promise((resolve) => stream.once("response", resolve));
    stream.pause();
    const closed = new Promise<void>((resolve) => stream.once("close", resolve));
    stream.on("error", () => {});
    await passUntil(clock, closed);
    expect(stream.rstCode).toBe(constants.NGHTTP2_INTERNAL_ERROR);
  });
});

test("HTTP/2 is not taken for a request at the proxy's port or in HTTP/1.1's words", async () => {
  await using origin = await http2Origin(http2Ok());
  await using proxy = await startProxy();
  using client = await proxy.client();
  await client.write(`GET http://${origin.authority}/ HTTP/2.0\r\nHost: ${origin.authority}\r\n\r\n`);
  expect((await readResponse(client)).status).toBe(505);
  expect(origin.requests).toEqual([]);
});
