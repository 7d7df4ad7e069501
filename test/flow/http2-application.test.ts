/** Applications that speak HTTP/2: by prior knowledge to a local port and inside a tunnel, and in TLS that is opened. */
import { type ClientHttp2Session, constants } from "node:http2";
import { connect as connectTls } from "node:tls";
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import type { PolicyFile } from "../../src/config/schema.ts";
import { certificate, certificateFile } from "../kit/certificates.ts";
import { eventually, passUntil, signal } from "../kit/eventually.ts";
import {
  callHttp2,
  frameClient,
  getList,
  headerBlock,
  http2Session,
  readHttp2,
  tunnelSocket,
} from "../kit/http2-client.ts";
import { FRAME, frame, http2Ok, http2Origin } from "../kit/http2-origin.ts";
import { field, readResponse } from "../kit/message.ts";
import { answer, type Origin, ok, type Step, scriptedOrigin, step } from "../kit/origin.ts";
import { startProxy, type TestProxy } from "../kit/proxy.ts";

const HOST = "api.test";
const LOOKUP = async () => [{ address: "127.0.0.1", family: 4 as const }];

interface SceneOptions {
  /** More keys of the destination. */
  readonly more?: object;
  readonly policy?: Omit<PolicyFile, "version" | "destinations">;
  readonly clock?: VirtualClock;
}

type Carrier = "a local port" | "a tunnel" | "TLS that is opened";

/** A session to the origin, and what calls it has to name. */
interface Scene extends AsyncDisposable {
  readonly session: ClientHttp2Session;
  readonly proxy: TestProxy;
  readonly authority: string;
}

/** An HTTP/2 session through a proxy in front of `origin`, which speaks what `more` says. */
async function scene(
  carrier: Carrier,
  origin: { readonly port: number },
  { more, policy, clock }: SceneOptions = {},
): Promise<Scene> {
  const authority = `${HOST}:${origin.port}`;
  const destination = {
    name: "api",
    hosts: [HOST],
    http_version: "http1" as const,
    ...(carrier === "a local port" ? { local_port: 1024, upstream: { host: HOST, port: origin.port } } : {}),
    ...(carrier === "TLS that is opened"
      ? { tls: { intercept: true, originate: false, ca: certificateFile("ca") } }
      : {}),
    ...more,
  };
  const proxy = await startProxy({
    policy: { ...policy, destinations: [destination] },
    lookup: LOOKUP,
    ...(clock === undefined ? {} : { clock }),
  });
  const session = await sessionOver(carrier, proxy, authority);
  return {
    session,
    proxy,
    authority,
    [Symbol.asyncDispose]: async () => {
      session.destroy();
      await proxy[Symbol.asyncDispose]();
    },
  };
}

async function sessionOver(
  carrier: Carrier,
  proxy: TestProxy,
  authority: string,
): Promise<ClientHttp2Session> {
  if (carrier === "a local port") return http2Session(authority, proxy.localPorts.get("api")!);
  const socket = await tunnelSocket(proxy.port, authority);
  if (carrier === "a tunnel") return http2Session(authority, socket);
  const secured = connectTls({
    socket,
    servername: HOST,
    ca: proxy.authority!.certificatePem,
    ALPNProtocols: ["h2"],
  });
  await new Promise<void>((resolve, reject) => {
    secured.once("secureConnect", resolve);
    secured.once("error", reject);
  });
  return http2Session(authority, secured, "https");
}

/** An origin that speaks HTTP/1.1 in what `carrier` needs. */
const originFor = (carrier: Carrier, script: readonly Step[]): Promise<Origin> =>
  scriptedOrigin(script, carrier === "TLS that is opened" ? { tls: certificate("server") } : {});

