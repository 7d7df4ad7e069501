/** Upstreams that break HTTP/2's rules or flood, and what a stream costs its connection; by a peer that speaks single frames. */
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { EgressError } from "../../src/errors.ts";
import { eventually, passUntil } from "../kit/eventually.ts";
import {
  FRAME,
  type FramePeer,
  type FrameScript,
  frame,
  frameOrigin,
  headerBlock,
} from "../kit/http2-origin.ts";
import { ok, scriptedOrigin } from "../kit/origin.ts";
import { errorOf, Sending } from "./sending.ts";

const CANCEL = 8;
const SETTINGS_MAX_CONCURRENT_STREAMS = 3;
const END_STREAM = 1;
const END_HEADERS = 4;

/** SETTINGS, then an answer for each request. */
const serving: FrameScript = async (peer) => {
  await peer.settings();
  await answerAll(peer);
};

async function answerAll(peer: FramePeer): Promise<void> {
  for (;;) await peer.answer(await peer.request(), `connection ${peer.connection}`);
}

describe("an answer that is no valid HTTP/2 is refused", () => {
  const answering = (...list: string[]): FrameScript => {
    return async (peer) => {
      await peer.settings();
      for (;;) await peer.headers(await peer.request(), list, true);
    };
  };

  test.each<[string, FrameScript]>([
    ["no status", answering("x", "y")],
    ["a status of two digits", answering(":status", "20")],
    ["two statuses", answering(":status", "200", ":status", "200")],
    ["a pseudo-header of requests", answering(":status", "200", ":path", "/")],
    ["a pseudo-header behind a field", answering("x", "y", ":status", "200")],
    ["an unknown pseudo-header", answering(":status", "200", ":reason", "fine")],
    ["101", answering(":status", "101")],
    ["transfer-encoding", answering(":status", "200", "transfer-encoding", "chunked")],
    ["connection", answering(":status", "200", "connection", "close")],
    ["two lengths", answering(":status", "200", "content-length", "0", "content-length", "0")],
    ["a stated length without a body", answering(":status", "200", "content-length", "3")],
    ["more fields than limits.header_count", answering(":status", "200", ...Array(258).fill("x"))],
    [
      "more bytes than limits.head_bytes",
      answering(":status", "200", "x", "y".repeat(8192), "x", "y".repeat(8192)),
    ],
  ])("%s", async (_, script) => {
    await using origin = await frameOrigin([script]);
    using sending = new Sending({ port: origin.port });
    expect(await errorOf(sending.send())).toMatchObject({ code: "UPSTREAM_INVALID", reached: "final" });
  });

  test("17 interim responses", async () => {
    const chatty: FrameScript = async (peer) => {
      await peer.settings();
      const stream = await peer.request();
      for (let sent = 0; sent < 17; sent++) await peer.headers(stream, [":status", "103"]);
    };
    await using origin = await frameOrigin([chatty]);
    using sending = new Sending({ port: origin.port });
    expect(await errorOf(sending.send())).toMatchObject({ code: "UPSTREAM_INVALID" });
    await eventually("RST_STREAM", () => origin.connections[0]!.has(FRAME.rst, 1));
  });

  test.each<[string, readonly string[]]>([
    ["a name with CR LF", ["x\r\ny", "z"]],
    ["a name with a blank", ["x y", "z"]],
    ["a name with a colon", ["x:y", "z"]],
    ["a name with capitals", ["X", "z"]],
    ["a value with CR LF", ["x", "y\r\nContent-Length: 0"]],
    ["a value with NUL", ["x", "y\0z"]],
  ])("nothing of %s gets through (S6)", async (_, fields) => {
    await using origin = await frameOrigin([answering(":status", "200", ...fields)]);
    using sending = new Sending({ port: origin.port });
    const answer = await sending.send().catch((error: EgressError) => ({ fields: "", error }));
    // nghttp2 refuses some and drops others; either way the field is not there.
    expect(answer.fields).toBe("");
  });

  test("a peer that speaks HTTP/1.1 where HTTP/2 is demanded", async () => {
    await using origin = await scriptedOrigin([
      {
        when: "connect",
        play: async ({ peer }) => {
          await peer.write("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
          return false;
        },
      },
      ok(),
    ]);
    using sending = new Sending({ port: origin.port });
    expect(await errorOf(sending.send())).toMatchObject({ code: "VERSION_REFUSED", reached: "final" });
  });
});

describe("fault 28: floods of an upstream end its connection, and other upstreams are served", () => {
  const flood = (bytes: (stream: number) => Buffer[]): FrameScript => {
    return async (peer) => {
      await peer.settings();
      const stream = await peer.request();
      const pieces = bytes(stream);
      for (let round = 0; round < 20_000 && peer.peer.parting === null; round++) {
        for (const piece of pieces) await peer.peer.write(piece);
      }
    };
  };
  const many = (piece: Buffer): Buffer => Buffer.concat(Array(200).fill(piece));
  const field = headerBlock(["x", "y".repeat(4000)]);

  test.each<[string, FrameScript]>([
    [
      "CONTINUATION frames without an end",
      async (peer) => {
        await peer.settings();
        const stream = await peer.request();
        await peer.send(FRAME.headers, 0, stream, headerBlock([":status", "200"]));
        while (peer.peer.parting === null) await peer.send(FRAME.continuation, 0, stream, field);
      },
    ],
    ["SETTINGS", flood(() => [many(frame(FRAME.settings, 0, 0, Buffer.alloc(6)))])],
    ["PUSH_PROMISE", flood((stream) => [frame(FRAME.push, END_HEADERS, stream, Buffer.from([0, 0, 0, 2]))])],
    ["frames of streams that never were", flood(() => [many(frame(FRAME.data, 0, 77, Buffer.alloc(1)))])],
    [
      "WINDOW_UPDATE beyond the largest window",
      flood(() => [frame(FRAME.window, 0, 0, Buffer.from([127, 255, 255, 255]))]),
    ],
  ])("%s", async (_, script) => {
    await using origin = await frameOrigin([script]);
    await using other = await frameOrigin([serving]);
    using sending = new Sending({ port: origin.port });
    const flooded = errorOf(sending.send());
    expect(await sending.send(sending.request({ port: other.port }))).toMatchObject({ status: 200 });
    expect((await flooded).code).toMatch(/^UPSTREAM_(?:INVALID|RESET)$/);
    await origin.connections[0]!.peer.gone();
    expect(sending.upstream.stats().open).toBe(1);
    expect(await sending.send(sending.request({ port: other.port }))).toMatchObject({ status: 200 });
  });

  test("a header list of a hundred times what is taken ends its stream", async () => {
    // One entry of the dynamic table (RFC 7541 §6.2.1), then references to it: one byte each stands for 4 KiB (HPACK bomb).
    const entry = Buffer.concat([Buffer.from([0x40]), headerBlock(["x", "y".repeat(4000)]).subarray(1)]);
    const bomb: FrameScript = async (peer) => {
      await peer.settings();
      const stream = await peer.request();
      const block = Buffer.concat([headerBlock([":status", "200"]), entry, Buffer.alloc(8000, 0x80 | 62)]);
      await peer.send(FRAME.headers, END_HEADERS | END_STREAM, stream, block);
      await answerAll(peer);
    };
    await using origin = await frameOrigin([bomb]);
    await using other = await frameOrigin([serving]);
    using sending = new Sending({ port: origin.port });
    const error = await errorOf(sending.send());
    expect(error.reached).toBe("final");
    expect(error.code).toMatch(/^UPSTREAM_(?:INVALID|RESET)$/);
    expect(await sending.send(sending.request({ port: other.port }))).toMatchObject({ status: 200 });
  });

  test("PING: answered within bounds, and the calls of others are served", async () => {
    let flooding = true;
    const pinging: FrameScript = async (peer) => {
      await peer.settings();
      const stream = await peer.request();
      const pings = many(frame(FRAME.ping, 0, 0, Buffer.alloc(8)));
      while (flooding && peer.peer.parting === null) await peer.peer.write(pings);
      if (peer.peer.parting === null) await peer.answer(stream);
    };
    await using origin = await frameOrigin([pinging]);
    await using other = await frameOrigin([serving]);
    using sending = new Sending({ port: origin.port });
    const sent = sending.send().catch((error: EgressError) => error);
    for (let call = 0; call < 10; call++) {
      expect(await sending.send(sending.request({ port: other.port }))).toMatchObject({ status: 200 });
    }
    flooding = false;
    const answer = await sent;
    if (answer instanceof EgressError) expect(answer.code).toMatch(/^UPSTREAM_(?:INVALID|RESET)$/);
    else expect(answer.status).toBe(200);
  });
});

describe("streams", () => {
  test("beyond the peer's SETTINGS_MAX_CONCURRENT_STREAMS go on another connection", async () => {
    const one: FrameScript = async (peer) => {
      await peer.settings([SETTINGS_MAX_CONCURRENT_STREAMS, 1]);
      await peer.answer(await peer.request(), "hello");
      await peer.request();
    };
    await using origin = await frameOrigin([one, serving]);
    using sending = new Sending({ port: origin.port });
    await sending.send();
    const held = sending.send();
    await eventually("the second request", () => origin.connections[0]!.has(FRAME.headers, 3));
    expect(await sending.send()).toMatchObject({ body: "connection 2" });
    sending.upstream.destroy();
    await errorOf(held);
  });

  test("that are cancelled are reset with CANCEL, and their connection lives on", async () => {
    await using origin = await frameOrigin([
      async (peer) => {
        await peer.settings();
        await peer.request();
        await answerAll(peer);
      },
    ]);
    using sending = new Sending({ port: origin.port });
    const request = sending.request();
    const sent = errorOf(sending.send(request));
    await eventually("the request", () => origin.connections[0]?.has(FRAME.headers, 1) ?? false);
    const reason = new EgressError("CLIENT_GONE", "test");
    request.cancelled.fire(reason);
    expect(await sent).toBe(reason);
    const [reset] = [await origin.connections[0]!.next(FRAME.rst)];
    expect([reset.stream, reset.payload.readUInt32BE(0)]).toEqual([1, CANCEL]);
    expect(await sending.send()).toMatchObject({ body: "connection 1" });
  });

  test("that are silent for idle_timeout fail, and their connection lives on", async () => {
    const clock = new VirtualClock();
    await using origin = await frameOrigin([
      async (peer) => {
        await peer.settings();
        await peer.request();
        await answerAll(peer);
      },
    ]);
    const policy = { dnsTimeoutMs: 1, connectTimeoutMs: 20_000, tlsTimeoutMs: 1, idleTimeoutMs: 5000 };
    using sending = new Sending({ port: origin.port, clock, reach: { policy } });
    const { value } = await passUntil(clock, errorOf(sending.send()));
    expect(value.code).toBe("UPSTREAM_TIMEOUT");
    expect(await sending.send()).toMatchObject({ body: "connection 1" });
  });
});
