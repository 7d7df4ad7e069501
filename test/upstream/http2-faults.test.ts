/** What becomes of calls when an HTTP/2 upstream refuses, goes away, dies, or breaks the protocol; by a peer that speaks single frames. */
import { describe, expect, test } from "vitest";
import { Body } from "../../src/body.ts";
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
import { attemptOf, errorOf, pushedBody, Sending } from "./sending.ts";

const REFUSED_STREAM = 7;
const CANCEL = 8;
const ENHANCE_YOUR_CALM = 11;
const SETTINGS_MAX_CONCURRENT_STREAMS = 3;
const ACK = 1;
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

describe("fault 27: a stream that the upstream has not looked at", () => {
  test("is sent again on a new connection after REFUSED_STREAM, whatever its method", async () => {
    const refusing: FrameScript = async (peer) => {
      await peer.settings();
      await peer.rst(await peer.request(), REFUSED_STREAM);
    };
    await using origin = await frameOrigin([refusing, serving]);
    using sending = new Sending({ port: origin.port });
    const request = sending.request({ method: "POST", body: Body.of("once"), hasLength: true });
    expect(await sending.send(request)).toMatchObject({ status: 200, body: "connection 2" });
    expect(attemptOf(request)).toMatchObject({ replayed: true, error: null, status: 200 });
  });

  test("is sent again after a GOAWAY with a lower last stream, while an older stream finishes on the old connection", async () => {
    const leaving: FrameScript = async (peer) => {
      await peer.settings();
      const first = await peer.request();
      await peer.request();
      await peer.goaway(first);
      await peer.answer(first, "still here");
    };
    await using origin = await frameOrigin([leaving, serving]);
    using sending = new Sending({ port: origin.port });
    const [older, newer] = [sending.request(), sending.request({ method: "POST" })];
    const answers = await Promise.all([sending.send(older), sending.send(newer)]);
    expect(answers.map(({ body }) => body)).toEqual(["still here", "connection 2"]);
    expect([attemptOf(older).replayed, attemptOf(newer).replayed]).toEqual([false, true]);
  });

  test("is sent again after a GOAWAY that carries an error and destroys the connection", async () => {
    const angry: FrameScript = async (peer) => {
      await peer.settings();
      await peer.request();
      await peer.goaway(0, ENHANCE_YOUR_CALM);
    };
    await using origin = await frameOrigin([angry, serving]);
    using sending = new Sending({ port: origin.port });
    expect(await sending.send(sending.request({ method: "POST" }))).toMatchObject({ body: "connection 2" });
  });

  test("is sent again once, not for ever", async () => {
    const refusing: FrameScript = async (peer) => {
      await peer.settings();
      for (;;) await peer.rst(await peer.request(), REFUSED_STREAM);
    };
    await using origin = await frameOrigin([refusing]);
    using sending = new Sending({ port: origin.port });
    const error = await errorOf(sending.send());
    expect(error).toMatchObject({ code: "STREAM_REFUSED", reached: "unsent" });
    expect(origin.connections).toHaveLength(2);
  });

  test("is an error that any method may be sent again after, when its body streams and is gone", async () => {
    const refusing: FrameScript = async (peer) => {
      await peer.settings();
      await peer.rst(await peer.request(), REFUSED_STREAM);
    };
    await using origin = await frameOrigin([refusing]);
    using sending = new Sending({ port: origin.port });
    const { body, cancelled } = pushedBody();
    const error = await errorOf(sending.send(sending.request({ method: "POST", body })));
    expect(error).toMatchObject({ code: "STREAM_REFUSED", reached: "unsent" });
    expect(cancelled()).toBe(error);
    expect(origin.connections).toHaveLength(1);
  });
});

