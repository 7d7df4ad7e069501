import { describe, expect, test } from "vitest";
import type { Body } from "../../src/body.ts";
import { ReplayBody } from "../../src/policy/replay.ts";
import { Sink, Source } from "./bodies.ts";
import { failure, seeded } from "./calls.ts";

const reset = failure("UPSTREAM_RESET");

function piped(body: Body, sink = new Sink()): Sink {
  body.pipe(sink);
  return sink;
}

describe("an attempt that is given up", () => {
  test("is told so when it is in the middle of the body, and hears nothing more", () => {
    const source = new Source();
    const replay = new ReplayBody(source.body, 100);
    const first = piped(replay.attempt());
    source.push("one ");
    replay.abandon(reset);
    expect(first.abortedFor).toBe(reset);
    piped(replay.attempt());
    source.push("two");
    expect(first.text).toBe("one ");
  });

  test("is left in peace when it has had all of the body: its connection can be used again", () => {
    const source = new Source();
    const replay = new ReplayBody(source.body, 100);
    const first = piped(replay.attempt());
    source.push("all");
    source.body.end();
    replay.abandon(reset);
    expect(first).toMatchObject({ trailers: "", abortedFor: null });
  });

  test("may have given the body up itself: the live body waits for the next one", () => {
    const source = new Source();
    const replay = new ReplayBody(source.body, 100);
    const body = replay.attempt();
    const first = piped(body);
    source.push("one ");
    body.cancel(reset);
    expect([source.cancelledFor, first.abortedFor]).toEqual([null, null]);
    source.push("two");
    expect(source.paused).toBe(true);
    expect(piped(replay.attempt()).text).toBe("one two");
  });

  test("may give the body up in the middle of being given it", () => {
    const source = new Source();
    const replay = new ReplayBody(source.body, 100);
    piped(replay.attempt());
    for (const text of ["1", "2", "3"]) source.push(text);
    replay.abandon(reset);
    const body = replay.attempt();
    const second = new Sink();
    second.onWrite = () => second.text === "12" && body.cancel(reset);
    body.pipe(second);
    expect(second.text).toBe("12");
    expect(piped(replay.attempt()).text).toBe("123");
  });

  test("controls nothing any more: a late resume or cancel of its body is nobody's", () => {
    const source = new Source();
    const replay = new ReplayBody(source.body, 100);
    const old = replay.attempt();
    piped(old);
    source.push("one ");
    replay.abandon(reset);
    const second = new Sink();
    second.full = true;
    replay.attempt().pipe(second);
    source.paused = true;
    old.resume();
    old.cancel(reset);
    expect([source.paused, source.cancelledFor]).toEqual([true, null]);
  });
});

describe("a body longer than the bound", () => {
  test("streams on, and there is no second attempt", () => {
    const source = new Source();
    const replay = new ReplayBody(source.body, 4);
    const sink = piped(replay.attempt());
    source.push("1234");
    expect(replay.replayable).toBe(true);
    source.push("5");
    expect(replay.replayable).toBe(false);
    source.push("6");
    source.body.end();
    expect(sink).toMatchObject({ text: "123456", trailers: "" });
  });

  test("does not begin to keep again what comes after", () => {
    const source = new Source();
    const replay = new ReplayBody(source.body, 4);
    piped(replay.attempt());
    source.push("12345");
    source.push("6");
    expect(replay.replayable).toBe(false);
  });

  test("that says so is not kept at all, but can be sent again while none of it has passed", () => {
    const source = new Source(5);
    const replay = new ReplayBody(source.body, 4);
    replay.attempt();
    replay.abandon(failure("CONNECT_FAILED"));
    expect(replay.replayable).toBe(true);
    const sink = piped(replay.attempt());
    source.push("1");
    expect(replay.replayable).toBe(false);
    source.push("2345");
    source.body.end();
    expect(sink).toMatchObject({ text: "12345", trailers: "" });
  });
});

