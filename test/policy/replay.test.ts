import { describe, expect, test } from "vitest";
import type { Body } from "../../src/body.ts";
import { ReplayBody } from "../../src/policy/replay.ts";
import { Sink, Source } from "./bodies.ts";
import { failure } from "./calls.ts";

const reset = failure("UPSTREAM_RESET");

function piped(body: Body, sink = new Sink()): Sink {
  body.pipe(sink);
  return sink;
}

describe("the first attempt has the body as if nothing stood between", () => {
  test("pieces, backpressure, end and trailers pass", () => {
    const source = new Source();
    const replay = new ReplayBody(source.body, 100);
    source.push("before a sink is there, ");
    expect(source.paused).toBe(true);
    const sink = piped(replay.attempt());
    expect(source.paused).toBe(false);
    sink.full = true;
    source.push("then ");
    expect(source.paused).toBe(true);
    sink.full = false;
    source.body.resume();
    source.push("more");
    expect(source.paused).toBe(false);
    source.body.end("X-Sum: 1\r\n");
    expect(sink).toMatchObject({ text: "before a sink is there, then more", trailers: "X-Sum: 1\r\n" });
  });

  test("the sink's own body resumes the source", () => {
    const source = new Source();
    const body = new ReplayBody(source.body, 100).attempt();
    const sink = piped(body);
    sink.full = true;
    source.push("a");
    expect(source.paused).toBe(true);
    sink.full = false;
    body.resume();
    expect(source.paused).toBe(false);
  });

  test("nothing is asked of the source before a sink is attached, so that a body behind 100-continue can wait", () => {
    const source = new Source();
    source.paused = true;
    new ReplayBody(source.body, 100).attempt();
    expect(source.paused).toBe(true);
  });

  test("the stated length goes on", () => {
    expect(new ReplayBody(new Source(7).body, 100).attempt().length).toBe(7);
    expect(new ReplayBody(new Source(null).body, 100).attempt().length).toBeNull();
  });

  test("a body that breaks off breaks off", () => {
    const source = new Source();
    const replay = new ReplayBody(source.body, 100);
    const sink = piped(replay.attempt());
    const gone = failure("CLIENT_GONE");
    source.push("half");
    source.body.fail(gone);
    expect(sink).toMatchObject({ text: "half", abortedFor: gone });
    expect(replay).toMatchObject({ replayable: false, failure: gone });
  });

  test("an empty body ends", () => {
    const source = new Source();
    const replay = new ReplayBody(source.body, 100);
    const first = piped(replay.attempt());
    source.body.end();
    replay.abandon(reset);
    expect([first.trailers, piped(replay.attempt()).trailers]).toEqual(["", ""]);
  });
});

