/** gRPC through the proxy, all four kinds of calls, by hand over `node:http2`: messages, trailers, statuses, and what refusals look like. */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  constants,
  type ServerHttp2Stream,
} from "node:http2";
import { describe, expect, test } from "vitest";
import type { PolicyFile } from "../../src/config/schema.ts";
import { eventually, signal } from "../kit/eventually.ts";
import { callHttp2, http2Session, readHttp2 } from "../kit/http2-client.ts";
import { type Http2Origin, http2Origin } from "../kit/http2-origin.ts";
import { answer, scriptedOrigin } from "../kit/origin.ts";
import { startProxy, type TestProxy } from "../kit/proxy.ts";

/** Length-prefixed, uncompressed (gRPC over HTTP/2, "Length-Prefixed-Message"); one latin1 character per byte. */
function message(text: string): string {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(text.length, 1);
  return prefix.toString("latin1") + text;
}

const CALL = {
  ":method": "POST",
  ":path": "/shop.Orders/Call",
  "content-type": "application/grpc",
  te: "trailers",
};

/** Plays one call at the origin, as it comes. */
type Handler = (stream: ServerHttp2Stream) => void;

/** A gRPC origin that does not wait for the end of a request. */
function grpcOrigin(handler: Handler): Promise<Http2Origin> {
  return http2Origin(() => {}, {
    gate: (stream) => {
      handler(stream);
      return false;
    },
  });
}

/** Begins an answer that ends with `status`. */
function begin(stream: ServerHttp2Stream, status = 0, more: Record<string, string> = {}): void {
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": String(status), ...more }));
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
}

interface Scene extends AsyncDisposable {
  readonly session: ClientHttp2Session;
  readonly proxy: TestProxy;
}

async function scene(
  origin: { readonly port: number },
  more: object = {},
  policy: Omit<PolicyFile, "version" | "destinations"> = {},
): Promise<Scene> {
  const upstream = { host: "127.0.0.1", port: origin.port };
  const proxy = await startProxy({
    policy: {
      ...policy,
      destinations: [{ name: "orders", hosts: ["orders.test"], local_port: 1024, upstream, ...more }],
    },
  });
  const session = await http2Session("orders.test", proxy.localPorts.get("orders")!);
  return {
    session,
    proxy,
    [Symbol.asyncDispose]: async () => {
      session.destroy();
      await proxy[Symbol.asyncDispose]();
    },
  };
}

/** The next piece that comes. */
const next = (stream: ClientHttp2Stream | ServerHttp2Stream): Promise<string> =>
  new Promise((resolve) =>
    stream.once("data", (bytes: Buffer | string) => resolve(bytes.toString("latin1"))),
  );

