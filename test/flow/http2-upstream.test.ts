/** An application that speaks HTTP/1.1, an upstream that speaks HTTP/2: what the policy asks for, and what the application sees of it. */
import { createHash, randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { PolicyFile } from "../../src/config/schema.ts";
import { certificate, certificateFile } from "../kit/certificates.ts";
import { eventually } from "../kit/eventually.ts";
import {
  FRAME,
  type FrameOrigin,
  type FramePeer,
  type FrameScript,
  frameOrigin,
  type Http2Origin,
  http2Ok,
  http2Origin,
} from "../kit/http2-origin.ts";
import { field } from "../kit/message.ts";
import { ok, scriptedOrigin } from "../kit/origin.ts";
import { startProxy, type TestProxy } from "../kit/proxy.ts";

type DestinationFile = NonNullable<PolicyFile["destinations"]>[number];

/** A proxy that calls `origin` under the name `api.test`. */
function proxyTo(
  origin: Http2Origin | FrameOrigin | { readonly port: number },
  destination: Partial<DestinationFile> = { http_version: "http2" },
): Promise<TestProxy> {
  return startProxy({
    policy: {
      destinations: [
        {
          name: "api",
          hosts: ["api.test"],
          upstream: { host: "127.0.0.1", port: origin.port },
          ...destination,
        },
      ],
    },
  });
}

const OVER_TLS = () => ({
  http_version: "http2" as const,
  tls: { originate: true, ca: certificateFile("ca") },
});

const request = (line = "GET http://api.test/", fields = "", body = ""): string =>
  `${line} HTTP/1.1\r\nHost: api.test\r\n${fields}\r\n${body}`;

describe("a destination with http_version: http2", () => {
  test("is called in HTTP/2 by prior knowledge, whatever the application speaks", async () => {
    await using origin = await http2Origin(http2Ok("hello", { "content-length": "5", "x-a": "b" }));
    await using proxy = await proxyTo(origin);
    const response = await proxy.ask(
      request("GET http://api.test/a?b", "X-One: 1\r\nConnection: x-hop\r\nX-Hop: 1\r\n"),
    );
    expect(response.startLine).toBe("HTTP/1.1 200 ");
    expect(response.body.toString()).toBe("hello");
    expect([field(response, "content-length"), field(response, "x-a")]).toEqual(["5", "b"]);
    expect(origin.requests[0]!.raw).toEqual([
      ...[":method", "GET", ":scheme", "http", ":authority", "api.test", ":path", "/a?b"],
      ...["x-one", "1"],
    ]);
  });

  test("is called in HTTP/2 over TLS that the policy originates, under its own name", async () => {
    await using origin = await http2Origin(http2Ok(), { tls: certificate("server") });
    await using proxy = await proxyTo(origin, OVER_TLS());
    const answers = await Promise.all([1, 2, 3].map(() => proxy.ask(request())));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    const pseudo = [":method", "GET", ":scheme", "https", ":authority", "api.test", ":path", "/"];
    expect(origin.requests.map(({ raw }) => raw)).toEqual(Array(3).fill(pseudo));
    expect(origin.sessions).toHaveLength(1);
  });

  test("that does not speak it is an error, and nothing is sent", async () => {
    await using origin = await scriptedOrigin([ok()], {
      tls: { ...certificate("server"), ALPNProtocols: ["http/1.1"] },
    });
    await using proxy = await proxyTo(origin, OVER_TLS());
    const response = await proxy.ask(request());
    expect([response.status, field(response, "outrider-error")]).toEqual([502, "VERSION_REFUSED"]);
    expect(origin.received).toBe("");
  });

  test("whose certificate is for another name is an error (S9)", async () => {
    await using origin = await http2Origin(http2Ok(), { tls: certificate("wrong-host") });
    await using proxy = await proxyTo(origin, OVER_TLS());
    expect(field(await proxy.ask(request()), "outrider-error")).toBe("CERTIFICATE_REJECTED");
    expect(origin.requests).toEqual([]);
  });

  test("is called in HTTP/1.1 for an upgrade", async () => {
    await using origin = await scriptedOrigin([ok("plain", "Connection: close\r\n")]);
    await using proxy = await proxyTo(origin);
    const fields = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    expect((await proxy.ask(request(undefined, fields))).body.toString()).toBe("plain");
    expect(field(origin.requests[0]!, "upgrade")).toBe("websocket");
  });
});

test("without http_version an application of HTTP/1.1 is called for in HTTP/1.1, also where the server has HTTP/2", async () => {
  const options = { tls: { ...certificate("server"), ALPNProtocols: ["h2", "http/1.1"] } };
  await using origin = await scriptedOrigin([ok("one")], options);
  await using proxy = await proxyTo(origin, { tls: { originate: true, ca: certificateFile("ca") } });
  expect((await proxy.ask(request())).body.toString()).toBe("one");
});

describe("what is translated between HTTP/1.1 and HTTP/2", () => {
  test("a body with a length keeps it, and arrives whole", async () => {
    await using origin = await http2Origin(({ stream, body }) => {
      stream.respond({ ":status": 200 });
      stream.end(createHash("sha256").update(body).digest("hex"));
    });
    await using proxy = await proxyTo(origin);
    const body = randomBytes(300_000).toString("latin1");
    const response = await proxy.ask(
      request("PUT http://api.test/", `Content-Length: ${body.length}\r\n`, body),
    );
    expect(response.body.toString()).toBe(createHash("sha256").update(body, "latin1").digest("hex"));
    expect(origin.requests[0]!.field("content-length")).toBe("300000");
  });

  test("a chunked body comes without a length, its trailers behind it", async () => {
    await using origin = await http2Origin(http2Ok());
    await using proxy = await proxyTo(origin);
    const body = "3\r\none\r\n3\r\ntwo\r\n0\r\nX-Sum: 6\r\n\r\n";
    const fields = "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n";
    expect((await proxy.ask(request("POST http://api.test/", fields, body))).status).toBe(200);
    const [received] = origin.requests;
    expect(received!.body.toString()).toBe("onetwo");
    expect(received!.trailers).toEqual(["x-sum", "6"]);
    expect([received!.field("content-length"), received!.field("transfer-encoding")]).toEqual([
      undefined,
      undefined,
    ]);
  });

  test("a body without a length comes chunked, its trailers behind it", async () => {
    await using origin = await http2Origin(({ stream }) => {
      stream.respond({ ":status": 200, trailer: "x-sum" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "x-sum": "7" }));
      stream.end("body");
    });
    await using proxy = await proxyTo(origin);
    const response = await proxy.ask(request());
    expect(field(response, "transfer-encoding")).toBe("chunked");
    expect([response.body.toString(), response.trailers]).toEqual(["body", "x-sum: 7\r\n"]);
  });

  test("interim responses", async () => {
    await using origin = await http2Origin(({ stream }) => {
      stream.additionalHeaders({ ":status": 103, link: "</a>" });
      stream.respond({ ":status": 204 });
      stream.end();
    });
    await using proxy = await proxyTo(origin);
    using client = await proxy.client();
    await client.write(request());
    const early = await client.anyResponse();
    expect([early.status, field(early, "link")]).toEqual([103, "</a>"]);
    expect((await client.response()).status).toBe(204);
  });

  test("an expectation, whose 100 lets the body go", async () => {
    await using origin = await http2Origin(http2Ok(), {
      gate: (stream) => {
        stream.additionalHeaders({ ":status": 100 });
        return true;
      },
    });
    await using proxy = await proxyTo(origin);
    using client = await proxy.client();
    await client.write(request("POST http://api.test/", "Content-Length: 4\r\nExpect: 100-continue\r\n"));
    expect((await client.anyResponse()).status).toBe(100);
    await client.write("body");
    expect((await client.response()).status).toBe(200);
    expect(origin.requests[0]!.body.toString()).toBe("body");
  });

  test("HEAD, with the length that it tells", async () => {
    await using origin = await http2Origin(({ stream }) => {
      stream.respond({ ":status": 200, "content-length": "1234" }, { endStream: true });
    });
    await using proxy = await proxyTo(origin);
    const response = await proxy.ask(request("HEAD http://api.test/"));
    expect([response.status, field(response, "content-length")]).toEqual([200, "1234"]);
  });

  test("OPTIONS for the server as a whole", async () => {
    await using origin = await http2Origin(http2Ok());
    await using proxy = await proxyTo(origin);
    await proxy.ask(request("OPTIONS http://api.test"));
    expect(origin.requests[0]!.field(":path")).toBe("*");
  });
});

