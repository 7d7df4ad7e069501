/** Faults of the application's side: it goes away, ends half of a connection, or is told no before it has said everything. */
import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { describe, expect, test } from "vitest";
import { eventually } from "../kit/eventually.ts";
import { field } from "../kit/message.ts";
import { answerEarly, apart, ok, type Step, scriptedOrigin, silence, step } from "../kit/origin.ts";
import { get, type ProxyOptions, post, startProxy, type TestProxy } from "../kit/proxy.ts";

const errorsOf = (proxy: TestProxy): { code: string }[] =>
  proxy.proxy.telemetry.metrics().destinations.flatMap(({ errors }) => errors.map(({ code }) => ({ code })));

const callsOver = (proxy: TestProxy): Promise<void> =>
  eventually("every call to be over", () => proxy.proxy.telemetry.metrics().openCalls === 0);

describe("fault 24: an application that aborts", () => {
  const halfAnswer: Step = step(async ({ peer }) => {
    await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhalf");
    return false;
  });

  test.each<[string, Step, string]>([
    ["while the upstream thinks", silence(), ""],
    ["in the middle of the answer", halfAnswer, "half"],
  ])(
    "fault 24: %s cancels the upstream's call, which is not the upstream's failure",
    async (_, script, until) => {
      await using origin = await scriptedOrigin([script, ok("next")]);
      await using proxy = await startProxy();
      const client = await proxy.client();
      await client.write(get(origin));
      await origin.connected(1);
      await origin.connections[0]!.seen("\r\n\r\n");
      await client.seen(until);
      client.reset();
      await origin.connections[0]!.gone();
      await callsOver(proxy);
      expect(errorsOf(proxy)).toEqual([{ code: "CLIENT_GONE" }]);
      expect((await proxy.get(origin)).body.toString()).toBe("next");
    },
  );

  test("fault 24: in the middle of its body cancels the upstream's call, which sees no whole request", async () => {
    await using origin = await scriptedOrigin([step(() => false, "head"), ok("next")]);
    await using proxy = await startProxy();
    const client = await proxy.client();
    await client.write(post(origin, "x".repeat(1000)).slice(0, -500));
    await origin.connected(1);
    await origin.connections[0]!.seen("xxx");
    client.reset();
    await origin.connections[0]!.gone();
    await callsOver(proxy);
    expect(errorsOf(proxy)).toEqual([{ code: "CLIENT_GONE" }]);
  });

  test("fault 24: in a tunnel breaks the upstream's side", async () => {
    await using origin = await scriptedOrigin([step(() => false, "connect")]);
    await using proxy = await startProxy(tunnelTo(origin.port));
    const client = await proxy.client();
    await client.ask(CONNECT);
    await client.write("x");
    await origin.connections[0]!.until("x");
    client.reset();
    expect(await origin.connections[0]!.gone()).toBe("reset");
    await callsOver(proxy);
  });

  test("fault 24: with Node's own client, in the middle of an answer that goes on, cancels the upstream's call", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while (peer.parting === null) {
          await peer.write("4\r\nmore\r\n");
          await apart();
        }
        return false;
      }),
    ]);
    await using proxy = await startProxy();
    const outgoing = httpRequest({
      host: "127.0.0.1",
      port: proxy.port,
      path: `http://${origin.authority}/`,
      headers: { host: origin.authority },
    });
    outgoing.on("error", () => {});
    outgoing.end();
    const [response] = await once(outgoing, "response");
    await once(response, "data");
    outgoing.destroy();
    await origin.connections[0]!.gone();
    await callsOver(proxy);
    expect(errorsOf(proxy)).toEqual([{ code: "CLIENT_GONE" }]);
  });
});

const tunnelTo = (port: number): ProxyOptions => ({
  policy: { destinations: [{ name: "t", hosts: ["tunnel.test"], upstream: { host: "127.0.0.1", port } }] },
});
const CONNECT = "CONNECT tunnel.test:443 HTTP/1.1\r\nHost: tunnel.test:443\r\n\r\n";
const LARGE = "x".repeat(3_000_000);

