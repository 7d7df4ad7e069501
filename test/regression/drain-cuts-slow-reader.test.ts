/**
 * A drain reset connections whose answers it took for over: one that had begun before the drain left its connection waiting for a
 * further request, and one whose last byte had been handed to the socket did not count as a call in flight. An application that
 * read slowly lost the end of its answer, long before the drain's deadline.
 */
import { expect, test } from "vitest";
import { Body } from "../../src/body.ts";
import { VirtualClock } from "../../src/clock.ts";
import { EgressResponse } from "../../src/exchange.ts";
import { bind } from "../../src/listener/bind.ts";
import { Listener } from "../../src/listener/listener.ts";
import { eventually, passUntil, settled } from "../kit/eventually.ts";
import { answer, scriptedOrigin } from "../kit/origin.ts";
import { get, startProxy, testConfig } from "../kit/proxy.ts";
import { rawClient } from "../kit/raw-client.ts";

/** More than the system's buffers hold between the origin and a client that does not read. */
const BODY_BYTES = 32 * 1024 * 1024;
const BODY = "x".repeat(BODY_BYTES);

test("an answer that began before the drain is taken to its end", async () => {
  const clock = new VirtualClock();
  await using origin = await scriptedOrigin([
    answer(`HTTP/1.1 200 OK\r\nContent-Length: ${BODY_BYTES}\r\n\r\n${BODY}`),
  ]);
  await using proxy = await startProxy({ clock });
  using client = await proxy.client();
  await client.write(get(origin));
  await client.until("\r\n\r\n");
  client.pause();
  const { socket } = origin.connections[0]!;
  await settled(() => socket.bytesWritten - socket.writableLength);
  const drained = proxy.lifecycle.drain(clock.now() + 60_000);
  client.resume();
  await eventually("the proxy to have the whole answer", () => proxy.proxy.upstream.stats().idle === 1);
  client.pause();
  for (let look = 0; look < 10; look++) await clock.advance(100);
  client.resume();
  expect((await client.take(BODY_BYTES)).length).toBe(BODY_BYTES);
  await passUntil(clock, drained);
  expect(await client.gone()).toBe("end");
});

/** A client that has asked a listener for an answer that it does not take, and the listener's drain. */
async function drainUntaken(deadlineMs: number) {
  const clock = new VirtualClock();
  const listener = new Listener({
    limits: testConfig().limits,
    idleTimeoutMs: 0,
    clock,
    send: () => Promise.resolve(new EgressResponse(200, "OK", "", Body.of(BODY))),
    admits: () => true,
    interception: null,
    upstreamBufferedBytes: () => 0,
  });
  const binding = await bind("127.0.0.1", 0);
  listener.serve(binding, { kind: "proxy" });
  const client = await rawClient(binding.port);
  await client.write("GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
  await client.until("\r\n\r\n");
  client.pause();
  const drained = listener.drain(clock.now() + deadlineMs);
  return { clock, client, drained };
}

test("an answer that has been written and not been taken is waited for", async () => {
  const { clock, client, drained } = await drainUntaken(60_000);
  for (let look = 0; look < 10; look++) await clock.advance(100);
  client.resume();
  expect((await client.take(BODY_BYTES)).length).toBe(BODY_BYTES);
  await passUntil(clock, drained);
  expect(await client.gone()).toBe("end");
});

test("an answer that nobody takes holds the drain to its deadline and no longer, and breaks off", async () => {
  const { clock, client, drained } = await drainUntaken(5000);
  const { elapsedMs } = await passUntil(clock, drained);
  expect(elapsedMs).toBeGreaterThanOrEqual(5000);
  client.resume();
  expect(await client.gone()).toBe("reset");
  expect((await client.rest()).length).toBeLessThan(BODY_BYTES);
});