describe("an upstream of HTTP/2 that fails", () => {
  const SETTINGS_THEN = (play: (peer: FramePeer, stream: number) => Promise<void> | void): FrameScript => {
    return async (peer) => {
      await peer.settings();
      await play(peer, await peer.request());
    };
  };

  test("in the middle of a body with a length cuts the application's connection (S8)", async () => {
    await using origin = await frameOrigin([
      SETTINGS_THEN(async (peer, stream) => {
        await peer.headers(stream, [":status", "200", "content-length", "10"]);
        await peer.data(stream, "half");
        await peer.rst(stream, 0);
      }),
    ]);
    await using proxy = await proxyTo(origin);
    using client = await proxy.client();
    await client.write(request());
    await client.until("\r\n\r\n");
    await client.gone();
    expect(client.received).not.toContain("half".repeat(2));
    expect(client.unread.length).toBeLessThan(10);
  });

  test("in the middle of a body without a length leaves it without its last chunk (S8)", async () => {
    await using origin = await frameOrigin([
      SETTINGS_THEN(async (peer, stream) => {
        await peer.headers(stream, [":status", "200"]);
        await peer.data(stream, "half");
        await peer.rst(stream, 0);
      }),
    ]);
    await using proxy = await proxyTo(origin);
    using client = await proxy.client();
    await client.write(request());
    await client.gone();
    expect(client.received).not.toContain("0\r\n\r\n");
  });

  test("fault 27: refuses the stream, is called again on a new connection, and the application sees nothing of it", async () => {
    await using origin = await frameOrigin([
      SETTINGS_THEN((peer, stream) => peer.rst(stream, 7)),
      SETTINGS_THEN((peer, stream) => peer.answer(stream, "second")),
    ]);
    await using proxy = await proxyTo(origin);
    const response = await proxy.ask(request("POST http://api.test/", "Content-Length: 1\r\n", "x"));
    expect(response.body.toString()).toBe("second");
  });

  test("fault 27: refuses again and again, is retried as often as retry.on: refused_stream allows", async () => {
    const refusing: FrameScript = async (peer) => {
      await peer.settings();
      for (;;) await peer.rst(await peer.request(), 7);
    };
    await using origin = await frameOrigin([refusing]);
    await using proxy = await proxyTo(origin, {
      http_version: "http2",
      retry: { on: ["refused_stream"], max_retries: 1, backoff: { base: "1ms" } },
    });
    const response = await proxy.ask(request("POST http://api.test/", "Content-Length: 1\r\n", "x"));
    expect([response.status, field(response, "outrider-error")]).toEqual([503, "STREAM_REFUSED"]);
    // Each of the two tries, and what is free with it.
    const tried = origin.connections
      .flatMap(({ frames }) => frames)
      .filter(({ type }) => type === FRAME.headers);
    expect(tried).toHaveLength(4);
  });

  test("with a gRPC status that is a condition is called again", async () => {
    const answers = ["14", "0"];
    await using origin = await http2Origin(({ stream }) => {
      stream.respond(
        { ":status": 200, "content-type": "application/grpc", "grpc-status": answers.shift()! },
        { endStream: true },
      );
    });
    await using proxy = await proxyTo(origin, {
      http_version: "http2",
      retry: { on: ["grpc_unavailable"], methods: ["POST"], max_retries: 1, backoff: { base: "1ms" } },
    });
    const response = await proxy.ask(request("POST http://api.test/", "Content-Length: 1\r\n", "x"));
    expect(field(response, "grpc-status")).toBe("0");
    expect(origin.requests).toHaveLength(2);
  });

  test("is told when the application leaves: the stream is reset, the connection kept (fault 24)", async () => {
    let code = -1;
    await using origin = await http2Origin(({ stream, field: value }) => {
      if (value(":path") === "/next")
        return http2Ok()({ stream } as Parameters<ReturnType<typeof http2Ok>>[0]);
      stream.respond({ ":status": 200 });
      stream.write("endless");
      stream.on("close", () => (code = stream.rstCode));
    });
    await using proxy = await proxyTo(origin);
    const client = await proxy.client();
    await client.write(request());
    await client.seen("endless");
    client.reset();
    await eventually("the reset", () => code !== -1);
    expect(code).toBe(8);
    expect((await proxy.ask(request("GET http://api.test/next"))).status).toBe(200);
    expect(origin.sessions).toHaveLength(1);
  });
});