describe("when there will be no further attempt", () => {
  test("nothing more is kept", () => {
    const source = new Source();
    const replay = new ReplayBody(source.body, 100);
    const sink = piped(replay.attempt());
    source.push("one ");
    replay.release();
    expect(replay.replayable).toBe(false);
    source.push("two");
    source.body.end();
    expect(sink).toMatchObject({ text: "one two", trailers: "" });
  });

  test("an attempt in the middle of the kept pieces still gets them all", () => {
    const source = new Source();
    const replay = new ReplayBody(source.body, 100);
    piped(replay.attempt());
    for (const text of ["1", "2", "3"]) source.push(text);
    replay.abandon(reset);
    const second = new Sink();
    second.full = true;
    const body = replay.attempt();
    body.pipe(second);
    replay.release();
    second.full = false;
    body.resume();
    source.push("4");
    source.body.end();
    expect(second).toMatchObject({ text: "1234", trailers: "" });
  });

  test("a body that the last attempt gave up is cancelled at its source", () => {
    const source = new Source();
    const replay = new ReplayBody(source.body, 100);
    const body = replay.attempt();
    piped(body);
    body.cancel(reset);
    expect(source.cancelledFor).toBeNull();
    replay.release();
    expect(source.cancelledFor).toBe(reset);
  });

  test("a body that is given up later, too", () => {
    const source = new Source();
    const replay = new ReplayBody(source.body, 100);
    const body = replay.attempt();
    piped(body);
    replay.release();
    expect(source.cancelledFor).toBeNull();
    body.cancel(reset);
    expect(source.cancelledFor).toBe(reset);
  });

  test("a body that nobody has touched is left to its owner", () => {
    const source = new Source();
    const replay = new ReplayBody(source.body, 100);
    replay.attempt();
    replay.release();
    expect(source.cancelledFor).toBeNull();
  });
});

/** One random life: a source that obeys pauses (with a piece already under way), sinks of all tempers, attempts that fail anywhere. */
function randomLife(seed: number): { attempts: number; outcome: "whole" | "given up" | "outgrown" } {
  const random = seeded(seed);
  const below = (n: number) => Math.floor(random() * n);
  const text = Array.from({ length: below(200) }, () => String.fromCharCode(97 + below(26))).join("");
  const bytesMax = below(200);
  const source = new Source(random() < 0.5 ? text.length : null);
  const replay = new ReplayBody(source.body, bytesMax);
  let sent = 0;
  let attempts = 1;
  let body = replay.attempt();
  let sink: Sink | null = null;
  for (let step = 0; step < 5000; step++) {
    const context = `seed ${seed}, step ${step}`;
    expect(replay.keptBytes, context).toBeLessThanOrEqual(bytesMax);
    if (sink !== null) expect(text.startsWith(sink.text), context).toBe(true);
    if (sink?.trailers === "") {
      expect(sink.text, context).toBe(text);
      return { attempts, outcome: "whole" };
    }
    const dice = random();
    if (sink === null) {
      sink = new Sink();
      sink.full = random() < 0.5;
      body.pipe(sink);
    } else if (dice < 0.5 && sent < text.length && (!source.paused || random() < 0.1)) {
      const piece = text.slice(sent, sent + 1 + below(20));
      sent += piece.length;
      source.push(piece);
    } else if (dice < 0.6 && sent === text.length) {
      source.body.end();
    } else if (dice < 0.9) {
      sink.full = random() < 0.5;
      body.resume();
    } else if (dice < 0.93) {
      if (!replay.replayable) return { attempts, outcome: "given up" };
      if (random() < 0.5) body.cancel(reset);
      else replay.abandon(reset);
      const before = sink.text;
      if (sent < text.length && random() < 0.5) {
        const piece = text.slice(sent, sent + 1 + below(20));
        sent += piece.length;
        source.push(piece);
      }
      expect(sink.text, `${context}: two sinks at once`).toBe(before);
      if (replay.outgrown) return { attempts, outcome: "outgrown" };
      replay.abandon(reset);
      body = replay.attempt();
      sink = null;
      attempts += 1;
    }
  }
  throw new Error(`seed ${seed}: stuck with ${sink?.text.length} of ${text.length} bytes`);
}

test("in a thousand random lives every attempt has the body from its first byte, in order, the bound holds, and none is stuck", () => {
  let wholes = 0;
  let outgrown = 0;
  let repeated = 0;
  for (let seed = 1; seed <= 1000; seed++) {
    const { attempts, outcome } = randomLife(seed);
    if (outcome === "whole") wholes += 1;
    if (outcome === "outgrown") outgrown += 1;
    if (outcome === "whole" && attempts > 1) repeated += 1;
  }
  expect(wholes).toBeGreaterThan(200);
  expect(repeated).toBeGreaterThan(50);
  expect(outgrown).toBeGreaterThan(10);
});
