/** Interim responses, and the application that waits for one before it sends its body (RFC 9110 §10.1.1, §15.2). */
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { passUntil } from "../kit/eventually.ts";
import { field, readRequest } from "../kit/message.ts";
import { answer, answerEarly, drip, type OriginTurn, scriptedOrigin, silence, step } from "../kit/origin.ts";
import { get, post, startProxy } from "../kit/proxy.ts";

const expecting = "Expect: 100-continue\r\n";

/** The head of a POST with a body of 3 bytes that is sent when a 100 has come. */
const headOf = (origin: Parameters<typeof post>[0], fields = expecting): string =>
  post(origin, "abc", fields).slice(0, -3);

describe("Expect: 100-continue", () => {
  test("granted: the body is sent after the 100, not before", async () => {
    let arrivedBeforeGrant = "";
    await using origin = await scriptedOrigin([
      step(async ({ peer, request }: OriginTurn) => {
        arrivedBeforeGrant = peer.unread;
        await peer.write("HTTP/1.1 100 Continue\r\n\r\n");
        const body = await peer.take(3);
        const said = `${field(request, "expect")} ${body}`;
        await peer.write(`HTTP/1.1 200 OK\r\nContent-Length: ${said.length}\r\n\r\n${said}`);
        return true;
      }, "head"),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(headOf(origin));
    expect((await client.anyResponse()).status).toBe(100);
    await client.write("abc");
    const final = await client.response();
    expect([final.status, final.body.toString()]).toEqual([200, "100-continue abc"]);
    expect(arrivedBeforeGrant).toBe("");
    // Both sides know where the request ended: the connection serves the next call.
    expect(field(final, "connection")).toBeUndefined();
  });

  test.each([417, 413, 401])("refused with %i: the body is neither wanted nor sent", async (status) => {
    await using origin = await scriptedOrigin([
      answerEarly(`HTTP/1.1 ${status} No\r\nContent-Length: 2\r\n\r\nno`),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(headOf(origin));
    const final = await client.anyResponse();
    expect([final.status, final.body.toString(), field(final, "connection")]).toEqual([
      status,
      "no",
      "close",
    ]);
    expect(await client.gone()).toBe("end");
    // Nobody can tell whether the application's next bytes are that body or a request: neither connection is used again.
    await origin.connections[0]!.gone();
    expect(origin.received).not.toContain("abc");
  });

  test("never answered: the application may lose patience and send the body all the same", async () => {
    await using origin = await scriptedOrigin([answer("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(headOf(origin));
    await origin.connected(1);
    await client.write("abc");
    expect((await client.anyResponse()).status).toBe(201);
    expect(origin.requests[0]!.body.toString()).toBe("abc");
  });

  test("never answered by an origin that is silent: its silence ends the call, not the application's", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([silence()]);
    await using proxy = await startProxy({ clock, policy: { defaults: { idle_timeout: "20s" } } });
    using client = await proxy.client();
    await client.write(headOf(origin));
    await origin.connected(1);
    const { value, elapsedMs } = await passUntil(clock, client.response());
    expect([value.status, field(value, "outrider-error")]).toEqual([504, "UPSTREAM_TIMEOUT"]);
    expect(elapsedMs).toBeGreaterThanOrEqual(20_000);
  });

  test("with the body right behind the head means no wait", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write("HTTP/1.1 100 Continue\r\n\r\n");
        await peer.take(3);
        await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        return true;
      }, "head"),
    ]);
    await using proxy = await startProxy();
    const final = await proxy.ask(post(origin, "abc", expecting));
    expect(final.status).toBe(200);
  });

  test("in HTTP/1.0 or without a body is no expectation", async () => {
    await using origin = await scriptedOrigin([answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")]);
    await using proxy = await startProxy();
    await proxy.ask(post(origin, "abc", expecting).replace("HTTP/1.1", "HTTP/1.0"));
    await proxy.ask(get(origin, "/", expecting));
    expect(origin.requests.map((request) => field(request, "expect"))).toEqual([undefined, undefined]);
  });
});

describe("interim responses", () => {
  const hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
  const final = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

  test("103 arrives with its fields, before the final response", async () => {
    await using origin = await scriptedOrigin([drip(hints, final)]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(get(origin));
    const interim = await client.anyResponse();
    expect([interim.startLine, field(interim, "link")]).toEqual([
      "HTTP/1.1 103 Early Hints",
      "</a.css>; rel=preload",
    ]);
    expect((await client.anyResponse()).body.toString()).toBe("ok");
  });

  test("several in one piece with the final response all arrive", async () => {
    await using origin = await scriptedOrigin([
      answer(`HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n${hints}${final}`),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(get(origin));
    const statuses: number[] = [];
    for (let part = 0; part < 4; part++) statuses.push((await client.anyResponse()).status);
    expect(statuses).toEqual([100, 102, 103, 200]);
  });

  test("carry nothing of the origin's own connection", async () => {
    await using origin = await scriptedOrigin([
      answer(`HTTP/1.1 103 Early Hints\r\nConnection: close\r\nContent-Length: 9\r\nX-A: b\r\n\r\n${final}`),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(get(origin));
    expect((await client.anyResponse()).head).toBe("HTTP/1.1 103 Early Hints\r\nX-A: b\r\n\r\n");
  });

  test("are not sent to an HTTP/1.0 application", async () => {
    await using origin = await scriptedOrigin([answer(`${hints}${final}`)]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(`GET http://${origin.authority}/ HTTP/1.0\r\nHost: x\r\n\r\n`);
    expect((await client.anyResponse()).status).toBe(200);
  });

  test("without end are no answer", async () => {
    await using origin = await scriptedOrigin([answer(hints.repeat(17) + final)]);
    await using proxy = await startProxy();
    const received = await proxy.get(origin);
    expect([received.status, field(received, "outrider-error")]).toEqual([502, "UPSTREAM_INVALID"]);
  });
});

test("a 100 that nobody waits for does not disturb the request that is being sent", async () => {
  await using origin = await scriptedOrigin([
    step(async ({ peer }) => {
      await peer.write("HTTP/1.1 100 Continue\r\n\r\n");
      await peer.take(3);
      await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
      const { body } = await readRequest(peer);
      await peer.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
      return true;
    }, "head"),
  ]);
  await using proxy = await startProxy();
  using client = await proxy.client();
  await client.write(headOf(origin, ""));
  expect((await client.anyResponse()).status).toBe(100);
  await client.write("abc");
  expect((await client.response()).status).toBe(200);
});
