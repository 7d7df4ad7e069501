import { describe, expect, test } from "vitest";
import { Body } from "../../src/body.ts";
import type { EgressError } from "../../src/errors.ts";
import { type BodyTap, tappedBody } from "../../src/policy/tapped-body.ts";
import { Sink, Source } from "./bodies.ts";
import { failure } from "./calls.ts";

class Tap implements BodyTap {
  text = "";
  readonly ends: [EgressError | null, string][] = [];
  breakAt = Number.POSITIVE_INFINITY;
  readonly error = failure("BUDGET_SPENT");

  piece(bytes: Uint8Array): EgressError | null {
    if (this.text.length + bytes.length > this.breakAt) return this.error;
    this.text += Buffer.from(bytes).latin1Slice();
    return null;
  }

  ended(error: EgressError | null, trailers: string): void {
    this.ends.push([error, trailers]);
  }
}

function scene(length: number | null = null) {
  const source = new Source(length);
  const tap = new Tap();
  const sink = new Sink();
  return { source, tap, sink, body: tappedBody(source.body, tap) };
}

describe("a body that is looked at", () => {
  test("passes with its trailers and its length", () => {
    const { source, tap, sink, body } = scene(5);
    expect(body.length).toBe(5);
    body.pipe(sink);
    source.push("ab");
    source.push("cde");
    source.body.end("X: y\r\n");
    expect([sink.text, sink.trailers]).toEqual(["abcde", "X: y\r\n"]);
    expect([tap.text, tap.ends]).toEqual(["abcde", [[null, "X: y\r\n"]]]);
    expect(body.passedBytes).toBe(5);
  });

  test("is not read before somebody reads it, and passes what was there by then", () => {
    const { source, tap, sink, body } = scene();
    source.push("early");
    expect([tap.text, source.paused]).toEqual(["", true]);
    body.pipe(sink);
    expect([sink.text, source.paused]).toEqual(["early", false]);
  });

  test("is held back with its receiver", () => {
    const { source, sink, body } = scene();
    sink.full = true;
    body.pipe(sink);
    source.push("a");
    expect(source.paused).toBe(true);
    body.resume();
    expect(source.paused).toBe(false);
  });

  test("breaks off as its source does", () => {
    const { source, tap, sink, body } = scene();
    body.pipe(sink);
    const error = failure("UPSTREAM_ABORTED");
    source.body.fail(error);
    expect([sink.abortedFor, tap.ends]).toEqual([error, [[error, ""]]]);
  });

  test("breaks off also when its source has failed before it was read", () => {
    const { source, sink, body } = scene();
    const error = failure("UPSTREAM_ABORTED");
    source.body.fail(error);
    body.pipe(sink);
    expect(sink.abortedFor).toBe(error);
  });

  test("that is not wanted any more cancels its source", () => {
    const { source, tap, sink, body } = scene();
    body.pipe(sink);
    const error = failure("CLIENT_GONE");
    body.cancel(error);
    expect([source.cancelledFor, tap.ends]).toEqual([error, [[error, ""]]]);
  });
});

describe("a body that is broken off", () => {
  test("ends visibly in front of the piece, its source is cancelled, and nothing more passes", () => {
    const { source, tap, sink, body } = scene();
    tap.breakAt = 4;
    body.pipe(sink);
    source.push("abc");
    source.push("def");
    source.push("g");
    expect(sink).toMatchObject({ text: "abc", abortedFor: tap.error, trailers: null });
    expect(source.cancelledFor).toBe(tap.error);
    expect(tap.ends).toEqual([[tap.error, ""]]);
  });

  test("in the middle of what was held is not gone on with", () => {
    const { source, tap, sink, body } = scene();
    tap.breakAt = 1;
    source.push("a");
    source.push("b");
    source.push("c");
    source.body.end("");
    body.pipe(sink);
    expect(sink).toMatchObject({ text: "a", abortedFor: tap.error, trailers: null });
    expect(tap.ends).toHaveLength(1);
  });

  test("that was whole is told so", () => {
    const { tap, sink } = scene();
    tappedBody(Body.of("whole"), tap).pipe(sink);
    expect([sink.text, sink.trailers, tap.text]).toEqual(["whole", "", "whole"]);
  });
});
