/** Calls in HTTP/2: versions agreed on, connections shared, bodies and trailers both ways, interim responses; over Node's own server. */
import { createHash, randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { Body } from "../../src/body.ts";
import { VirtualClock } from "../../src/clock.ts";
import { EgressError } from "../../src/errors.ts";
import type { EgressRequest } from "../../src/exchange.ts";
import { certificate } from "../kit/certificates.ts";
import { eventually, passUntil, settled, signal } from "../kit/eventually.ts";
import {
  type FrameScript,
  frameOrigin,
  type Http2Handler,
  http2Ok,
  http2Origin,
} from "../kit/http2-origin.ts";
import { ok, scriptedOrigin } from "../kit/origin.ts";
import { attemptOf, errorOf, pushedBody, read, Sending } from "./sending.ts";

const tls = certificate("server");
const https = (sending: Sending, parts: Partial<EgressRequest> = {}) =>
  sending.request({ scheme: "https", ...parts });

describe("over TLS, the version is agreed on", () => {
  test("by ALPN: HTTP/2 where the server has it", async () => {
    await using origin = await http2Origin(http2Ok(), { tls });
    using sending = new Sending({ port: origin.port });
    const request = https(sending);
    expect(await sending.send(request)).toMatchObject({ status: 200, body: "ok" });
    const facts = attemptOf(request);
    expect(facts).toMatchObject({ reused: false, address: "127.0.0.1", status: 200, error: null });
    expect(facts.securedMs).toBeGreaterThanOrEqual(facts.connectedMs);
    expect(facts.firstByteMs).toBeGreaterThanOrEqual(facts.securedMs);
  });

  test.each([["http/1.1"], [undefined]])(
    "by ALPN: HTTP/1.1 where the server says %j, over the connection that asked, which is kept",
    async (protocol) => {
      const alpn = protocol === undefined ? {} : { ALPNProtocols: [protocol] };
      await using origin = await scriptedOrigin([ok("one"), ok("two")], { tls: { ...tls, ...alpn } });
      using sending = new Sending({ port: origin.port });
      expect(await sending.send(https(sending))).toMatchObject({ body: "one" });
      const request = https(sending);
      expect(await sending.send(request)).toMatchObject({ body: "two" });
      expect(attemptOf(request).reused).toBe(true);
      expect(origin.connections).toHaveLength(1);
      expect(sending.upstream.stats()).toEqual({ open: 1, idle: 1, dialled: 1 });
    },
  );

  test("and calls to a server that is known to have HTTP/1.1 only do not wait for one another", async () => {
    await using origin = await scriptedOrigin([ok()], { tls: { ...tls, ALPNProtocols: ["http/1.1"] } });
    using sending = new Sending({ port: origin.port });
    const answers = await Promise.all([1, 2, 3].map(() => sending.send(https(sending))));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(origin.connections.length).toBeGreaterThan(1);
  });

  test.each([
    ["refuses what is offered", { ALPNProtocols: ["http/1.1"] }],
    ["knows no ALPN", {}],
  ])("and where HTTP/2 is demanded, a server that %s is an error", async (_, alpn) => {
    await using origin = await scriptedOrigin([ok()], { tls: { ...tls, ...alpn } });
    using sending = new Sending({ port: origin.port, reach: { httpVersion: "http2" } });
    const request = https(sending);
    const error = await errorOf(sending.send(request));
    expect(error).toMatchObject({ code: "VERSION_REFUSED", reached: "final" });
    expect(attemptOf(request).error).toBe(error);
    expect(origin.received).toBe("");
  });

  test("and a server that asks for HTTP/1.1 after all gets it (HTTP_1_1_REQUIRED), the next time at once", async () => {
    const requiring: FrameScript = async (peer) => {
      await peer.settings();
      await peer.rst(await peer.request(), 13);
    };
    const plain: FrameScript = async ({ peer }) => {
      await peer.seen("\r\n\r\n");
      await peer.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nplain");
    };
    const options = { tls: { ...tls, ALPNProtocols: ["h2", "http/1.1"] } };
    await using origin = await frameOrigin([requiring, plain], options);
    using sending = new Sending({ port: origin.port });
    const request = https(sending, { method: "POST" });
    expect(await sending.send(request)).toMatchObject({ body: "plain" });
    expect(attemptOf(request)).toMatchObject({ replayed: true, error: null });
    expect(await sending.send(https(sending))).toMatchObject({ body: "plain" });
    expect(origin.connections).toHaveLength(3);
  });
});

describe("a connection", () => {
  test("is shared by calls at the same time, and the first of them share one dial", async () => {
    await using origin = await http2Origin(http2Ok());
    using sending = new Sending({ port: origin.port });
    const requests = Array.from({ length: 20 }, () => sending.request());
    const answers = await Promise.all(requests.map((request) => sending.send(request)));
    expect(answers.every(({ status, body }) => status === 200 && body === "ok")).toBe(true);
    expect(sending.upstream.stats()).toEqual({ open: 1, idle: 1, dialled: 1 });
    expect(requests.map((request) => attemptOf(request).address)).toEqual(Array(20).fill("127.0.0.1"));
    const next = sending.request();
    await sending.send(next);
    expect(attemptOf(next)).toMatchObject({ reused: true, connectedMs: 0 });
  });

  test("takes as many calls as limits.streams, the next go on another one", async () => {
    const waiting: (() => void)[] = [];
    const held: Http2Handler = (request) => void waiting.push(() => http2Ok()(request));
    await using origin = await http2Origin(held);
    using sending = new Sending({ port: origin.port, limits: { streamsMax: 2 } });
    const answers = [1, 2, 3].map(() => sending.send());
    await eventually("three requests", () => waiting.length === 3);
    expect(sending.upstream.stats()).toEqual({ open: 2, idle: 0, dialled: 2 });
    for (const release of waiting) release();
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([200, 200, 200]);
  });

  test("that one of two callers no longer waits for is dialled for the other; nobody waits: it is given up", async () => {
    await using origin = await http2Origin(http2Ok());
    const resolved = signal();
    const lookup = async () => {
      await resolved.given;
      return [{ address: "127.0.0.1", family: 4 } as const];
    };
    using sending = new Sending({ port: origin.port, lookup });
    const dialled = (count: number) =>
      eventually(`${count} dials`, () => sending.upstream.stats().dialled === count);
    const reason = new EgressError("CLIENT_GONE", "test");
    const [alone, leaving, staying] = [1, 2, 3].map(() => sending.request({ host: "slow.test" }));

    const leftAlone = errorOf(sending.send(alone));
    await dialled(1);
    alone!.cancelled.fire(reason);
    expect(await leftAlone).toBe(reason);

    const left = errorOf(sending.send(leaving));
    const stayed = sending.send(staying);
    await dialled(2);
    leaving!.cancelled.fire(reason);
    expect(await left).toBe(reason);
    resolved.give();
    expect(await stayed).toMatchObject({ status: 200 });
    expect(sending.upstream.stats()).toEqual({ open: 1, idle: 1, dialled: 2 });
  });

  test("is not dialled for a call that was cancelled already", async () => {
    await using origin = await http2Origin(http2Ok());
    using sending = new Sending({ port: origin.port });
    const request = sending.request();
    const reason = new EgressError("CLIENT_GONE", "test");
    request.cancelled.fire(reason);
    expect(await errorOf(sending.send(request))).toBe(reason);
    expect(sending.upstream.stats().dialled).toBe(0);
  });

  test("that cannot be made fails every call that waits for it", async () => {
    const origin = await http2Origin(http2Ok());
    const { port } = origin;
    await origin[Symbol.asyncDispose]();
    using sending = new Sending({ port });
    const errors = await Promise.all([1, 2].map(() => errorOf(sending.send())));
    expect(errors.map(({ code, reached }) => [code, reached])).toEqual(
      Array(2).fill(["CONNECT_FAILED", "unsent"]),
    );
    expect(sending.upstream.stats()).toEqual({ open: 0, idle: 0, dialled: 1 });
  });

  test("without calls is closed after 60 s, and not much earlier", async () => {
    const clock = new VirtualClock();
    await using origin = await http2Origin(http2Ok());
    using sending = new Sending({ port: origin.port, clock });
    await sending.send();
    const { elapsedMs } = await passUntil(
      clock,
      eventually("the close", () => sending.upstream.stats().open === 0),
    );
    expect(elapsedMs).toBeGreaterThanOrEqual(60_000);
    expect(elapsedMs).toBeLessThanOrEqual(90_000);
  });

  test("without calls beyond limits.idle_upstream is closed, the oldest first", async () => {
    await using one = await http2Origin(http2Ok());
    await using other = await http2Origin(http2Ok());
    using sending = new Sending({ port: one.port, limits: { idleUpstreamMax: 1 } });
    await sending.send();
    await sending.send(sending.request({ port: other.port }));
    expect(sending.upstream.stats()).toEqual({ open: 1, idle: 1, dialled: 2 });
  });

  test("that is destroyed with the proxy fails its calls and takes no others", async () => {
    await using origin = await http2Origin(() => {});
    using sending = new Sending({ port: origin.port });
    const sent = errorOf(sending.send());
    await eventually("the request", () => origin.requests.length === 1);
    sending.upstream.destroy();
    expect(await sent).toMatchObject({ code: "UPSTREAM_RESET" });
    expect(sending.upstream.stats().open).toBe(0);
  });
});

describe("a request", () => {
  test("arrives with its fields in order, its names in lower case and everything of HTTP/1.1's hop left out", async () => {
    await using origin = await http2Origin(http2Ok());
    using sending = new Sending({ port: origin.port });
    const fields = "X-B:  1 \r\nAuthorization: AWS4-HMAC\r\nX-b: 2\r\n";
    await sending.send(
      sending.request({ method: "PUT", path: "/a%2F?b=+", fields, body: Body.of("abc"), teTrailers: true }),
    );
    expect(origin.requests[0]!.raw).toEqual([
      ...[
        ":method",
        "PUT",
        ":scheme",
        "http",
        ":authority",
        `127.0.0.1:${origin.port}`,
        ":path",
        "/a%2F?b=+",
      ],
      ...["x-b", "1", "authorization", "AWS4-HMAC", "x-b", "2", "content-length", "3", "te", "trailers"],
    ]);
    expect(origin.requests[0]!.body.toString()).toBe("abc");
  });

  test.each([
    [true, "0"],
    [false, undefined],
  ])("without a body states a length if the application did: %s", async (hasLength, stated) => {
    await using origin = await http2Origin(http2Ok());
    using sending = new Sending({ port: origin.port });
    await sending.send(sending.request({ method: "POST", hasLength }));
    expect(origin.requests[0]!.field("content-length")).toBe(stated);
  });

  test("with fields that repeat what most name once is passed on as it is", async () => {
    await using origin = await http2Origin(http2Ok());
    using sending = new Sending({ port: origin.port });
    const fields = "content-type: a/b\r\ncontent-type: c/d\r\n";
    expect(await sending.send(sending.request({ fields }))).toMatchObject({ status: 200 });
    expect(origin.requests[0]!.raw.filter((text) => text === "content-type")).toHaveLength(2);
  });

  test("streams its body, then its trailers", async () => {
    await using origin = await http2Origin(http2Ok());
    using sending = new Sending({ port: origin.port });
    const { body } = pushedBody();
    const sent = sending.send(sending.request({ method: "POST", body }));
    body.push(Buffer.from("one"));
    body.push(Buffer.from("two"));
    body.end("X-T: 1\r\nx-t: 2\r\n__proto__: 3\r\n");
    expect(await sent).toMatchObject({ status: 200 });
    expect(origin.requests[0]).toMatchObject({ trailers: ["x-t", "1", "x-t", "2", "__proto__", "3"] });
    expect(origin.requests[0]!.body.toString()).toBe("onetwo");
  });

  test("whose body breaks off is reset, never ended", async () => {
    let code = -1;
    await using origin = await http2Origin(http2Ok(), {
      gate: (stream) => {
        stream.on("data", () => {});
        stream.on("close", () => (code = stream.rstCode));
        return false;
      },
    });
    using sending = new Sending({ port: origin.port });
    const { body } = pushedBody();
    const sent = errorOf(sending.send(sending.request({ method: "POST", body })));
    body.push(Buffer.from("half"));
    const reason = new EgressError("CLIENT_GONE", "test");
    body.fail(reason);
    expect(await sent).toBe(reason);
    await eventually("the reset", () => code !== -1);
    expect(code).toBe(8);
  });

  test("is held back while the upstream does not read, and goes on when it does", async () => {
    const reading = signal();
    await using origin = await http2Origin(http2Ok(), {
      gate: (stream) => {
        let received = 0;
        void reading.given.then(() => stream.on("data", (piece: Buffer) => (received += piece.length)));
        stream.on("end", () => {
          stream.respond({ ":status": 200 });
          stream.end(String(received));
        });
        return false;
      },
    });
    using sending = new Sending({ port: origin.port });
    const piece = Buffer.alloc(64 * 1024);
    let pushed = 0;
    let heldBack = false;
    const body: Body = new Body(null, {
      pause: () => {},
      resume: () => {
        heldBack = false;
        while (!heldBack && pushed < 512) {
          pushed += 1;
          heldBack = !body.push(piece);
        }
        if (pushed === 512) body.end();
      },
      cancel: () => {},
    });
    const sent = sending.send(sending.request({ method: "POST", body }));
    // What fills the stream's window and the buffers of both sides, and no more.
    expect(await settled(() => pushed)).toBeLessThan(64);
    expect(heldBack).toBe(true);
    reading.give();
    expect(await sent).toMatchObject({ body: String(512 * piece.length) });
  });
});

describe("a response", () => {
  test("comes with its fields, body and trailers", async () => {
    await using origin = await http2Origin(({ stream }) => {
      stream.respond(
        { ":status": 201, "x-a": ["1", "2"], "set-cookie": ["a=1", "b=2"], date: "today" },
        { waitForTrailers: true },
      );
      stream.on("wantTrailers", () => stream.sendTrailers({ "x-sum": "42", "set-cookie": "c=3" }));
      stream.write("one");
      stream.end("two");
    });
    using sending = new Sending({ port: origin.port });
    expect(await sending.send()).toEqual({
      status: 201,
      fields: "x-a: 1\r\nx-a: 2\r\nset-cookie: a=1\r\nset-cookie: b=2\r\ndate: today\r\n",
      body: "onetwo",
      trailers: "x-sum: 42\r\n",
      broke: null,
    });
  });

  test.each<[string, string, number, Record<string, string>, number | null]>([
    ["to HEAD", "HEAD", 200, { "content-length": "12345" }, 12_345],
    ["to HEAD without a length", "HEAD", 200, {}, null],
    ["204", "GET", 204, {}, null],
    ["304", "GET", 304, { "content-length": "5" }, 5],
    ["200 with nothing", "GET", 200, {}, 0],
  ])("without a body: %s", async (_, method, status, fields, length) => {
    await using origin = await http2Origin(({ stream }) => {
      stream.respond({ ":status": status, ...fields }, { endStream: true });
    });
    using sending = new Sending({ port: origin.port });
    const response = await sending.head(sending.request({ method }));
    expect(response).toMatchObject({ status });
    expect(response.body).toMatchObject({ length, whole: "" });
    // The stream is over, so that its connection is free.
    await eventually("an idle connection", () => sending.upstream.stats().idle === 1);
  });

  test("states its length", async () => {
    await using origin = await http2Origin(http2Ok("abc", { "content-length": "3" }));
    using sending = new Sending({ port: origin.port });
    const response = await sending.head(sending.request());
    expect(response.body.length).toBe(3);
    expect(response.fields).not.toContain("content-length");
    expect(await read(response)).toMatchObject({ body: "abc", broke: null });
  });

  test("is preceded by interim ones", async () => {
    await using origin = await http2Origin(({ stream }) => {
      stream.additionalHeaders({ ":status": 103, link: "</a>" });
      stream.additionalHeaders({ ":status": 102 });
      http2Ok()({ stream } as Parameters<Http2Handler>[0]);
    });
    using sending = new Sending({ port: origin.port });
    const request = sending.request();
    const interims: [number, string][] = [];
    request.onInterim = (status, fields) => interims.push([status, fields]);
    expect(await sending.send(request)).toMatchObject({ status: 200 });
    expect(interims).toEqual([
      [103, "link: </a>\r\n"],
      [102, ""],
    ]);
  });

  test("may be 100 Continue, which the request's body waited for", async () => {
    await using origin = await http2Origin(http2Ok(), {
      gate: (stream) => {
        stream.additionalHeaders({ ":status": 100 });
        return true;
      },
    });
    using sending = new Sending({ port: origin.port });
    const { body } = pushedBody();
    const request = sending.request({ method: "POST", body, expectContinue: true });
    request.onInterim = (status) => {
      if (status !== 100) return;
      body.push(Buffer.from("waited"));
      body.end();
    };
    expect(await sending.send(request)).toMatchObject({ status: 200 });
    expect(origin.requests[0]!.field("expect")).toBe("100-continue");
    expect(origin.requests[0]!.body.toString()).toBe("waited");
  });

  test("of 32 MiB comes byte for byte, and is held back while nobody reads", async () => {
    const block = randomBytes(1024 * 1024);
    let written = 0;
    await using origin = await http2Origin(({ stream, field }) => {
      stream.respond({ ":status": 200 });
      if (field(":path") === "/small") return stream.end();
      const write = (): void => {
        while (written < 32) {
          written += 1;
          if (!stream.write(block)) return void stream.once("drain", write);
        }
        stream.end();
      };
      write();
    });
    using sending = new Sending({ port: origin.port });
    const response = await sending.head(sending.request());
    // Another call on the same connection is served meanwhile, which also shows that time has passed.
    expect(await sending.send(sending.request({ path: "/small" }))).toMatchObject({ status: 200 });
    expect(await settled(() => written)).toBeLessThan(16);
    const hash = createHash("sha256");
    const broke = await new Promise((resolve) => {
      response.body.pipe({
        write: (chunk) => {
          hash.update(chunk);
          return true;
        },
        end: () => {},
        abort: () => {},
      });
      response.body.onEnded(resolve);
    });
    expect(broke).toBeNull();
    const wanted = createHash("sha256");
    for (let sent = 0; sent < 32; sent++) wanted.update(block);
    expect(hash.digest("hex")).toBe(wanted.digest("hex"));
  });

  test("that nobody wants any more is reset, and its connection lives on", async () => {
    let code = -1;
    await using origin = await http2Origin(({ stream }) => {
      if (code !== -1) return http2Ok()({ stream } as Parameters<Http2Handler>[0]);
      stream.respond({ ":status": 200 });
      stream.write("endless");
      stream.on("close", () => (code = stream.rstCode));
    });
    using sending = new Sending({ port: origin.port });
    const request = sending.request();
    const { body } = await sending.head(request);
    body.cancel(new EgressError("CLIENT_GONE", "test"));
    await eventually("the reset", () => code !== -1);
    expect(code).toBe(8);
    expect(await sending.send()).toMatchObject({ status: 200 });
    expect(sending.upstream.stats().dialled).toBe(1);
  });

  test("may come before the request is over, whose rest is not wanted then", async () => {
    await using origin = await http2Origin(http2Ok(), {
      gate: (stream) => {
        stream.respond({ ":status": 413 }, { endStream: true });
        return false;
      },
    });
    using sending = new Sending({ port: origin.port });
    const { body, cancelled } = pushedBody();
    const sent = sending.send(sending.request({ method: "POST", body }));
    body.push(Buffer.from("half"));
    expect(await sent).toMatchObject({ status: 413, broke: null });
    expect(cancelled()).not.toBeNull();
  });

  test.each([
    ["head", true],
    ["trailers", false],
  ])("of gRPC leaves its status in the trail, from its %s", async (_, headOnly) => {
    await using origin = await http2Origin(({ stream }) => {
      const status = { "grpc-status": "14" };
      if (headOnly) return stream.respond({ ":status": 200, ...status }, { endStream: true });
      stream.respond({ ":status": 200 }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers(status));
      stream.end("x");
    });
    using sending = new Sending({ port: origin.port });
    const request = sending.request({ method: "POST" });
    await sending.send(request);
    expect(request.trail.filter(({ kind }) => kind === "grpc")).toEqual([{ kind: "grpc", status: 14 }]);
  });
});

test("a tunnel of a destination that originates TLS speaks it by itself, without ALPN", async () => {
  await using origin = await scriptedOrigin([ok()], { tls: { ...tls, ALPNProtocols: ["http/1.1"] } });
  using sending = new Sending({ port: origin.port, reach: { tunnelOverTls: true } });
  const { port } = origin;
  const request = sending.request({ method: "CONNECT", path: `127.0.0.1:${port}`, httpVersion: 1 });
  const { tunnel } = await sending.head(request);
  tunnel!.socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  const [chunk] = await new Promise<[Buffer]>((resolve) =>
    tunnel!.socket.once("data", (data: Buffer) => resolve([data])),
  );
  expect(chunk.toString()).toContain("200 OK");
  tunnel!.socket.destroy();
  expect(attemptOf(request).securedMs).toBeGreaterThan(0);
});
