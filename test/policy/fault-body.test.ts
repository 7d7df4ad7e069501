/** Bodies that come slowly or break off, in virtual time. */
import { describe, expect, test } from "vitest";
import { Body } from "../../src/body.ts";
import { VirtualClock } from "../../src/clock.ts";
import { slowBody, truncatedBody } from "../../src/policy/fault-body.ts";
import { Sink, Source } from "./bodies.ts";
import { failure } from "./calls.ts";

describe("a slow body", () => {
  function slow(bytesPerSecond: number, live: Body) {
    const clock = new VirtualClock();
    const sink = new Sink();
    const body = slowBody(live, bytesPerSecond, clock);
    body.pipe(sink);
    return { clock, sink, body };
  }

  test("comes in pieces of a tenth of a second, and ends with its last byte", async () => {
    const { clock, sink, body } = slow(20, Body.of("abcdef"));
    expect(body.length).toBe(6);
    expect(sink.text).toBe("ab");
    await clock.advance(99);
    expect(sink.text).toBe("ab");
    await clock.advance(1);
    expect(sink.text).toBe("abcd");
    await clock.advance(100);
    expect([sink.text, sink.trailers]).toEqual(["abcdef", ""]);
    expect(clock.untilNext()).toBeNull();
  });

  test("at less than ten bytes a second comes byte by byte", async () => {
    const { clock, sink } = slow(2, Body.of("abc"));
    await clock.advance(499);
    expect(sink.text).toBe("a");
    await clock.advance(501);
    expect(sink.text).toBe("abc");
  });

  test("holds its upstream back, piece by piece, and passes its trailers", async () => {
    const source = new Source();
    const { clock, sink } = slow(10, source.body);
    source.push("ab");
    expect(source.paused).toBe(true);
    await clock.advance(100);
    expect(sink.text).toBe("ab");
    expect(source.paused).toBe(true);
    await clock.advance(100);
    expect(source.paused).toBe(false);
    source.push("c");
    source.body.end("grpc-status: 0\r\n");
    expect([sink.text, sink.trailers]).toEqual(["abc", "grpc-status: 0\r\n"]);
  });

  test("waits for a receiver that takes no more, and no timer runs meanwhile", async () => {
    const { clock, sink, body } = slow(10, Body.of("abc"));
    sink.full = true;
    await clock.advance(100);
    expect(sink.text).toBe("ab");
    await clock.advance(1000);
    expect([sink.text, clock.untilNext()]).toEqual(["ab", null]);
    body.resume();
    expect([sink.text, sink.trailers]).toEqual(["abc", ""]);
  });

  test("a receiver may ask for more while it is given something", async () => {
    const { clock, sink, body } = slow(10, Body.of("abc"));
    sink.full = true;
    sink.onWrite = () => body.resume();
    await clock.advance(300);
    expect([sink.text, sink.trailers]).toEqual(["abc", ""]);
  });

  test("that breaks off upstream breaks off here", () => {
    const source = new Source();
    const { sink, clock } = slow(10, source.body);
    source.push("abc");
    const reason = failure("UPSTREAM_ABORTED");
    source.body.fail(reason);
    expect([sink.text, sink.abortedFor, clock.untilNext()]).toEqual(["a", reason, null]);
  });

  test("that nobody wants any more is cancelled upstream", () => {
    const source = new Source();
    const { body, clock } = slow(10, source.body);
    source.push("abc");
    const reason = failure("CLIENT_GONE");
    body.cancel(reason);
    expect([source.cancelledFor, clock.untilNext()]).toEqual([reason, null]);
  });

  test("does not flow before somebody takes it", () => {
    const source = new Source();
    source.paused = true;
    slowBody(source.body, 10, new VirtualClock());
    expect(source.paused).toBe(true);
  });
});

describe("S8: a truncated body", () => {
  function truncated(bytes: number, live: Body) {
    const clock = new VirtualClock();
    const sink = new Sink();
    const body = truncatedBody(live, bytes, clock);
    body.pipe(sink);
    return { clock, sink, body };
  }

  test.each([0, 1, 5, 9])("S8: breaks off behind %d bytes and never ends", async (bytes) => {
    const { clock, sink, body } = truncated(bytes, Body.of("0123456789"));
    expect(body.length).toBe(10);
    expect(sink.text).toBe("0123456789".slice(0, bytes));
    expect(sink.abortedFor).toBeNull();
    await clock.advance(1000);
    expect(sink.abortedFor).toMatchObject({ code: "FAULT_INJECTED", reached: "final" });
    expect(sink.trailers).toBeNull();
  });

  test("breaks off in the middle of a stream, and ends its upstream", async () => {
    const source = new Source();
    const { clock, sink } = truncated(5, source.body);
    source.push("012");
    expect([sink.text, source.cancelledFor]).toEqual(["012", null]);
    source.push("3456");
    expect(sink.text).toBe("01234");
    expect(source.cancelledFor).toMatchObject({ code: "FAULT_INJECTED" });
    await clock.advance(1000);
    expect(sink.abortedFor).toMatchObject({ code: "FAULT_INJECTED" });
  });

  test("passes a stream that ends before, with its trailers", () => {
    const source = new Source();
    const { sink, clock } = truncated(5, source.body);
    source.push("01234");
    source.body.end("a: b\r\n");
    expect([sink.text, sink.trailers, clock.untilNext()]).toEqual(["01234", "a: b\r\n", null]);
  });

  test("passes on that the upstream itself broke off, and that nobody wants the rest", () => {
    const broken = new Source();
    const one = truncated(5, broken.body);
    const reason = failure("UPSTREAM_ABORTED");
    broken.body.fail(reason);
    expect(one.sink.abortedFor).toBe(reason);
    const unwanted = new Source();
    const gone = failure("CLIENT_GONE");
    truncated(5, unwanted.body).body.cancel(gone);
    expect(unwanted.cancelledFor).toBe(gone);
  });

  test("holds its upstream back as long as its receiver takes no more", () => {
    const source = new Source();
    const { sink, body } = truncated(100, source.body);
    sink.full = true;
    source.push("0");
    expect(source.paused).toBe(true);
    body.resume();
    expect(source.paused).toBe(false);
  });

  test("may be slow as well: the bytes before the break come at their rate", async () => {
    const clock = new VirtualClock();
    const sink = new Sink();
    truncatedBody(slowBody(Body.of("abc"), 10, clock), 2, clock).pipe(sink);
    expect(sink.text).toBe("a");
    await clock.advance(100);
    expect(sink.text).toBe("ab");
    await clock.advance(1000);
    expect([sink.text, sink.abortedFor?.code]).toEqual(["ab", "FAULT_INJECTED"]);
  });
});
