/** Connections to origins that serve more than one call, and what happens when one of them dies. */
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { field } from "../kit/message.ts";
import { answerAndClose, apart, type Origin, ok, reset, scriptedOrigin, step } from "../kit/origin.ts";
import { get, post, startProxy } from "../kit/proxy.ts";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/** Promises to keep the connection, and closes it all the same. */
const lyingOrigin = (): Promise<Origin> => scriptedOrigin([answerAndClose(OK)]);

test("300 GETs to an origin that closes after each answer, as fast as they come: no error", async () => {
  await using origin = await lyingOrigin();
  await using proxy = await startProxy();
  using client = await proxy.client();
  for (let i = 0; i < 300; i++) {
    const response = await client.ask(get(origin, `/${i}`));
    expect([i, response.status, response.body.toString()]).toEqual([i, 200, "ok"]);
  }
  expect(origin.requests).toHaveLength(300);
});

test("100 POSTs to such an origin: each arrives once at most", async () => {
  await using origin = await lyingOrigin();
  await using proxy = await startProxy();
  using client = await proxy.client();
  const seen = new Set<string>();
  for (let i = 0; i < 100; i++) {
    const response = await client.ask(post(origin, `body ${i}`, "", `/${i}`));
    expect([200, 502]).toContain(response.status);
  }
  for (const { startLine } of origin.requests) {
    expect(seen.has(startLine)).toBe(false);
    seen.add(startLine);
  }
});

/** Answers the first request, and resets the connection at the second; answers all others. */
const diesAtTheSecond = (): Promise<Origin> => scriptedOrigin([ok("first"), reset(), ok("again")]);

describe("a pooled connection that dies before the first byte of its answer", () => {
  test.each(["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])(
    "costs %s nothing: it is sent once more",
    async (method) => {
      await using origin = await diesAtTheSecond();
      await using proxy = await startProxy();
      using client = await proxy.client();
      await client.ask(get(origin));
      const response = await client.ask(
        `${method} http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi`,
      );
      expect(response.status).toBe(200);
      expect(origin.requests.map(({ connection }) => connection)).toEqual([1, 1, 2]);
    },
  );

  test("fails POST, which is never sent twice", async () => {
    await using origin = await diesAtTheSecond();
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.ask(get(origin));
    const response = await client.ask(post(origin, "hi"));
    expect([response.status, field(response, "outrider-error")]).toEqual([502, "UPSTREAM_RESET"]);
    expect(origin.requests).toHaveLength(2);
  });

  test("fails a PUT whose body streams, which cannot be sent twice", async () => {
    await using origin = await scriptedOrigin([
      ok("first"),
      step(({ peer }) => {
        peer.reset();
        return false;
      }, "head"),
      ok(),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.ask(get(origin));
    await client.write(
      `PUT http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n`,
    );
    expect(field(await client.response(), "outrider-error")).toBe("UPSTREAM_RESET");
    expect(origin.requests).toHaveLength(2);
  });
});

test("a connection that dies twice over is an error: once more is once", async () => {
  await using origin = await scriptedOrigin([ok("first"), reset(), reset(), ok("too late")]);
  await using proxy = await startProxy();
  using client = await proxy.client();
  await client.ask(get(origin));
  expect(field(await client.ask(get(origin)), "outrider-error")).toBe("UPSTREAM_RESET");
  expect(origin.requests).toHaveLength(3);
});

test("a fresh connection that dies is an error at once: no one knows what the origin did", async () => {
  await using origin = await scriptedOrigin([reset(), ok()]);
  await using proxy = await startProxy();
  expect(field(await proxy.get(origin), "outrider-error")).toBe("UPSTREAM_RESET");
  expect(origin.requests).toHaveLength(1);
});

test("an answer that broke in its head is not asked for again", async () => {
  await using origin = await scriptedOrigin([ok("first"), reset("HTTP/1.1 200 O"), ok("again")]);
  await using proxy = await startProxy();
  using client = await proxy.client();
  await client.ask(get(origin));
  expect((await client.ask(get(origin))).status).toBe(502);
  expect(origin.requests).toHaveLength(2);
});

test("a connection that the origin has closed is not offered to the next call", async () => {
  await using origin = await lyingOrigin();
  await using proxy = await startProxy();
  using client = await proxy.client();
  await client.ask(get(origin));
  await origin.connections[0]!.gone();
  expect(proxy.proxy.upstream.stats()).toMatchObject({ open: 0, idle: 0 });
  expect((await client.ask(post(origin, "hi"))).status).toBe(200);
});

test("a connection that slept longer than origins wait is closed, not used", async () => {
  const clock = new VirtualClock();
  await using origin = await scriptedOrigin([ok()]);
  await using proxy = await startProxy({ clock });
  using client = await proxy.client();
  await client.ask(get(origin));
  await clock.advance(3999);
  await client.ask(get(origin));
  expect(origin.connections).toHaveLength(1);
  await clock.advance(4000);
  await client.ask(get(origin));
  expect(origin.connections).toHaveLength(2);
});

test("what must not be sent twice takes only a connection that was used a moment ago", async () => {
  const clock = new VirtualClock();
  await using origin = await scriptedOrigin([ok()]);
  await using proxy = await startProxy({ clock });
  using client = await proxy.client();
  await client.ask(get(origin));
  await clock.advance(999);
  await client.ask(post(origin, "hi"));
  expect(origin.connections).toHaveLength(1);
  await clock.advance(1001);
  await client.ask(post(origin, "hi"));
  expect(origin.connections).toHaveLength(2);
});

test("no more idle connections are kept than limits.idle_upstream", async () => {
  await using first = await scriptedOrigin([ok()]);
  await using second = await scriptedOrigin([ok()]);
  await using proxy = await startProxy({ policy: { limits: { idle_upstream: 1 } } });
  await proxy.get(first);
  await proxy.get(second);
  expect(proxy.proxy.upstream.stats().idle).toBe(1);
  expect(await first.connections[0]!.gone()).toBe("end");
});

test("concurrent calls have a connection each, and the next ones find them", async () => {
  const all = Promise.withResolvers<void>();
  let waiting = 0;
  await using origin = await scriptedOrigin([
    step(async ({ peer }) => {
      if (++waiting === 5) all.resolve();
      await all.promise;
      await peer.write(OK);
      return true;
    }),
  ]);
  await using proxy = await startProxy();
  const burst = (): Promise<number[]> =>
    Promise.all(Array.from({ length: 5 }, async () => (await proxy.get(origin)).status));
  expect(await burst()).toEqual([200, 200, 200, 200, 200]);
  expect(origin.connections).toHaveLength(5);
  await apart();
  await burst();
  expect(origin.connections).toHaveLength(5);
});