describe("fault 27: a stream that the upstream may have acted on", () => {
  test.each([
    ["CANCEL", CANCEL],
    ["NO_ERROR before the head", 0],
    ["INTERNAL_ERROR", 2],
  ])("fails as sent after RST_STREAM with %s, and the connection lives on", async (_, code) => {
    const resetting: FrameScript = async (peer) => {
      await peer.settings();
      await peer.rst(await peer.request(), code);
      await answerAll(peer);
    };
    await using origin = await frameOrigin([resetting]);
    using sending = new Sending({ port: origin.port });
    expect(await errorOf(sending.send())).toMatchObject({ code: "UPSTREAM_RESET", reached: "sent" });
    expect(await sending.send()).toMatchObject({ body: "connection 1" });
  });

  test("fails as sent when the connection breaks on its first call", async () => {
    const breaking: FrameScript = async (peer) => {
      await peer.settings();
      await peer.request();
      peer.peer.reset();
    };
    await using origin = await frameOrigin([breaking]);
    using sending = new Sending({ port: origin.port });
    expect(await errorOf(sending.send())).toMatchObject({ code: "UPSTREAM_RESET", reached: "sent" });
    expect(origin.connections).toHaveLength(1);
  });

  test("is sent once more on a new connection when one from before broke and that can do no harm", async () => {
    const once: FrameScript = async (peer) => {
      await peer.settings();
      await peer.answer(await peer.request(), "first");
      await peer.request();
      peer.peer.reset();
    };
    await using origin = await frameOrigin([once, serving]);
    using sending = new Sending({ port: origin.port });
    await sending.send();
    const request = sending.request();
    expect(await sending.send(request)).toMatchObject({ body: "connection 2" });
    expect(attemptOf(request)).toMatchObject({ reused: true, replayed: true });
  });

  test("is not sent once more when that could do harm", async () => {
    const once: FrameScript = async (peer) => {
      await peer.settings();
      await peer.answer(await peer.request(), "first");
      await peer.request();
      peer.peer.reset();
    };
    await using origin = await frameOrigin([once, serving]);
    using sending = new Sending({ port: origin.port });
    await sending.send();
    const posted = sending.send(sending.request({ method: "POST", body: Body.of("x") }));
    expect(await errorOf(posted)).toMatchObject({ code: "UPSTREAM_RESET", reached: "sent" });
    expect(origin.connections).toHaveLength(1);
  });
});

describe("fault 27: a connection that has died unnoticed", () => {
  test("is asked with a PING after 10 s of silence, and ends without an answer: its calls fail, the next gets a new one", async () => {
    const clock = new VirtualClock();
    const mute: FrameScript = (peer) => peer.settings();
    await using origin = await frameOrigin([mute, serving]);
    using sending = new Sending({ port: origin.port, clock });
    const sent = errorOf(sending.send());
    await eventually("the request", () => origin.connections[0]?.has(FRAME.headers, 1) ?? false);
    const { value, elapsedMs } = await passUntil(clock, sent);
    expect(value).toMatchObject({ code: "UPSTREAM_RESET", reached: "sent" });
    expect(value.message).toContain("PING");
    expect(elapsedMs).toBeGreaterThanOrEqual(15_000);
    expect(elapsedMs).toBeLessThan(60_000);
    expect(origin.connections[0]!.has(FRAME.ping, 0)).toBe(true);
    expect(await sending.send()).toMatchObject({ body: "connection 2" });
  });

  test("is kept when the PING is answered", async () => {
    const clock = new VirtualClock();
    let answer: () => void = () => {};
    const slow: FrameScript = async (peer) => {
      await peer.settings();
      const stream = await peer.request();
      answer = () => void peer.answer(stream, "late");
      for (;;) {
        const { payload, flags } = await peer.next(FRAME.ping);
        if (flags === 0) await peer.send(FRAME.ping, ACK, 0, payload);
      }
    };
    await using origin = await frameOrigin([slow]);
    using sending = new Sending({ port: origin.port, clock });
    const sent = sending.send();
    await eventually("the request", () => origin.connections[0]?.has(FRAME.headers, 1) ?? false);
    const pinged = eventually("two PINGs", () => {
      const pings = origin.connections[0]!.frames.filter(({ type }) => type === FRAME.ping);
      return pings.length >= 2;
    });
    await passUntil(clock, pinged);
    answer();
    expect(await sent).toMatchObject({ body: "late" });
  });

  test("is asked at once when the sandbox thaws; idle ones are closed unused", async () => {
    const clock = new VirtualClock();
    const half: FrameScript = async (peer) => {
      await peer.settings();
      await peer.request();
    };
    await using origin = await frameOrigin([half]);
    await using other = await frameOrigin([serving]);
    using sending = new Sending({ port: origin.port, clock });
    await sending.send(sending.request({ port: other.port }));
    const sent = errorOf(sending.send());
    await eventually("the request", () => origin.connections[0]?.has(FRAME.headers, 1) ?? false);
    sending.upstream.thawed(4000);
    await eventually("the PING", () => origin.connections[0]!.has(FRAME.ping, 0));
    await other.connections[0]!.peer.gone();
    expect(sending.upstream.stats().open).toBe(1);
    expect((await passUntil(clock, sent)).value.message).toContain("PING");
  });
});