describe.each(["a local port", "a tunnel", "TLS that is opened"] as const)("HTTP/2 over %s", (carrier) => {
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
});

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

  test("sees a break of the origin as a reset, never as an end (S8)", async () => {
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

  test("sees a break inside a chunked answer as a reset (S8)", async () => {
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
  ])("cancels a call when it %s, and the slot is free again", async (_what, leave) => {
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

  test("is refused while too much waits in the proxy, and served again when it does not", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([ok("x".repeat(1024 * 1024)), ok("next")]);
    await using at = await scene("a local port", origin, {
      clock,
      policy: { limits: { total_buffer: "32KiB" }, defaults: { idle_timeout: "1h" } },
    });
    const slow = at.session.request({ ":path": "/" });
    await new Promise((resolve) => slow.once("response", resolve));
    slow.pause();
    const refused = async (): Promise<string> => {
      for (;;) {
        const { headers } = await callHttp2(at.session, { ":path": "/" });
        if (headers["outrider-error"] !== undefined) return String(headers["outrider-error"]);
      }
    };
    expect((await passUntil(clock, refused())).value).toBe("OVERLOADED");
    slow.on("error", () => {});
    slow.close(constants.NGHTTP2_CANCEL);
    const served = async (): Promise<string> => {
      for (;;) {
        const { status, body } = await callHttp2(at.session, { ":path": "/" });
        if (status === 200) return body;
      }
    };
    expect((await passUntil(clock, served())).value).toBe("next");
  });

  test("holds its origin back when it does not read", async () => {
    const piece = "x".repeat(64 * 1024);
    let sentBytes = 0;
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write(`HTTP/1.1 200 OK\r\nContent-Length: ${1024 * piece.length}\r\n\r\n`);
        for (; sentBytes < 1024 * piece.length && peer.parting === null; sentBytes += piece.length) {
          await peer.write(piece);
        }
        return true;
      }),
    ]);
    await using at = await scene("a local port", origin);
    const stream = at.session.request({ ":path": "/" });
    await new Promise((resolve) => stream.once("response", resolve));
    stream.pause();
    let before = -1;
    await eventually("a standstill", () => {
      const same = sentBytes === before;
      before = sentBytes;
      return same && sentBytes > 0;
    });
    expect(sentBytes).toBeLessThan(512 * piece.length);
    let read = 0;
    stream.on("data", (bytes: Buffer) => (read += bytes.length));
    stream.resume();
    await new Promise((resolve) => stream.once("end", resolve));
    expect(read).toBe(1024 * piece.length);
  });

  test("is held back when its origin does not read", async () => {
    const go = signal();
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        peer.socket.pause();
        await go.given;
        peer.socket.resume();
        await peer.take(32 * 1024 * 1024);
        await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        return true;
      }, "head"),
    ]);
    await using at = await scene("a local port", origin);
    const stream = at.session.request({
      ":method": "PUT",
      ":path": "/",
      "content-length": String(32 * 1024 * 1024),
    });
    const answered = readHttp2(stream);
    let taken = 0;
    const piece = "x".repeat(256 * 1024);
    for (let count = 0; count < 128; count++) stream.write(piece, () => (taken += piece.length));
    stream.end();
    let before = -1;
    await eventually("a standstill", () => {
      const same = taken === before;
      before = taken;
      return same && origin.requests.length === 1;
    });
    expect(taken).toBeLessThan(24 * 1024 * 1024);
    go.give();
    expect(await answered).toMatchObject({ status: 200 });
  });
});

