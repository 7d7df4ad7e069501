/** The end of a proxy: what is in flight finishes, what is idle closes, what is new is refused. */
import { connect } from "node:net";
import { expect, test } from "vitest";
import { eventually } from "../kit/eventually.ts";
import { field } from "../kit/message.ts";
import { ok, scriptedOrigin, silence, step } from "../kit/origin.ts";
import { get, startProxy, type TestProxy } from "../kit/proxy.ts";

const SOON_MS = 15_000;
const drain = (proxy: TestProxy): Promise<void> => proxy.lifecycle.drain(performance.now() + SOON_MS);

/** An origin whose answer waits until `release` is called. */
function heldOrigin() {
  const release = Promise.withResolvers<void>();
  const script = [
    step(async ({ peer }) => {
      await release.promise;
      await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
      return true;
    }),
  ];
  return { release: () => release.resolve(), origin: scriptedOrigin(script) };
}

test("a call in flight gets its answer, which says that the connection closes", async () => {
  const held = heldOrigin();
  await using origin = await held.origin;
  await using proxy = await startProxy();
  using client = await proxy.client();
  await client.write(get(origin));
  await origin.connected(1);
  const drained = drain(proxy);
  held.release();
  const response = await client.response();
  expect(response.body.toString()).toBe("done");
  expect(field(response, "connection")).toBe("close");
  expect(await client.gone()).toBe("end");
  await drained;
  expect(proxy.lifecycle.phase).toBe("gone");
  expect(proxy.proxy.upstream.stats().open).toBe(0);
});

test("idle connections end cleanly, and new ones are refused", async () => {
  await using origin = await scriptedOrigin([ok()]);
  await using proxy = await startProxy();
  using used = await proxy.client();
  using fresh = await proxy.client();
  await used.ask(get(origin));
  await drain(proxy);
  expect(await used.gone()).toBe("end");
  expect(await fresh.gone()).toBe("end");
  const attempt = await new Promise((resolve) => {
    const socket = connect({ port: proxy.port, host: "127.0.0.1" });
    socket.once("connect", () => resolve("connected"));
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code));
  });
  expect(attempt).toBe("ECONNREFUSED");
});

test("a request whose head is not whole is refused with DRAINING", async () => {
  await using proxy = await startProxy();
  using client = await proxy.client();
  await client.write("GET http://a.test/ HTTP/1.1\r\n");
  await eventually("the head to have begun", () => proxy.proxy.listener.open().connections === 1);
  // The bytes are read a moment after the connection is counted.
  await new Promise((resolve) => setTimeout(resolve, 50));
  const drained = drain(proxy);
  const response = await client.response();
  expect([response.status, field(response, "outrider-error")]).toEqual([503, "DRAINING"]);
  client.halfClose();
  await drained;
});

test("what has not finished at the deadline is reset", async () => {
  await using origin = await scriptedOrigin([silence()]);
  await using proxy = await startProxy();
  using client = await proxy.client();
  await client.write(get(origin));
  await origin.connected(1);
  await origin.connections[0]!.seen("\r\n\r\n");
  await proxy.lifecycle.drain(performance.now() + 50);
  expect(await client.gone()).toBe("reset");
  await origin.connections[0]!.gone();
});

test("draining twice is draining once", async () => {
  await using proxy = await startProxy();
  await Promise.all([drain(proxy), drain(proxy)]);
  await drain(proxy);
  expect(proxy.lifecycle.phase).toBe("gone");
});