describe("a response that broke off is never a clean end (S8)", () => {
  const half = (end: (peer: FramePeer, stream: number) => Promise<void> | void): FrameScript => {
    return async (peer) => {
      await peer.settings();
      const stream = await peer.request();
      await peer.headers(stream, [":status", "200"]);
      await peer.data(stream, "half");
      await end(peer, stream);
    };
  };

  test.each<[string, FrameScript]>([
    ["RST_STREAM with NO_ERROR", half((peer, stream) => peer.rst(stream, 0))],
    ["RST_STREAM with CANCEL", half((peer, stream) => peer.rst(stream, CANCEL))],
    ["RST_STREAM with REFUSED_STREAM", half((peer, stream) => peer.rst(stream, REFUSED_STREAM))],
    ["a GOAWAY with an error", half((peer) => peer.goaway(0, 2))],
    ["the end of the connection", half(({ peer }) => peer.halfClose())],
    ["a reset of the connection", half(({ peer }) => peer.reset())],
    ["bytes that are no frame", half((peer) => peer.send(FRAME.data, 0, 0, Buffer.from("x")))],
  ])("after %s", async (_, script) => {
    await using origin = await frameOrigin([script]);
    using sending = new Sending({ port: origin.port });
    const request = sending.request();
    const { body, broke } = await sending.send(request);
    expect(broke).toMatchObject({ code: "UPSTREAM_ABORTED" });
    expect("half".startsWith(body)).toBe(true);
    expect(attemptOf(request).error).toBe(broke);
  });

  test.each<[string, string, string]>([
    ["shorter", "5", "half"],
    ["longer", "3", "half"],
  ])("when DATA is %s than content-length (S6)", async (_, stated, text) => {
    const lying: FrameScript = async (peer) => {
      await peer.settings();
      await peer.answer(await peer.request(), text, ["content-length", stated]);
    };
    await using origin = await frameOrigin([lying]);
    using sending = new Sending({ port: origin.port });
    const sent = await sending.send().catch((error: EgressError) => ({ broke: error }));
    expect(sent.broke).toBeInstanceOf(EgressError);
  });

  test("a whole answer followed by RST_STREAM with NO_ERROR is whole, and the rest of the request is not wanted", async () => {
    const early: FrameScript = async (peer) => {
      await peer.settings();
      const stream = await peer.request();
      await peer.answer(stream, "enough");
      await peer.rst(stream, 0);
    };
    await using origin = await frameOrigin([early]);
    using sending = new Sending({ port: origin.port });
    const { body, cancelled } = pushedBody();
    const answer = await sending.send(sending.request({ method: "POST", body }));
    expect(answer).toMatchObject({ body: "enough", broke: null });
    expect(cancelled()).toMatchObject({ code: "UPSTREAM_ABORTED" });
  });
});

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