describe("a connection of HTTP/2", () => {
  test("serves others while uploads wait for an origin that does not read", async () => {
    const go = signal();
    await using origin = await scriptedOrigin([
      step(async ({ peer, request }) => {
        if (request.startLine.includes("/stuck")) {
          peer.socket.pause();
          await go.given;
          peer.socket.resume();
        }
        await peer.take(Number(field(request, "content-length")));
        await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        return true;
      }, "head"),
    ]);
    await using at = await scene("a local port", origin);
    const bytes = 8 * 1024 * 1024;
    const length = { "content-length": String(bytes) };
    const body = "x".repeat(bytes);
    const stuck = Array.from({ length: 8 }, () =>
      callHttp2(at.session, { ":method": "PUT", ":path": "/stuck", ...length }, body),
    );
    await eventually("the uploads at the origin", () => origin.requests.length === 8);
    at.session.on("goaway", (c) => console.log("GOAWAY", c)); at.session.on("error", (e) => console.log("SESSION", e));
    const quick = await callHttp2(at.session, { ":method": "PUT", ":path": "/quick", ...length }, body);
    console.log(quick, at.session.destroyed, stuck);
    expect(quick).toMatchObject({ status: 200, body: "ok" });
    go.give();
    expect((await Promise.all(stuck)).every(({ status }) => status === 200)).toBe(true);
  });

  test("says goodbye when the proxy drains, and what is under way gets its answer", async () => {
    const go = signal();
    const slow = step(async ({ peer }) => {
      await go.given;
      await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast");
      return true;
    });
    await using origin = await scriptedOrigin([slow]);
    await using at = await scene("a local port", origin);
    const held = callHttp2(at.session, { ":path": "/" });
    await eventually("the call at the origin", () => origin.requests.length === 1);
    const goodbye = new Promise((resolve) => at.session.once("goaway", resolve));
    const drained = at.proxy.proxy.listener.drain(Number.POSITIVE_INFINITY);
    expect(await goodbye).toBe(constants.NGHTTP2_NO_ERROR);
    go.give();
    expect(await held).toMatchObject({ status: 200, body: "last", code: 0 });
    await drained;
    expect(at.proxy.proxy.listener.open().connections).toBe(0);
  });

  test("is broken off when the drain's time is up", async () => {
    await using origin = await scriptedOrigin([step(() => false)]);
    await using at = await scene("a local port", origin);
    const held = callHttp2(at.session, { ":path": "/" });
    await eventually("the call at the origin", () => origin.requests.length === 1);
    await at.proxy.proxy.listener.drain(0);
    expect(await held).toMatchObject({ status: 0 });
    await eventually("the end", () => at.session.destroyed);
  });

  test("is closed after limits.keep_alive without a request, whatever else it sends", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([ok()]);
    await using at = await scene("a local port", origin, {
      clock,
      policy: { limits: { keep_alive: "20s" } },
    });
    expect(await callHttp2(at.session, { ":path": "/" })).toMatchObject({ status: 200 });
    const beat = setInterval(() => at.session.destroyed || at.session.ping(() => {}), 10);
    const closed = new Promise((resolve) => at.session.once("close", resolve));
    const { elapsedMs } = await passUntil(clock, closed, { limitMs: 120_000 });
    clearInterval(beat);
    expect(elapsedMs).toBeGreaterThanOrEqual(20_000);
    expect(elapsedMs).toBeLessThanOrEqual(40_000);
  });

  test("S16: is closed when a header block stays open longer than limits.head_timeout", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([step(() => false)]);
    await using at = await scene("a local port", origin, {
      clock,
      policy: { limits: { head_timeout: "10s", keep_alive: "1h" } },
    });
    using client = await frameClient(at.proxy.localPorts.get("api")!);
    await client.roundTrip();
    // Between HEADERS and its end nothing else may come, so that no PING is answered.
    client.silent = true;
    // A call under way keeps no such connection open either.
    await client.headers(1, getList(HOST, "/held"));
    await eventually("the call at the origin", () => origin.requests.length === 1);
    await client.write(frame(FRAME.headers, 1, 3, headerBlock(getList(HOST, "/open"))));
    // A byte now and then: less than what nghttp2 takes for a flood.
    const rest = frame(FRAME.continuation, 0, 3, headerBlock([["x-a", "1".repeat(2000)]]));
    let at3 = 0;
    const drip = setInterval(() => {
      if (at3 < rest.length) client.socket.write(rest.subarray(at3, ++at3));
    }, 5);
    const closed = client.until("the end", () => client.closed);
    const { elapsedMs } = await passUntil(clock, closed, { limitMs: 300_000 });
    expect(elapsedMs).toBeGreaterThanOrEqual(10_000);
    clearInterval(drip);
    expect(origin.received).not.toContain("/open");
  });

  test("S16: loses a call whose body stops, and only that", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([step(() => false, "head"), ok("next")]);
    await using at = await scene("a local port", origin, {
      clock,
      policy: { defaults: { idle_timeout: "20s" } },
    });
    const stream = at.session.request({ ":method": "POST", ":path": "/" });
    const answered = readHttp2(stream);
    stream.write("half");
    await eventually("the call at the origin", () => origin.requests.length === 1);
    const { value, elapsedMs } = await passUntil(clock, answered);
    expect(value.status).toBe(408);
    expect(value.headers["outrider-error"]).toBe("BODY_TIMEOUT");
    expect(elapsedMs).toBeGreaterThanOrEqual(20_000);
    expect(await callHttp2(at.session, { ":path": "/" })).toMatchObject({ status: 200, body: "next" });
  });

  test("fault 23: loses a call whose answer is not taken", async () => {
    const clock = new VirtualClock();
    const body = "x".repeat(1024 * 1024);
    await using origin = await scriptedOrigin([ok(body)]);
    await using at = await scene("a local port", origin, {
      clock,
      policy: { defaults: { idle_timeout: "20s" } },
    });
    const stream = at.session.request({ ":path": "/" });
    await new Promise((resolve) => stream.once("response", resolve));
    stream.pause();
    const closed = new Promise<void>((resolve) => stream.once("close", resolve));
    stream.on("error", () => {});
    await passUntil(clock, closed);
    expect(stream.rstCode).toBe(constants.NGHTTP2_INTERNAL_ERROR);
  });
});

test("HTTP/2 is not taken for a request at the proxy's port or in HTTP/1.1's words", async () => {
  await using origin = await http2Origin(http2Ok());
  await using proxy = await startProxy();
  using client = await proxy.client();
  await client.write(`GET http://${origin.authority}/ HTTP/2.0\r\nHost: ${origin.authority}\r\n\r\n`);
  expect((await readResponse(client)).status).toBe(505);
  expect(origin.requests).toEqual([]);
});
