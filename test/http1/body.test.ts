import { describe, expect, test } from "vitest";
import { Body, type BodySink, EMPTY_BODY } from "../../src/body.ts";
import { EgressError } from "../../src/errors.ts";
import { BodyReader } from "../../src/http1/body-reader.ts";
import { BodyWriter, type ByteSink } from "../../src/http1/body-writer.ts";

const BROKE = new EgressError("UPSTREAM_ABORTED", "broke");

/** A source that notes what it is told. */
function source() {
  const told: string[] = [];
  return {
    told,
    pause: () => void told.push("pause"),
    resume: () => void told.push("resume"),
    cancel: () => void told.push("cancel"),
  };
}

/** A sink that notes what it gets and takes `room` pieces before it asks for a pause. */
function sink(room = Number.POSITIVE_INFINITY): BodySink & { got: string[] } {
  const got: string[] = [];
  let left = room;
  return {
    got,
    write: (chunk) => {
      got.push(Buffer.from(chunk).toString("latin1"));
      return --left > 0;
    },
    end: (trailers) => void got.push(`end ${trailers}`),
    abort: (error) => void got.push(`abort ${error.code}`),
  };
}

describe("a body on its way:", () => {
  test("pieces that come before the sink are held and the source is asked to pause", () => {
    const from = source();
    const body = new Body(null, from);
    expect(body.push(Buffer.from("a"))).toBe(false);
    expect(body.push(Buffer.from("b"))).toBe(false);
    const to = sink();
    body.pipe(to);
    expect(to.got).toEqual(["a", "b"]);
    expect(from.told).toEqual(["resume"]);
    expect(body.push(Buffer.from("c"))).toBe(true);
    body.end("X: 1\r\n");
    expect(to.got).toEqual(["a", "b", "c", "end X: 1\r\n"]);
    expect(body.passedBytes).toBe(3);
    expect(body.over).toBe(true);
  });

  test("a sink that is full holds the source back until it asks for more", () => {
    const from = source();
    const body = new Body(null, from);
    body.pipe(sink(1));
    from.told.length = 0;
    expect(body.push(Buffer.from("a"))).toBe(false);
    expect(from.told).toEqual([]);
    body.resume();
    expect(from.told).toEqual(["resume"]);
  });

  test("a body that ended before the sink came is handed on whole, with its trailers", () => {
    const body = new Body(null, source());
    body.push(Buffer.from("a"));
    body.end("X: 1\r\n");
    const to = sink();
    body.pipe(to);
    expect(to.got).toEqual(["a", "end X: 1\r\n"]);
  });

  test("a body that broke off before the sink came is an abort, not an end", () => {
    const body = new Body(null, source());
    body.push(Buffer.from("a"));
    body.fail(BROKE);
    const to = sink();
    body.pipe(to);
    expect(to.got).toEqual(["abort UPSTREAM_ABORTED"]);
  });

  test("a body that breaks off in the middle is an abort, once", () => {
    const body = new Body(5, source());
    const to = sink();
    body.pipe(to);
    body.push(Buffer.from("a"));
    body.fail(BROKE);
    body.fail(BROKE);
    body.end();
    expect(to.got).toEqual(["a", "abort UPSTREAM_ABORTED"]);
  });

  test("a body that nobody wants cancels its source and swallows what still comes", () => {
    const from = source();
    const body = new Body(5, from);
    const to = sink();
    body.pipe(to);
    from.told.length = 0;
    body.cancel(BROKE);
    body.cancel(BROKE);
    expect(body.push(Buffer.from("a"))).toBe(true);
    expect(from.told).toEqual(["cancel"]);
    expect(to.got).toEqual([]);
  });

  test("its end is told once, also to who asks late", () => {
    const told: (EgressError | null)[] = [];
    const body = new Body(null, source());
    body.onEnded((error) => told.push(error));
    body.end();
    body.onEnded((error) => told.push(error));
    expect(told).toEqual([null, null]);
  });

  test("a whole body is over at once, and can be piped again", () => {
    const body = Body.of("abc");
    expect([body.length, body.over]).toEqual([3, true]);
    for (let i = 0; i < 2; i++) {
      const to = sink();
      body.pipe(to);
      expect(to.got).toEqual(["abc", "end "]);
    }
    const to = sink();
    EMPTY_BODY.pipe(to);
    expect(to.got).toEqual(["end "]);
  });
});

describe("a body read off a socket:", () => {
  test("by its length, and not a byte more", () => {
    const body = new Body(5, source());
    const to = sink();
    body.pipe(to);
    const reader = new BodyReader(body, "length", 5, false, 100);
    expect(reader.feed(Buffer.from("xxhel"), 2)).toBe(5);
    expect(reader.done).toBe(false);
    expect(reader.feed(Buffer.from("loGET"), 0)).toBe(2);
    expect(reader.done).toBe(true);
    expect(to.got).toEqual(["hel", "lo", "end "]);
  });

  test("until the connection ends", () => {
    const body = new Body(null, source());
    const to = sink();
    body.pipe(to);
    const reader = new BodyReader(body, "close", -1, false, 100);
    expect(reader.endsWithConnection).toBe(true);
    expect(reader.feed(Buffer.from("abc"), 0)).toBe(3);
    expect(reader.done).toBe(false);
    expect(to.got).toEqual(["abc"]);
  });

  test("from a buffer that is used again, by copies", () => {
    const body = new Body(6, source());
    const reader = new BodyReader(body, "length", 6, true, 100);
    const buffer = Buffer.from("abc");
    reader.feed(buffer, 0);
    buffer.write("def");
    reader.feed(buffer, 0);
    const to = sink();
    body.pipe(to);
    expect(to.got).toEqual(["abc", "def", "end "]);
  });

  test("it tells when the receiver is full", () => {
    const body = new Body(null, source());
    body.pipe(sink(1));
    const reader = new BodyReader(body, "chunked", 0, false, 100);
    reader.feed(Buffer.from("1\r\na\r\n"), 0);
    expect(reader.full).toBe(true);
  });
});

describe("a body written to a socket:", () => {
  function wire() {
    let text = "";
    const out: ByteSink = {
      write: (bytes: Uint8Array | string) => {
        text += typeof bytes === "string" ? bytes : Buffer.from(bytes).toString("latin1");
        return true;
      },
      cork: () => {},
      uncork: () => {},
    };
    return { out, text: () => text };
  }

  test("in chunks, small ones and large ones, with trailers", () => {
    const { out, text } = wire();
    const ends: (EgressError | null)[] = [];
    const writer = new BodyWriter(out, true, (error) => ends.push(error));
    const large = "x".repeat(20_000);
    writer.write(Buffer.from("hello"));
    writer.write(Buffer.from(""));
    writer.write(Buffer.from(large));
    writer.end("X-Sum: 1\r\n");
    expect(text()).toBe(`5\r\nhello\r\n4e20\r\n${large}\r\n0\r\nX-Sum: 1\r\n\r\n`);
    expect(ends).toEqual([null]);
  });

  test("as it is, where the length is stated", () => {
    const { out, text } = wire();
    const writer = new BodyWriter(out, false, () => {});
    writer.write(Buffer.from("hello"));
    writer.end("X-Sum: 1\r\n");
    expect(text()).toBe("hello");
  });

  test("a break writes no last chunk", () => {
    const { out, text } = wire();
    const ends: (EgressError | null)[] = [];
    const writer = new BodyWriter(out, true, (error) => ends.push(error));
    writer.write(Buffer.from("hello"));
    writer.abort(BROKE);
    expect(text()).toBe("5\r\nhello\r\n");
    expect(ends).toEqual([BROKE]);
  });
});
