/** Where messages end: every framing of RFC 9112 §6, both versions of HTTP/1, requests one behind the other. */
import { describe, expect, test } from "vitest";
import { field } from "../kit/message.ts";
import { answer, answerAndClose, drip, ok, reset, scriptedOrigin, step } from "../kit/origin.ts";
import { get, post, startProxy } from "../kit/proxy.ts";

describe("an answer without a body", () => {
  test.each<[string, string, number, string | undefined]>([
    ["HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, "5"],
    ["HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, undefined],
    ["HEAD", "HTTP/1.1 200 OK\r\n\r\n", 200, undefined],
    ["GET", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", 204, undefined],
    ["GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, undefined],
    ["GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, "5"],
    ["GET", "HTTP/1.1 304 Not Modified\r\n\r\n", 304, undefined],
    ["GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "0"],
  ])("to %s, %j: both connections serve the next call", async (method, bytes, status, length) => {
    await using origin = await scriptedOrigin([answer(bytes), ok("next")]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    const first = await client.ask(get(origin).replace("GET", method));
    expect([first.status, field(first, "content-length")]).toEqual([status, length]);
    expect(field(first, "transfer-encoding")).toBeUndefined();
    expect((await client.ask(get(origin))).body.toString()).toBe("next");
    expect(origin.connections).toHaveLength(1);
  });
});

describe("chunks", () => {
  test("of a response arrive with the trailers that may be passed on, and without extensions", async () => {
    await using origin = await scriptedOrigin([
      answer(
        "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n" +
          '3;a=b\r\nabc\r\n2;c="d"\r\nde\r\n0\r\nX-Sum: 5\r\nContent-Length: 9\r\n\r\n',
      ),
    ]);
    await using proxy = await startProxy();
    const received = await proxy.get(origin);
    expect([received.body.toString(), received.trailers]).toEqual(["abcde", "X-Sum: 5\r\n"]);
    expect(received.framed).not.toContain(";");
    expect(field(received, "trailer")).toBe("X-Sum");
  });

  test("of a request arrive with the trailers that may be passed on, and without extensions", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy();
    const framed = "3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\nHost: evil\r\n\r\n";
    const sent = await proxy.ask(
      `PUT http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${framed}`,
    );
    expect(sent.status).toBe(200);
    const [received] = origin.requests;
    expect([received!.body.toString(), received!.trailers]).toEqual(["abcde", "X-Sum: 5\r\n"]);
    expect(received!.framed).not.toContain(";");
  });

  test("that come byte by byte mean the same", async () => {
    const bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n";
    await using origin = await scriptedOrigin([drip(...bytes), ok("next")]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    const received = await client.ask(get(origin));
    expect([received.body.toString(), received.trailers]).toEqual(["abc", "X: y\r\n"]);
    expect((await client.ask(get(origin))).body.toString()).toBe("next");
  });
});

test("a request that comes byte by byte is relayed once and whole", async () => {
  await using origin = await scriptedOrigin([ok()]);
  await using proxy = await startProxy();
  using client = await proxy.client();
  for (const byte of post(origin, "abc")) await client.write(byte);
  expect((await client.response()).status).toBe(200);
  expect(origin.received).toBe(
    `POST / HTTP/1.1\r\nHost: ${origin.authority}\r\nContent-Length: 3\r\n\r\nabc`,
  );
});

test("a length of nothing and no length stay apart", async () => {
  await using origin = await scriptedOrigin([ok()]);
  await using proxy = await startProxy();
  using client = await proxy.client();
  await client.ask(post(origin, ""));
  await client.ask(get(origin).replace("GET", "POST"));
  expect(origin.requests.map((request) => field(request, "content-length"))).toEqual(["0", undefined]);
});

describe("a response that ends with its connection", () => {
  const untilEnd = answerAndClose("HTTP/1.1 200 OK\r\n\r\nto the end");

  test("becomes chunks for an HTTP/1.1 application, whose connection stays", async () => {
    await using origin = await scriptedOrigin([untilEnd, ok("next")]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    const received = await client.ask(get(origin));
    expect([received.body.toString(), field(received, "transfer-encoding")]).toEqual([
      "to the end",
      "chunked",
    ]);
    expect((await client.ask(get(origin))).body.toString()).toBe("next");
    expect(origin.connections).toHaveLength(2);
  });

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

  test("applications keep their connection where they ask for it and the length is known", async () => {
    await using origin = await scriptedOrigin([ok("one"), ok("two")]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    const first = await client.ask(from(origin.authority, "Connection: keep-alive\r\n"));
    expect(field(first, "connection")).toBe("keep-alive");
    const second = await client.ask(from(origin.authority));
    expect([second.body.toString(), field(second, "connection")]).toEqual(["two", "close"]);
    expect(await client.gone()).toBe("end");
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
  test("are answered in their order, bodies among them", async () => {
    await using origin = await scriptedOrigin([
      step(({ peer, request }) => {
        const said = `${request.startLine} ${request.body}`;
        return peer
          .write(`HTTP/1.1 200 OK\r\nContent-Length: ${said.length}\r\n\r\n${said}`)
          .then(() => true);
      }),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    const chunked = get(origin, "/3", "Transfer-Encoding: chunked\r\n").replace("GET", "PUT");
    await client.write(
      `${get(origin, "/1")}${post(origin, "abc", "", "/2")}${chunked}1\r\nz\r\n0\r\n\r\n${get(origin, "/4")}`,
    );
    const bodies: string[] = [];
    for (let call = 0; call < 4; call++) bodies.push((await client.response()).body.toString());
    expect(bodies).toEqual([
      "GET /1 HTTP/1.1 ",
      "POST /2 HTTP/1.1 abc",
      "PUT /3 HTTP/1.1 z",
      "GET /4 HTTP/1.1 ",
    ]);
  });

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

  test("before a body's end breaks the request off", async () => {
    await using origin = await scriptedOrigin([step(() => false, "head")]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(post(origin, "abcdef").slice(0, -3));
    await origin.connected(1);
    client.halfClose();
    expect(await client.gone()).toBe("reset");
    await origin.connections[0]!.gone();
    expect(origin.received).not.toContain("def");
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
