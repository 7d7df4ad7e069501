/** Interim responses, and the dance of Expect: 100-continue (RFC 9110 §10.1.1). */
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { field } from "../kit/message.ts";
import { answer, answerEarly, type Origin, ok, scriptedOrigin, step } from "../kit/origin.ts";
import { get, post, startProxy } from "../kit/proxy.ts";

const expecting = (origin: Origin, length = 5): string =>
  `POST http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\nExpect: 100-continue\r\n\r\n`;

test("interim responses reach the application before the final one, with their fields", async () => {
  await using origin = await scriptedOrigin([
    answer(
      "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ),
  ]);
  await using proxy = await startProxy();
  using client = await proxy.client();
  await client.write(get(origin));
  expect((await client.anyResponse()).head).toBe("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
  expect((await client.anyResponse()).status).toBe(102);
  expect((await client.anyResponse()).body.toString()).toBe("ok");
});

test("HTTP/1.0 clients are spared interim responses", async () => {
  await using origin = await scriptedOrigin([
    answer("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
  ]);
  await using proxy = await startProxy();
  using client = await proxy.client();
  await client.write(`GET http://${origin.authority}/ HTTP/1.0\r\n\r\n`);
  expect((await client.anyResponse()).status).toBe(200);
});

test("an origin that never comes to the final response is refused after 16 interim ones", async () => {
  await using origin = await scriptedOrigin([answer("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(17))]);
  await using proxy = await startProxy();
  expect(field(await proxy.get(origin), "outrider-error")).toBe("UPSTREAM_INVALID");
});

describe("Expect: 100-continue", () => {
  test("granted: the body follows the 100", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer, request }) => {
        expect(field(request, "expect")).toBe("100-continue");
        expect(peer.unread).toBe("");
        await peer.write("HTTP/1.1 100 Continue\r\n\r\n");
        const body = await peer.take(5);
        await peer.write(`HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n${body}`);
        return true;
      }, "head"),
      ok("next"),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(expecting(origin));
    expect((await client.anyResponse()).status).toBe(100);
    await client.write("hello");
    expect((await client.response()).body.toString()).toBe("hello");
    expect((await client.ask(get(origin))).body.toString()).toBe("next");
    expect(origin.connections).toHaveLength(1);
    expect(origin.problems).toEqual([]);
  });

  test.each([417, 413, 200])(
    "refused with %i: the answer comes, and the body is not waited for",
    async (status) => {
      await using origin = await scriptedOrigin([
        answerEarly(`HTTP/1.1 ${status} x\r\nContent-Length: 2\r\n\r\nno`),
        ok("next"),
      ]);
      await using proxy = await startProxy();
      using client = await proxy.client();
      const response = await client.ask(expecting(origin));
      expect([response.status, response.body.toString()]).toEqual([status, "no"]);
      // Whether the body still comes cannot be known, so nothing on this connection is a request any more.
      expect(field(response, "connection")).toBe("close");
      await client.write("hello");
      expect(await client.gone()).toBe("end");
      expect(origin.received).not.toContain("hello");
      expect((await proxy.get(origin)).body.toString()).toBe("next");
      expect(origin.connections).toHaveLength(2);
    },
  );

  test("of a client that does not wait is passed on with its body", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy();
    const response = await proxy.ask(post(origin, "hello", "Expect: 100-continue\r\n"));
    expect(response.status).toBe(200);
    expect(origin.requests[0]!.body.toString()).toBe("hello");
  });

  test("never answered: the client that sends after a while is served", async () => {
    await using origin = await scriptedOrigin([ok("late")]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(expecting(origin));
    await origin.connected(1);
    await origin.connections[0]!.arrivedInAll(10);
    await client.write("hello");
    expect((await client.response()).body.toString()).toBe("late");
  });

  test("never answered, and the client waits on: the origin is to blame", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([step(() => false, "head")]);
    await using proxy = await startProxy({ clock });
    using client = await proxy.client();
    await client.write(expecting(origin));
    await origin.connected(1);
    await origin.connections[0]!.arrivedInAll(10);
    await clock.advance(62_000);
    const response = await client.response();
    expect([response.status, field(response, "outrider-error")]).toEqual([504, "UPSTREAM_TIMEOUT"]);
  });

  test("in any other form cannot be met", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy();
    const response = await proxy.ask(post(origin, "hello", "Expect: the-unexpected\r\n"));
    expect([response.status, field(response, "outrider-error")]).toEqual([417, "EXPECTATION_FAILED"]);
    expect(origin.connections).toHaveLength(0);
  });
});