describe("gRPC", () => {
  test("unary: one message each way, the status in the trailers", async () => {
    await using origin = await grpcOrigin((stream) => {
      stream.on("end", () => {
        begin(stream, 0, { "grpc-message": "fine" });
        stream.end(message("answer"), "latin1");
      });
      stream.resume();
    });
    await using at = await scene(origin);
    const got = await callHttp2(at.session, CALL, message("question"));
    expect(got).toMatchObject({ status: 200, body: message("answer"), code: 0 });
    expect(got.headers["content-type"]).toBe("application/grpc");
    expect(got.trailers).toMatchObject({ "grpc-status": "0", "grpc-message": "fine" });
  });

  test("server streaming: each message comes when it is sent", async () => {
    const go = signal();
    await using origin = await grpcOrigin(async (stream) => {
      begin(stream);
      stream.write(message("1"), "latin1");
      await go.given;
      stream.end(message("2"), "latin1");
    });
    await using at = await scene(origin);
    const stream = at.session.request(CALL);
    const answered = readHttp2(stream);
    stream.end(message("list"), "latin1");
    expect(await next(stream)).toBe(message("1"));
    go.give();
    expect(await answered).toMatchObject({
      body: message("1") + message("2"),
      trailers: { "grpc-status": "0" },
    });
  });

  test("client streaming: each message arrives when it is sent, the answer comes behind the last", async () => {
    const arrived: string[] = [];
    await using origin = await grpcOrigin((stream) => {
      stream.on("data", (bytes: Buffer) => arrived.push(bytes.toString("latin1")));
      stream.on("end", () => {
        begin(stream);
        stream.end(message(`${arrived.length}`), "latin1");
      });
    });
    await using at = await scene(origin);
    const stream = at.session.request(CALL);
    const answered = readHttp2(stream);
    for (const text of ["1", "2", "3"]) {
      stream.write(message(text), "latin1");
      await eventually(`message ${text}`, () => arrived.length === Number(text));
    }
    stream.end();
    expect(await answered).toMatchObject({ body: message("3"), trailers: { "grpc-status": "0" } });
    expect(arrived).toEqual(["1", "2", "3"].map(message));
  });

  test("bidirectional streaming: both sides talk in turns on one stream", async () => {
    await using origin = await grpcOrigin((stream) => {
      begin(stream);
      stream.on("data", (bytes: Buffer) => stream.write(bytes));
      stream.on("end", () => stream.end());
    });
    await using at = await scene(origin);
    const stream = at.session.request(CALL);
    const answered = readHttp2(stream);
    for (const text of ["a", "b", "c"]) {
      const echoed = next(stream);
      stream.write(message(text), "latin1");
      expect(await echoed).toBe(message(text));
    }
    stream.end();
    expect(await answered).toMatchObject({
      body: ["a", "b", "c"].map(message).join(""),
      trailers: { "grpc-status": "0" },
      code: 0,
    });
  });

  test("an error that is nothing but a head stays one", async () => {
    await using origin = await grpcOrigin((stream) => {
      stream.respond(
        { ":status": 200, "content-type": "application/grpc", "grpc-status": "5" },
        { endStream: true },
      );
    });
    await using at = await scene(origin);
    const got = await callHttp2(at.session, CALL, message("question"));
    expect(got).toMatchObject({ status: 200, body: "", trailers: {}, code: 0 });
    expect(got.headers["grpc-status"]).toBe("5");
  });

  test("a call that the application cancels is cancelled at the origin", async () => {
    const codes: number[] = [];
    await using origin = await grpcOrigin((stream) => {
      begin(stream);
      stream.write(message("1"), "latin1");
      stream.on("close", () => codes.push(stream.rstCode ?? -1));
    });
    await using at = await scene(origin);
    const stream = at.session.request(CALL);
    const answered = readHttp2(stream);
    await next(stream);
    stream.close(constants.NGHTTP2_CANCEL);
    await answered;
    await eventually("the end of the stream at the origin", () => codes.length === 1);
    expect(codes).toEqual([constants.NGHTTP2_CANCEL]);
  });

  test("a stream that breaks at the origin breaks for the application too, and nothing looks like a status", async () => {
    await using origin = await grpcOrigin((stream) => {
      begin(stream);
      stream.write(message("1"), "latin1", () => stream.close(constants.NGHTTP2_INTERNAL_ERROR));
    });
    await using at = await scene(origin);
    const got = await callHttp2(at.session, CALL, message("question"));
    expect(got.code).toBe(constants.NGHTTP2_INTERNAL_ERROR);
    expect(got.trailers).toEqual({});
  });
});

describe("a refusal of a gRPC call", () => {
  test("is a status that gRPC understands, in a head alone", async () => {
    await using origin = await grpcOrigin(() => {});
    await using at = await scene(origin, { access: "deny" });
    const got = await callHttp2(at.session, CALL, message("question"));
    expect(got).toMatchObject({ status: 200, body: "", trailers: {}, code: 0 });
    expect(got.headers).toMatchObject({
      "content-type": "application/grpc",
      "grpc-status": "7",
      "outrider-error": "DENIED",
    });
    expect(got.headers["grpc-message"]).toMatch(
      /^outrider: admit: The policy does not allow this destination\. \[DENIED \S+\]$/,
    );
    expect(origin.sessions).toEqual([]);
  });

  test.each(["application/grpc+proto", "application/grpc;x=y"])("is so for %s too", async (type) => {
    await using origin = await grpcOrigin(() => {});
    await using at = await scene(origin, { access: "deny" });
    expect((await callHttp2(at.session, { ...CALL, "content-type": type }, "")).headers["grpc-status"]).toBe(
      "7",
    );
  });

  test("says DEADLINE_EXCEEDED when grpc-timeout has passed", async () => {
    await using origin = await grpcOrigin(() => {});
    await using at = await scene(origin);
    const got = await callHttp2(at.session, { ...CALL, "grpc-timeout": "300m" }, message("question"));
    expect(got.headers).toMatchObject({ "grpc-status": "4", "outrider-error": "DEADLINE_EXCEEDED" });
  });

  test("says UNAVAILABLE when there is no origin", async () => {
    await using at = await scene({ port: 1 });
    const got = await callHttp2(at.session, CALL, message("question"));
    expect(got.headers).toMatchObject({ "grpc-status": "14", "outrider-error": "CONNECT_FAILED" });
  });

  test("does not touch what an origin of HTTP/1.1 answers", async () => {
    await using origin = await scriptedOrigin([answer("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy")]);
    await using at = await scene(origin, { http_version: "http1" });
    const got = await callHttp2(at.session, CALL, message("question"));
    expect(got).toMatchObject({ status: 503, body: "busy" });
    expect(got.headers["grpc-status"]).toBeUndefined();
  });
});
