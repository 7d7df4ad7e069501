/** Plain calls through the proxy: what the origin gets and what the application gets, to the byte. */
import { describe, expect, test } from "vitest";
import { field } from "../kit/message.ts";
import { answer, answerAndClose, ok, scriptedOrigin } from "../kit/origin.ts";
import { get, post, startProxy } from "../kit/proxy.ts";
import { askOnce } from "../kit/raw-client.ts";

describe("a request in absolute form", () => {
  test("reaches the origin in origin form, with Host first and its own fields as they were", async () => {
    await using origin = await scriptedOrigin([ok("hello")]);
    await using proxy = await startProxy();
    const fields = "b: 1\r\nAccept:*/*\r\nB: 2\r\nX-Empty:\r\n";
    const response = await proxy.ask(get(origin, "/a?b=c", fields));
    expect(response.status).toBe(200);
    expect(response.body.toString()).toBe("hello");
    expect(origin.received).toBe(`GET /a?b=c HTTP/1.1\r\nHost: ${origin.authority}\r\n${fields}\r\n`);
  });

  test("has its Host replaced by the authority of the target", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy();
    await proxy.ask(`GET http://${origin.authority}/ HTTP/1.1\r\nHost: other.example\r\n\r\n`);
    expect(field(origin.requests[0]!, "host")).toBe(origin.authority);
  });

  test("loses what belongs to its hop, and what Connection says belongs to it", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy();
    const hop =
      "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\n" +
      "Proxy-Authorization: Basic eA==\r\nTE: gzip\r\nHTTP2-Settings: AAMA\r\nUpgrade: h2c\r\nProxy: x\r\n";
    await proxy.ask(get(origin, "/", `X-Kept: 1\r\n${hop}`));
    expect(origin.received).toBe(`GET / HTTP/1.1\r\nHost: ${origin.authority}\r\nX-Kept: 1\r\n\r\n`);
  });

  test("for the server as a whole becomes an asterisk", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy();
    await proxy.ask(`OPTIONS http://${origin.authority} HTTP/1.1\r\nHost: x\r\n\r\n`);
    expect(origin.requests[0]!.startLine).toBe("OPTIONS * HTTP/1.1");
  });

  test("reaches an origin on IPv6", async () => {
    await using origin = await scriptedOrigin([ok("six")], { host: "::1" });
    await using proxy = await startProxy();
    expect((await proxy.get(origin)).body.toString()).toBe("six");
    expect(field(origin.requests[0]!, "host")).toBe(`[::1]:${origin.port}`);
  });
});

test("a destination's local port takes origin-form requests and writes the destination's own Host", async () => {
  await using origin = await scriptedOrigin([ok("local")]);
  await using proxy = await startProxy({
    policy: {
      destinations: [
        {
          name: "payments",
          hosts: ["pay.example"],
          local_port: 4999,
          upstream: { host: "127.0.0.1", port: origin.port },
        },
      ],
    },
  });
  const port = proxy.localPorts.get("payments")!;
  const response = await askOnce(port, "GET /v1 HTTP/1.1\r\nHost: localhost\r\nX: y\r\n\r\n");
  expect(response.body.toString()).toBe("local");
  expect(origin.requests[0]!.startLine).toBe("GET /v1 HTTP/1.1");
  expect(field(origin.requests[0]!, "host")).toBe(`pay.example:${origin.port}`);
});

