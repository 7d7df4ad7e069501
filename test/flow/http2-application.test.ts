/** Applications that speak HTTP/2: by prior knowledge to the proxy and to a local port, inside a tunnel, and in TLS that is opened. */
import { constants } from "node:http2";
import { describe, expect, test } from "vitest";
import { certificate } from "../kit/certificates.ts";
import { eventually, signal } from "../kit/eventually.ts";
import { callHttp2, frameClient, getList, http2Session, readHttp2 } from "../kit/http2-client.ts";
import { http2Origin } from "../kit/http2-origin.ts";
import { HOST, originFor, type Scene, scene } from "../kit/http2-scene.ts";
import { field } from "../kit/message.ts";
import { answer, ok, scriptedOrigin, step } from "../kit/origin.ts";

describe.each(["the proxy's own port", "a local port", "a tunnel", "TLS that is opened"] as const)(
  "HTTP/2 over %s",
  (carrier) => {
    test("is served, request by request, by an origin of HTTP/1.1", async () => {
      await using origin = await originFor(carrier, [ok("1", "X-Up: a\r\nX-Up: b\r\n"), ok("2")]);
      await using at = await scene(carrier, origin);
      const first = await callHttp2(at.session, { ":path": "/a?b", "x-app": "1" });
      expect(first).toMatchObject({ status: 200, body: "1", code: 0 });
      expect(first.headers["x-up"]).toBe("a, b");
      expect(first.headers["content-length"]).toBe("1");
      expect(await callHttp2(at.session, { ":path": "/c" })).toMatchObject({ status: 200, body: "2" });
      expect(origin.requests.map(({ startLine }) => startLine)).toEqual([
        "GET /a?b HTTP/1.1",
        "GET /c HTTP/1.1",
      ]);
      expect(origin.requests[0]!.fields).toEqual([
        ["Host", at.authority],
        ["x-app", "1"],
      ]);
    });

    test("keeps the length of a body that states one, and chunks one that does not", async () => {
      await using origin = await originFor(carrier, [ok()]);
      await using at = await scene(carrier, origin);
      const post = { ":method": "POST", ":path": "/" };
      await callHttp2(at.session, { ...post, "content-length": "5" }, "12345");
      await callHttp2(at.session, post, "12345");
      await callHttp2(at.session, { ...post, "content-length": "0" });
      await callHttp2(at.session, post);
      const framing = origin.requests.map((request) => [
        field(request, "content-length"),
        field(request, "transfer-encoding"),
        request.body.toString(),
      ]);
      expect(framing).toEqual([
        ["5", undefined, "12345"],
        [undefined, "chunked", "12345"],
        ["0", undefined, ""],
        [undefined, undefined, ""],
      ]);
    });

    test("brings a body of many windows both ways, byte for byte", async () => {
      const body = Array.from({ length: 300_000 }, (_, at) => String.fromCharCode(at % 251))
        .join("")
        .repeat(10);
      const echo = step(async ({ peer, request }) => {
        await peer.write(`HTTP/1.1 200 OK\r\nContent-Length: ${request.body.length}\r\n\r\n`);
        await peer.write(request.body);
        return true;
      });
      await using origin = await originFor(carrier, [echo]);
      await using at = await scene(carrier, origin);
      const back = await callHttp2(at.session, { ":method": "POST", ":path": "/" }, body);
      expect(back.status).toBe(200);
      expect(back.body === body).toBe(true);
    });

    test("is forgotten when the application leaves, calls under way and all", async () => {
      await using origin = await originFor(carrier, [step(() => false)]);
      await using at = await scene(carrier, origin);
      const calls = [1, 2, 3].map(() => callHttp2(at.session, { ":path": "/" }));
      await eventually("the calls at the origin", () => origin.requests.length === 3);
      at.session.destroy();
      await Promise.all(calls);
      await eventually("no connection", () => at.proxy.proxy.listener.open().connections === 0);
      await eventually("no call", () => origin.connections.every(({ parting }) => parting !== null));
    });

    test("is served by an origin of HTTP/2 with trailers both ways", async () => {
      const tls = carrier === "TLS that is opened" ? certificate("server") : null;
      await using origin = await http2Origin(
        ({ stream, body }) => {
          stream.respond({ ":status": 200 }, { waitForTrailers: true });
          stream.on("wantTrailers", () => stream.sendTrailers({ "x-sum": ["1", "2"] }));
          stream.end(body);
        },
        { tls },
      );
      await using at = await scene(carrier, origin, { more: { http_version: "auto" } });
      const stream = at.session.request({ ":method": "POST", ":path": "/" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "x-req": "3" }));
      const answered = readHttp2(stream);
      stream.end("body");
      expect(await answered).toMatchObject({
        status: 200,
        body: "body",
        trailers: { "x-sum": "1, 2" },
        code: 0,
      });
      expect(origin.requests[0]!.trailers).toEqual(["x-req", "3"]);
    });
  },
);

