/** Calls in HTTP/2: heads, bodies and trailers both ways, interim responses; over Node's own server. */
import { createHash, randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { Body } from "../../src/body.ts";
import { EgressError } from "../../src/errors.ts";
import { certificate } from "../kit/certificates.ts";
import { eventually, settled, signal } from "../kit/eventually.ts";
import { type Http2Handler, http2Ok, http2Origin } from "../kit/http2-origin.ts";
import { ok, scriptedOrigin } from "../kit/origin.ts";
import { attemptOf, errorOf, pushedBody, read, Sending } from "./sending.ts";

const tls = certificate("server");

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

  test("and its response keep bytes beyond ASCII as they are", async () => {
    await using origin = await http2Origin(({ stream, field }) => {
      stream.respond({ ":status": 200, "x-echo": field("x-a")! });
      stream.end();
    });
    using sending = new Sending({ port: origin.port });
    const { fields } = await sending.send(sending.request({ fields: "X-A: caf\xe9 \xff\r\n" }));
    expect(origin.requests[0]!.field("x-a")).toBe("caf\xe9 \xff");
    expect(fields).toContain("x-echo: caf\xe9 \xff\r\n");
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
  const request = sending.request({
    destination: "db",
    method: "CONNECT",
    path: `127.0.0.1:${port}`,
    httpVersion: 1,
  });
  const { tunnel } = await sending.head(request);
  tunnel!.socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  const [chunk] = await new Promise<[Buffer]>((resolve) =>
    tunnel!.socket.once("data", (data: Buffer) => resolve([data])),
  );
  expect(chunk.toString()).toContain("200 OK");
  tunnel!.socket.destroy();
  expect(attemptOf(request).securedMs).toBeGreaterThan(0);
});
