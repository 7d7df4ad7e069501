/** What becomes of calls when an HTTP/2 upstream refuses, goes away, dies, or breaks the protocol; by a peer that speaks single frames. */
import { describe, expect, test } from "vitest";
import { Body } from "../../src/body.ts";
import { VirtualClock } from "../../src/clock.ts";
import { EgressError } from "../../src/errors.ts";
import { eventually, passUntil } from "../kit/eventually.ts";
import { FRAME, type FramePeer, type FrameScript, frameOrigin } from "../kit/http2-origin.ts";
import { attemptOf, errorOf, pushedBody, Sending } from "./sending.ts";

const REFUSED_STREAM = 7;
const CANCEL = 8;
const ENHANCE_YOUR_CALM = 11;
const ACK = 1;

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

  test("is not taken for dead because it goes away: what is under way on it may stay silent", async () => {
    const clock = new VirtualClock();
    let answer: () => void = () => {};
    const leaving: FrameScript = async (peer) => {
      await peer.settings();
      const stream = await peer.request();
      await peer.goaway(stream);
      answer = () => void peer.answer(stream, "late");
    };
    await using origin = await frameOrigin([leaving, serving]);
    using sending = new Sending({ port: origin.port, clock });
    const sent = sending.send();
    await eventually(
      "the other's GOAWAY to be answered",
      () => origin.connections[0]?.has(FRAME.goaway, 0) ?? false,
    );
    await clock.advance(40_000);
    expect(await sending.send()).toMatchObject({ body: "connection 2" });
    answer();
    expect(await sent).toMatchObject({ body: "late" });
  });

  test("is not asked so often that a gRPC server would end it: three times, then every five minutes", async () => {
    const clock = new VirtualClock();
    const answering: FrameScript = async (peer) => {
      await peer.settings();
      for (;;) {
        const { payload, flags } = await peer.next(FRAME.ping);
        if (flags === 0) await peer.send(FRAME.ping, ACK, 0, payload);
      }
    };
    await using origin = await frameOrigin([answering]);
    const policy = { dnsTimeoutMs: 1, connectTimeoutMs: 20_000, tlsTimeoutMs: 1, idleTimeoutMs: 0 };
    using sending = new Sending({ port: origin.port, clock, reach: { policy } });
    const sent = errorOf(sending.send());
    await eventually("the request", () => origin.connections[0]?.has(FRAME.headers, 1) ?? false);
    const pings = () => origin.connections[0]!.frames.filter(({ type }) => type === FRAME.ping).length;
    const { elapsedMs } = await passUntil(
      clock,
      eventually("the fourth PING", () => pings() === 4),
    );
    expect(elapsedMs).toBeGreaterThan(310_000);
    sending.upstream.destroy();
    await sent;
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