describe("an application that speaks HTTP/2", () => {
  test("gets trailers of chunked answers, and its own arrive in chunks", async () => {
    await using origin = await scriptedOrigin([
      answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"),
    ]);
    await using at = await scene("a local port", origin);
    const stream = at.session.request(
      { ":method": "PUT", ":path": "/", te: "trailers" },
      { waitForTrailers: true },
    );
    stream.on("wantTrailers", () => stream.sendTrailers({ "x-req": "3" }));
    const answered = readHttp2(stream);
    stream.end("body");
    expect(await answered).toMatchObject({ status: 200, body: "ok", trailers: { "x-sum": "1" } });
    expect(origin.requests[0]).toMatchObject({ trailers: "x-req: 3\r\n" });
    expect(field(origin.requests[0]!, "te")).toBe("trailers");
  });

  test.each([
    ["HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", 200, "7"],
    ["GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, undefined],
    ["GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", 304, "7"],
    ["GET", "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", 205, undefined],
    ["GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "0"],
  ])("gets no content with %s and %j", async (method, bytes, status, length) => {
    await using origin = await scriptedOrigin([answer(bytes)]);
    await using at = await scene("a local port", origin);
    for (let count = 0; count < 2; count++) {
      const got = await callHttp2(at.session, { ":method": method, ":path": "/" });
      expect(got).toMatchObject({ status, body: "", code: 0 });
      expect(got.headers["content-length"]).toBe(length);
    }
  });

  test("gets interim answers", async () => {
    await using origin = await scriptedOrigin([
      answer("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"),
    ]);
    await using at = await scene("a local port", origin);
    expect(await callHttp2(at.session, { ":path": "/" })).toMatchObject({
      status: 200,
      interim: [103],
      body: "x",
    });
  });

  test("is told to go on by the origin's 100, and not before", async () => {
    const asked = signal();
    const go = signal();
    await using origin = await scriptedOrigin([
      step(async ({ peer, request }) => {
        expect(request.startLine).toBe("POST / HTTP/1.1");
        asked.give();
        await go.given;
        await peer.write("HTTP/1.1 100 Continue\r\n\r\n");
        const body = await peer.take(4);
        await peer.write(`HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n${body}`);
        return true;
      }, "head"),
    ]);
    await using at = await scene("a local port", origin);
    const stream = at.session.request({
      ":method": "POST",
      ":path": "/",
      "content-length": "4",
      expect: "100-continue",
    });
    const continued = new Promise<void>((resolve) => stream.once("continue", resolve));
    let early = false;
    continued.then(() => (early = true));
    const answered = readHttp2(stream);
    await asked.given;
    expect(early).toBe(false);
    go.give();
    await continued;
    stream.end("body");
    expect(await answered).toMatchObject({ status: 200, body: "body" });
  });

  test("has many calls at once on one connection, and a slow one holds none back", async () => {
    const slow = signal();
    await using origin = await scriptedOrigin([
      step(async ({ peer, request }) => {
        if (request.startLine.includes("/slow")) await slow.given;
        await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        return true;
      }),
    ]);
    await using at = await scene("a local port", origin);
    const held = callHttp2(at.session, { ":path": "/slow" });
    await eventually("the slow call at the origin", () => origin.requests.length === 1);
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => callHttp2(at.session, { ":path": "/" })),
    );
    expect(answers.every(({ status, body }) => status === 200 && body === "ok")).toBe(true);
    slow.give();
    expect(await held).toMatchObject({ status: 200, body: "ok" });
    expect(at.proxy.proxy.listener.open().connections).toBe(1);
  });

  test("S8: sees a break of the origin as a reset, never as an end", async () => {
    const go = signal();
    const broken = step(async ({ peer }) => {
      await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ");
      await go.given;
      peer.reset();
      return false;
    });
    await using origin = await scriptedOrigin([broken]);
    await using at = await scene("a local port", origin);
    const stream = at.session.request({ ":path": "/" });
    const answered = readHttp2(stream);
    await new Promise((resolve) => stream.once("data", resolve));
    go.give();
    expect(await answered).toMatchObject({ status: 200, code: constants.NGHTTP2_INTERNAL_ERROR });
  });

  test("S8: sees a break inside a chunked answer as a reset", async () => {
    const broken = step(async ({ peer }) => {
      await peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
      peer.halfClose();
      return false;
    });
    await using origin = await scriptedOrigin([broken]);
    await using at = await scene("a local port", origin);
    expect(await callHttp2(at.session, { ":path": "/" })).toMatchObject({
      code: constants.NGHTTP2_INTERNAL_ERROR,
    });
  });

  test.each([
    [
      "resets its stream",
      (_at: Scene, stream: { close(code: number): void }) => stream.close(constants.NGHTTP2_CANCEL),
    ],
    ["closes its connection", (at: Scene) => at.session.destroy()],
  ])("fault 24: cancels a call when it %s, and the slot is free again", async (_what, leave) => {
    await using origin = await scriptedOrigin([step(() => false), ok("next")]);
    await using at = await scene("a local port", origin, { more: { concurrency: { max: 1 } } });
    const stream = at.session.request({ ":path": "/" });
    stream.on("error", () => {});
    await eventually("the call at the origin", () => origin.requests.length === 1);
    leave(at, stream);
    await eventually("the end of the connection upstream", () => origin.connections[0]!.parting !== null);
    const session = await http2Session(at.authority, at.proxy.localPorts.get("api")!);
    expect(await callHttp2(session, { ":path": "/" })).toMatchObject({ status: 200, body: "next" });
    session.destroy();
  });

  test("frees its slot with the last byte: calls one after the other never meet a limit of one", async () => {
    await using origin = await scriptedOrigin([ok("x")]);
    await using at = await scene("a local port", origin, { more: { concurrency: { max: 1 } } });
    for (let count = 0; count < 20; count++) {
      for (const method of ["GET", "HEAD", "POST"]) {
        const body = method === "POST" ? "body" : null;
        const got = await callHttp2(at.session, { ":method": method, ":path": "/" }, body);
        expect([method, got.status]).toEqual([method, 200]);
      }
    }
  });

  test("gets the answer to an upload that the origin does not want, and is told to stop", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
        return false;
      }, "head"),
    ]);
    await using at = await scene("a local port", origin);
    const stream = at.session.request({ ":method": "POST", ":path": "/" });
    const answered = readHttp2(stream);
    stream.write("x".repeat(100_000));
    expect(await answered).toMatchObject({ status: 413, body: "big", code: constants.NGHTTP2_NO_ERROR });
  });

  test("is refused like any other, in HTTP's own words", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using at = await scene("a local port", origin, { more: { access: "deny" } });
    const refused = await callHttp2(at.session, { ":path": "/" });
    expect(refused.status).toBe(403);
    expect(refused.headers["outrider-error"]).toBe("DENIED");
    expect(refused.headers["content-length"]).toBe(String(refused.body.length));
    expect(refused.body).toMatch(
      /^outrider: admit: The policy does not allow this destination\. \[DENIED \S+\]\n$/,
    );
    const head = await callHttp2(at.session, { ":method": "HEAD", ":path": "/" });
    expect(head).toMatchObject({ status: 403, body: "" });
    const upload = await callHttp2(at.session, { ":method": "POST", ":path": "/" }, "x".repeat(500_000));
    expect(upload).toMatchObject({ status: 403 });
    expect(origin.received).toBe("");
  });

  test.each(["a tunnel", "TLS that is opened"] as const)(
    "S4: may name no other host inside %s",
    async (carrier) => {
      await using origin = await originFor(carrier, [ok()]);
      await using at = await scene(carrier, origin);
      for (const authority of [`other.test:${origin.port}`, HOST, `${HOST}:1`]) {
        const refused = await callHttp2(at.session, { ":path": "/", ":authority": authority });
        expect(refused).toMatchObject({ status: 421 });
        expect(refused.headers["outrider-error"]).toBe("MISDIRECTED");
      }
      const scheme = carrier === "a tunnel" ? "https" : "http";
      expect(await callHttp2(at.session, { ":path": "/", ":scheme": scheme })).toMatchObject({ status: 421 });
      expect(origin.received).toBe("");
      expect(await callHttp2(at.session, { ":path": "/" })).toMatchObject({ status: 200 });
    },
  );

  test("gets bytes over 0x7f in values as they are, both ways", async () => {
    await using origin = await scriptedOrigin([ok("x", "X-Up: \xe4\xf6\r\n")]);
    await using at = await scene("a local port", origin);
    using client = await frameClient(at.proxy.localPorts.get("api")!);
    await client.headers(1, getList(HOST, "/", ["x-app", "\xe4\xf6"]));
    expect(await client.fate(1)).toBe("200");
    expect(field(origin.requests[0]!, "x-app")).toBe("\xe4\xf6");
    expect((await callHttp2(at.session, { ":path": "/" })).headers["x-up"]).toBe("\xe4\xf6");
  });

  test("gets a 502 for a status that HTTP/2 does not have", async () => {
    await using origin = await scriptedOrigin([answer("HTTP/1.1 799 What\r\nContent-Length: 1\r\n\r\nx")]);
    await using at = await scene("a local port", origin);
    const got = await callHttp2(at.session, { ":path": "/" });
    expect(got).toMatchObject({ status: 502, code: 0 });
    expect(got.headers["outrider-error"]).toBe("UPSTREAM_INVALID");
  });
});
