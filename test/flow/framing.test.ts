/** Where messages end: every framing of RFC 9112 §6, both versions of HTTP/1, requests one behind the other. */
import { describe, expect, test } from "vitest";
import { field } from "../kit/message.ts";
import { answer, answerAndClose, drip, ok, reset, scriptedOrigin, step } from "../kit/origin.ts";
import { get, startProxy } from "../kit/proxy.ts";

test("chunks that come byte by byte mean the same", async () => {
  const bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n";
  await using origin = await scriptedOrigin([drip(...bytes), ok("next")]);
  await using proxy = await startProxy();
  using client = await proxy.client();
  const received = await client.ask(get(origin));
  expect([received.body.toString(), received.trailers]).toEqual(["abc", "X: y\r\n"]);
  expect((await client.ask(get(origin))).body.toString()).toBe("next");
});

describe("a response that ends with its connection", () => {
  const untilEnd = answerAndClose("HTTP/1.1 200 OK\r\n\r\nto the end");

  test("ends the connection of an HTTP/1.0 application too", async () => {
    await using origin = await scriptedOrigin([untilEnd]);
    await using proxy = await startProxy();
    const received = await proxy.ask(`GET http://${origin.authority}/ HTTP/1.0\r\nHost: x\r\n\r\n`);
    expect([received.body.toString(), field(received, "transfer-encoding")]).toEqual([
      "to the end",
      undefined,
    ]);
  });

  test.each(["1.0", "1.1"])("and breaks off, breaks off for an HTTP/%s application", async (version) => {
    await using origin = await scriptedOrigin([reset("HTTP/1.1 200 OK\r\n\r\nnot to the e")]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(`GET http://${origin.authority}/ HTTP/${version}\r\nHost: x\r\n\r\n`);
    expect(await client.gone()).toBe("reset");
    expect(client.received).not.toContain("0\r\n\r\n");
  });
});

describe("HTTP/1.0", () => {
  const from = (authority: string, fields = ""): string =>
    `GET http://${authority}/ HTTP/1.0\r\nHost: ${authority}\r\n${fields}\r\n`;
  const chunks = answer(
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n",
  );

  test("applications get no chunks and no trailers", async () => {
    await using origin = await scriptedOrigin([chunks]);
    await using proxy = await startProxy();
    const received = await proxy.ask(from(origin.authority, "Connection: keep-alive\r\n"));
    expect(received.body.toString()).toBe("abcde");
    expect([field(received, "transfer-encoding"), field(received, "connection")]).toEqual([
      undefined,
      "close",
    ]);
  });

  test("origins are asked in HTTP/1.1, and their connections are kept only where they say so", async () => {
    const body = "Content-Length: 2\r\n\r\nok";
    await using origin = await scriptedOrigin([
      answer(`HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n${body}`),
      answerAndClose(`HTTP/1.0 200 OK\r\n${body}`),
      answerAndClose("HTTP/1.0 200 OK\r\n\r\nto the end"),
    ]);
    await using proxy = await startProxy();
    const bodies: string[] = [];
    for (let call = 0; call < 3; call++) bodies.push((await proxy.get(origin)).body.toString());
    expect(bodies).toEqual(["ok", "ok", "to the end"]);
    expect(origin.requests.map(({ startLine, connection }) => [startLine, connection])).toEqual([
      ["GET / HTTP/1.1", 1],
      ["GET / HTTP/1.1", 1],
      ["GET / HTTP/1.1", 2],
    ]);
  });
});

describe("requests one behind the other", () => {
  test("are sent on one at a time", async () => {
    let open = 0;
    let most = 0;
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        most = Math.max(most, ++open);
        await new Promise(setImmediate);
        open -= 1;
        await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        return true;
      }),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(get(origin).repeat(20));
    for (let call = 0; call < 20; call++) expect((await client.response()).status).toBe(200);
    expect(most).toBe(1);
  });

  test("end at the one that asks for it", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(`${get(origin, "/1", "Connection: close\r\n")}${get(origin, "/2")}`);
    expect(field(await client.response(), "connection")).toBe("close");
    expect((await client.rest()).toString()).toBe("");
    expect(origin.requests.map(({ startLine }) => startLine)).toEqual(["GET /1 HTTP/1.1"]);
  });

  test("end at the first that is no request, after the answers to those before it", async () => {
    await using origin = await scriptedOrigin([ok("fine")]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(`${get(origin)}nonsense\r\n\r\n${get(origin)}`);
    expect((await client.response()).body.toString()).toBe("fine");
    expect((await client.response()).status).toBe(400);
    expect((await client.rest()).toString()).toBe("");
    expect(origin.requests).toHaveLength(1);
  });
});

describe("an application that ends its side", () => {
  test("behind its request still gets the answer", async () => {
    await using origin = await scriptedOrigin([
      drip("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", "la", "te"),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(get(origin));
    client.halfClose();
    const received = await client.response();
    expect([received.body.toString(), field(received, "connection")]).toEqual(["late", "close"]);
    expect(await client.gone()).toBe("end");
  });

  test("inside a head gets 400, between two requests an end", async () => {
    await using proxy = await startProxy();
    using first = await proxy.client();
    await first.write("GET http://x/ HT");
    first.halfClose();
    expect((await first.response()).status).toBe(400);
    using second = await proxy.client();
    second.halfClose();
    expect(await second.gone()).toBe("end");
  });
});