describe("a response", () => {
  test("keeps its reason, its own fields and their order, and loses what belongs to its hop", async () => {
    const kept = "Server: x\r\nset-cookie: a=b\r\nSet-Cookie: c=d\r\n";
    await using origin = await scriptedOrigin([
      answer(
        `HTTP/1.1 299 Very Fine\r\n${kept}Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Authenticate: x\r\n` +
          "Content-Length: 2\r\n\r\nok",
      ),
    ]);
    await using proxy = await startProxy();
    const response = await proxy.get(origin);
    expect(response.head).toBe(`HTTP/1.1 299 Very Fine\r\n${kept}Content-Length: 2\r\n\r\n`);
  });

  test.each([
    ["HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "Content-Length: 5\r\n"],
    ["HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ""],
    ["HEAD", "HTTP/1.1 200 OK\r\n\r\n", ""],
    ["GET", "HTTP/1.1 204 No Content\r\n\r\n", ""],
    ["GET", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", ""],
    [
      "GET",
      "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: x\r\n\r\n",
      "ETag: x\r\nContent-Length: 5\r\n",
    ],
    ["GET", "HTTP/1.1 304 Not Modified\r\n\r\n", ""],
    ["GET", "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", "Content-Length: 0\r\n"],
    ["GET", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "Content-Length: 0\r\n"],
  ])("to %s: %j has no body, and the connections go on", async (method, bytes, fields) => {
    await using origin = await scriptedOrigin([answer(bytes), ok("next")]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    const first = await client.ask(`${method} http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\n\r\n`);
    expect(first.head.split("\r\n").slice(1).join("\r\n")).toBe(`${fields}\r\n`);
    expect((await client.ask(get(origin))).body.toString()).toBe("next");
    expect(origin.connections).toHaveLength(1);
  });

  test("with Connection: close ends the upstream's connection and not the application's", async () => {
    await using origin = await scriptedOrigin([
      answerAndClose("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na"),
      ok("b"),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    expect((await client.ask(get(origin))).body.toString()).toBe("a");
    expect((await client.ask(get(origin))).body.toString()).toBe("b");
    expect(origin.connections).toHaveLength(2);
  });
});

describe("the application's connection", () => {
  test("serves one request after the other over one connection to the origin", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    for (let i = 0; i < 5; i++) expect((await client.ask(get(origin, `/${i}`))).status).toBe(200);
    expect(origin.requests.map(({ startLine }) => startLine.split(" ")[1])).toEqual([
      "/0",
      "/1",
      "/2",
      "/3",
      "/4",
    ]);
    expect(origin.connections).toHaveLength(1);
    expect(proxy.proxy.upstream.stats()).toMatchObject({ open: 1, idle: 1, dialled: 1 });
  });

  test("answers pipelined requests in their order, with and without bodies", async () => {
    await using origin = await scriptedOrigin([ok("one"), ok("two"), ok("three"), ok("four")]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    const chunked = `POST http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`;
    await client.write(get(origin) + post(origin, "body") + chunked + get(origin));
    for (const body of ["one", "two", "three", "four"]) {
      expect((await client.response()).body.toString()).toBe(body);
    }
    expect(origin.requests.map(({ body }) => body.toString())).toEqual(["", "body", "abc", ""]);
  });

  test("answers a request that arrives byte by byte", async () => {
    await using origin = await scriptedOrigin([ok("slowly")]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    for (const byte of post(origin, "hello")) await client.write(byte);
    expect((await client.response()).body.toString()).toBe("slowly");
    expect(origin.requests[0]!.body.toString()).toBe("hello");
  });

  test("ends after the answer when the application asks for that", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    const response = await client.ask(get(origin, "/", "Connection: close\r\n"));
    expect(field(response, "connection")).toBe("close");
    expect(await client.gone()).toBe("end");
  });

  test("is kept for an HTTP/1.0 client that asks for it, which is told so", async () => {
    await using origin = await scriptedOrigin([ok("1.0")]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    const asked = `GET http://${origin.authority}/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n`;
    for (let i = 0; i < 2; i++) {
      const response = await client.ask(asked);
      expect(field(response, "connection")).toBe("keep-alive");
    }
    expect(origin.requests[0]!.startLine).toBe("GET / HTTP/1.1");
  });

  test("of a plain HTTP/1.0 client ends with the answer, and a chunked body ends with it", async () => {
    await using origin = await scriptedOrigin([
      answer(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\nX-Sum: 1\r\n\r\n",
      ),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    const response = await client.ask(`GET http://${origin.authority}/ HTTP/1.0\r\n\r\n`);
    expect(response.body.toString()).toBe("abcdef");
    expect(response.head).toBe("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
  });

  test("takes the answer of an HTTP/1.0 origin", async () => {
    await using origin = await scriptedOrigin([answerAndClose("HTTP/1.0 200 OK\r\n\r\nold"), ok("next")]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    expect((await client.ask(get(origin))).body.toString()).toBe("old");
    expect((await client.ask(get(origin))).body.toString()).toBe("next");
  });
});

test("POST without a length and with a length of 0 stay apart, because a signature may cover the field", async () => {
  await using origin = await scriptedOrigin([ok()]);
  await using proxy = await startProxy();
  await proxy.ask(`POST http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\n\r\n`);
  await proxy.ask(post(origin, ""));
  expect(origin.requests.map((request) => field(request, "content-length"))).toEqual([undefined, "0"]);
});