describe("fault 25: half of a connection ends, and every byte of the other half arrives:", () => {
  test("fault 25: in a tunnel, by the application, while the origin still has much to say", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        expect((await peer.rest()).toString()).toBe("question");
        await peer.write(LARGE);
        peer.halfClose();
        return false;
      }, "connect"),
    ]);
    await using proxy = await startProxy(tunnelTo(origin.port));
    using client = await proxy.client();
    await client.ask(CONNECT);
    await client.write("question");
    client.halfClose();
    expect((await client.rest()).length).toBe(LARGE.length);
    expect(client.parting).toBe("end");
    expect(origin.problems).toEqual([]);
  });

  test("fault 25: in a tunnel, by the origin, while the application still has much to say", async () => {
    const { promise, resolve } = Promise.withResolvers<number>();
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write("bye");
        peer.halfClose();
        resolve((await peer.rest()).length);
        return false;
      }, "connect"),
    ]);
    await using proxy = await startProxy(tunnelTo(origin.port));
    using client = await proxy.client();
    await client.ask(CONNECT);
    expect((await client.rest()).toString()).toBe("bye");
    await client.write(LARGE);
    client.halfClose();
    expect(await promise).toBe(LARGE.length);
  });

  test("fault 25: behind a 101, both ways", async () => {
    const { promise, resolve } = Promise.withResolvers<number>();
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write(`HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\nfirst`);
        resolve((await peer.rest()).length);
        await peer.write(LARGE);
        peer.halfClose();
        return false;
      }),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(get(origin, "/", "Connection: Upgrade\r\nUpgrade: raw\r\n"));
    await client.until("\r\n\r\n");
    await client.write(LARGE);
    client.halfClose();
    expect(await promise).toBe(LARGE.length);
    expect((await client.rest()).length).toBe("first".length + LARGE.length);
  });

  test("fault 25: what is sent ahead of CONNECT's answer arrives whole, and the end behind it too", async () => {
    const { promise, resolve } = Promise.withResolvers<number>();
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        resolve((await peer.rest()).length);
        peer.halfClose();
        return false;
      }, "connect"),
    ]);
    await using proxy = await startProxy(tunnelTo(origin.port));
    using client = await proxy.client();
    await client.write(CONNECT + LARGE);
    client.halfClose();
    expect(await promise).toBe(LARGE.length);
    expect((await client.rest()).toString()).toMatch(/^HTTP\/1\.1 200 .*\r\n\r\n$/);
  });

  test("fault 25: an application that ends its side behind a request gets all of the answer", async () => {
    await using origin = await scriptedOrigin([ok(LARGE)]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(get(origin));
    client.halfClose();
    expect((await client.response()).body.length).toBe(LARGE.length);
    expect(await client.gone()).toBe("end");
  });
});

describe("fault 26: an answer that comes before the request is over", () => {
  const TOO_LARGE = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\n\r\ntoo large";

  test.each(["Content-Length: 100000\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"])(
    "fault 26: 413 to %j is delivered, and no connection is used again",
    async (rest) => {
      await using origin = await scriptedOrigin([answerEarly(TOO_LARGE), ok("next")]);
      await using proxy = await startProxy();
      using client = await proxy.client();
      await client.write(`POST http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\n${rest}`);
      const response = await client.response();
      expect([response.status, response.body.toString()]).toEqual([413, "too large"]);
      expect(field(response, "connection")).toBe("close");
      expect(await client.gone()).toBe("end");
      await origin.connections[0]!.gone();
      expect((await proxy.get(origin)).body.toString()).toBe("next");
      expect(origin.connections).toHaveLength(2);
    },
  );

  test("fault 26: 413 reaches an application that goes on sending megabytes regardless", async () => {
    await using origin = await scriptedOrigin([answerEarly(TOO_LARGE)]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    const size = 8_000_000;
    await client.write(
      `POST http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\nContent-Length: ${size}\r\n\r\n`,
    );
    void client.write(Buffer.alloc(size));
    const response = await client.response();
    expect([response.status, response.body.toString()]).toEqual([413, "too large"]);
  });

  test.each([417, 401, 413])(
    "fault 26: a 100-continue that is refused with %i is delivered, the body is never sent, and what follows is not read",
    async (status) => {
      await using origin = await scriptedOrigin([
        answerEarly(`HTTP/1.1 ${status} No\r\nContent-Length: 2\r\n\r\nno`),
        ok("next"),
      ]);
      await using proxy = await startProxy();
      using client = await proxy.client();
      await client.write(post(origin, "abc", "Expect: 100-continue\r\n").slice(0, -3));
      const response = await client.anyResponse();
      expect([response.status, field(response, "connection")]).toEqual([status, "close"]);
      await client.write(get(origin, "/hidden"));
      await client.gone();
      await origin.connections[0]!.gone();
      expect(origin.received).not.toContain("abc");
      expect(origin.received).not.toContain("hidden");
    },
  );
});
