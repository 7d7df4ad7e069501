/** One side leaves in the middle: the other is told, and nothing is held for a call that nobody waits for. */
import { describe, expect, test } from "vitest";
import { eventually } from "../kit/eventually.ts";
import { field } from "../kit/message.ts";
import { ok, scriptedOrigin, silence, step } from "../kit/origin.ts";
import { get, startProxy, type TestProxy } from "../kit/proxy.ts";

const errorsOf = (proxy: TestProxy): string[] =>
  proxy.proxy.telemetry.metrics().destinations.flatMap(({ errors }) => errors.map(({ code }) => code));

const nothingOpen = (proxy: TestProxy): Promise<void> =>
  eventually(
    "every connection and call to be over",
    () => proxy.proxy.listener.open().connections === 0 && proxy.proxy.telemetry.metrics().openCalls === 0,
  );

describe("an application that resets its connection", () => {
  test("while it waits for the answer: the origin's connection ends, and the application is to blame", async () => {
    await using origin = await scriptedOrigin([silence()]);
    await using proxy = await startProxy();
    const client = await proxy.client();
    await client.write(get(origin));
    await origin.connected(1);
    await origin.connections[0]!.seen("\r\n\r\n");
    client.reset();
    await origin.connections[0]!.gone();
    await nothingOpen(proxy);
    expect(errorsOf(proxy)).toEqual(["CLIENT_GONE"]);
  });

  test("in the middle of the answer: the origin's connection ends", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhalf");
        return false;
      }),
    ]);
    await using proxy = await startProxy();
    const client = await proxy.client();
    await client.write(get(origin));
    await client.seen("half");
    client.reset();
    await origin.connections[0]!.gone();
    await nothingOpen(proxy);
    expect(errorsOf(proxy)).toEqual(["CLIENT_GONE"]);
  });

  test("in the middle of an answer that it does not take: the origin's connection ends", async () => {
    const piece = "x".repeat(1_000_000);
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write("HTTP/1.1 200 OK\r\n\r\n");
        while (peer.parting === null && !peer.socket.destroyed) await peer.write(piece);
        return false;
      }),
    ]);
    await using proxy = await startProxy();
    const client = await proxy.client();
    client.pause();
    await client.write(get(origin));
    await origin.connected(1);
    await eventually("the origin to be held back", () => origin.connections[0]!.socket.writableLength > 0);
    client.reset();
    await origin.connections[0]!.gone();
    await nothingOpen(proxy);
  });

  test("in the middle of its body: the origin's connection ends", async () => {
    await using origin = await scriptedOrigin([step(() => false, "head")]);
    await using proxy = await startProxy();
    const client = await proxy.client();
    await client.write(
      `POST http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf`,
    );
    await origin.connected(1);
    await origin.connections[0]!.seen("half");
    client.reset();
    await origin.connections[0]!.gone();
    await nothingOpen(proxy);
    expect(errorsOf(proxy)).toEqual(["CLIENT_GONE"]);
  });

  test("while its name is looked up: nothing is dialled", async () => {
    await using origin = await scriptedOrigin([ok()]);
    const asked = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<void>();
    await using proxy = await startProxy({
      lookup: async () => {
        asked.resolve();
        await answer.promise;
        return [{ address: "127.0.0.1", family: 4 }];
      },
    });
    const client = await proxy.client();
    await client.write(`GET http://slow.test:${origin.port}/ HTTP/1.1\r\nHost: x\r\n\r\n`);
    await asked.promise;
    client.reset();
    await nothingOpen(proxy);
    answer.resolve();
    // A call of another application behind it shows that the look-up has been dealt with.
    expect((await proxy.get(origin)).status).toBe(200);
    expect(origin.connections).toHaveLength(1);
  });
});

describe("an application that ends its side in the middle of its body", () => {
  test("gets no answer, and the origin no whole request", async () => {
    await using origin = await scriptedOrigin([step(() => false, "head")]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(
      `POST http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf`,
    );
    await origin.connected(1);
    await origin.connections[0]!.seen("half");
    client.halfClose();
    await origin.connections[0]!.gone();
    await client.gone();
    expect(client.received).toBe("");
  });
});

describe("an origin that answers before the request is over", () => {
  test("and goes on reading: the answer arrives, and neither connection is used again", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
        return false;
      }, "head"),
      ok("next"),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(
      `POST http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n${"x".repeat(100_000)}`,
    );
    const response = await client.response();
    expect([response.status, response.body.toString()]).toEqual([413, "big"]);
    expect(field(response, "connection")).toBe("close");
    await origin.connections[0]!.gone();
    expect(await client.gone()).toBe("end");
    expect((await proxy.get(origin)).body.toString()).toBe("next");
  });

  test("and ends its side: the answer arrives", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write("HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno");
        peer.halfClose();
        return false;
      }, "head"),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(
      `POST http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n`,
    );
    expect((await client.response()).body.toString()).toBe("no");
  });

  test("with a body that ends with its connection: the answer arrives whole", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write("HTTP/1.1 403 Forbidden\r\n\r\nno");
        peer.halfClose();
        return false;
      }, "head"),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(
      `POST http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n`,
    );
    expect((await client.response()).body.toString()).toBe("no");
    expect(await client.gone()).toBe("end");
  });
});