describe("a further attempt", () => {
  test("has all of a body that was over, with its trailers", () => {
    const source = new Source();
    const replay = new ReplayBody(source.body, 100);
    const first = piped(replay.attempt());
    source.push("one ");
    source.push("two");
    source.body.end("X-Sum: 1\r\n");
    replay.abandon(reset);
    const second = piped(replay.attempt());
    for (const sink of [first, second])
      expect(sink).toMatchObject({ text: "one two", trailers: "X-Sum: 1\r\n" });
  });

  test("starts from the first byte and goes on with the live body", () => {
    const source = new Source();
    const replay = new ReplayBody(source.body, 100);
    const first = piped(replay.attempt());
    source.push("one ");
    replay.abandon(reset);
    const second = piped(replay.attempt());
    expect(second.text).toBe("one ");
    source.push("two");
    source.body.end();
    expect(second).toMatchObject({ text: "one two", trailers: "" });
    expect(first.text).toBe("one ");
  });

  test("has what came while there was none, and the source was told to wait meanwhile", () => {
    const source = new Source();
    const replay = new ReplayBody(source.body, 100);
    piped(replay.attempt());
    source.push("one ");
    replay.abandon(reset);
    source.push("two ");
    expect(source.paused).toBe(true);
    source.push("three");
    const second = piped(replay.attempt());
    expect(second.text).toBe("one two three");
    expect(source.paused).toBe(false);
  });

  test("is not there when the body outgrew the bound while there was none: no byte more is kept", () => {
    const source = new Source();
    const replay = new ReplayBody(source.body, 4);
    piped(replay.attempt());
    source.push("one ");
    replay.abandon(reset);
    expect(replay.replayable).toBe(true);
    source.push("two");
    expect(replay).toMatchObject({ replayable: false, outgrown: true, keptBytes: 0 });
    expect(replay.failure).toMatchObject({
      code: "OVERLOADED",
      message: "the request's body outgrew replay_buffer (4 bytes) between two attempts",
    });
    expect(source.cancelledFor).toBe(replay.failure);
    // What still comes is read and dropped, so that the connection behind it is not blocked.
    expect(source.paused).toBe(false);
  });

  test("goes on unkept when the body outgrows the bound while the kept pieces are taken, in order", () => {
    const source = new Source();
    const replay = new ReplayBody(source.body, 4);
    piped(replay.attempt());
    for (const text of ["1", "2", "3"]) source.push(text);
    replay.abandon(reset);
    const second = new Sink();
    second.full = true;
    replay.attempt().pipe(second);
    expect(second.text).toBe("1");
    source.push("45");
    expect(second.text).toBe("12345");
    expect(source.paused).toBe(true);
    expect(replay).toMatchObject({ replayable: false, outgrown: false, keptBytes: 0 });
    source.body.end();
    expect(second.trailers).toBe("");
  });

  test("has what the end of the body was, when it ended while there was none", () => {
    const source = new Source();
    const replay = new ReplayBody(source.body, 100);
    piped(replay.attempt());
    source.push("all");
    replay.abandon(reset);
    source.body.end();
    expect(piped(replay.attempt())).toMatchObject({ text: "all", trailers: "" });
  });

  test("takes the kept pieces at its own pace, and the source waits until it is through", () => {
    const source = new Source();
    const replay = new ReplayBody(source.body, 100);
    const first = piped(replay.attempt());
    for (const text of ["1", "2", "3"]) source.push(text);
    first.full = true;
    source.push("4");
    expect(source.paused).toBe(true);
    replay.abandon(reset);
    const second = new Sink();
    second.full = true;
    const body = replay.attempt();
    body.pipe(second);
    for (const text of ["1", "12", "123"]) {
      expect(second.text).toBe(text);
      expect(source.paused).toBe(true);
      body.resume();
    }
    expect(second.text).toBe("1234");
    expect(source.paused).toBe(true);
    body.resume();
    expect(source.paused).toBe(false);
  });

  test("a piece that comes in spite of the pause waits behind the kept ones", () => {
    const source = new Source();
    const replay = new ReplayBody(source.body, 100);
    piped(replay.attempt());
    source.push("1");
    source.push("2");
    replay.abandon(reset);
    const second = new Sink();
    second.full = true;
    const body = replay.attempt();
    body.pipe(second);
    source.push("3");
    source.body.end();
    expect(second).toMatchObject({ text: "1", trailers: null });
    second.full = false;
    body.resume();
    expect(second).toMatchObject({ text: "123", trailers: "" });
  });

  test("a sink that asks for more while it is being given something gets it in order", () => {
    const source = new Source();
    const replay = new ReplayBody(source.body, 100);
    piped(replay.attempt());
    for (const text of ["1", "2", "3"]) source.push(text);
    replay.abandon(reset);
    const second = new Sink();
    const body = replay.attempt();
    second.full = true;
    second.onWrite = () => body.resume();
    body.pipe(second);
    expect(second.text).toBe("123");
  });

  test("a sink that asks for more while the first pieces reach it does not get later ones before them", () => {
    const source = new Source();
    const later = ["3", "4"];
    source.resume = () => later.length > 0 && source.push(later.shift()!);
    const body = new ReplayBody(source.body, 100).attempt();
    source.push("1");
    source.push("2");
    const sink = new Sink();
    sink.onWrite = () => body.resume();
    body.pipe(sink);
    expect(sink.text).toBe("1234");
  });

  test("breaks off when the live body broke off between", () => {
    const source = new Source();
    const replay = new ReplayBody(source.body, 100);
    piped(replay.attempt());
    source.push("half");
    replay.abandon(reset);
    const gone = failure("CLIENT_GONE");
    source.body.fail(gone);
    expect(replay).toMatchObject({ replayable: false, failure: gone });
  });
});
