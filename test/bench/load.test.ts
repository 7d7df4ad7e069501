/** The messages of the load, the check of the answers, and the seed that repeats both. */

import { describe, expect, test } from "vitest";
import { AnswerReader } from "../../bench/load/answer.ts";
import { buildRequest, buildResponse, requestBytes, responseBytes } from "../../bench/load/messages.ts";
import { seededRandom, shuffled } from "../../bench/seed.ts";

describe("the messages", () => {
  test.each(["127.0.0.1:1024", "127.0.0.1:40000"])(
    "have their stated sizes for an origin at %s",
    (authority) => {
      const request = buildRequest("origin", authority, seededRandom(1));
      expect(Buffer.byteLength(request.text)).toBe(requestBytes);
      expect(request.text).toMatch(/^GET \/orders\/1234\?expand=lines HTTP\/1\.1\r\n.*\r\n\r\n$/s);
    },
  );

  test("differ between the two target forms in the target only", () => {
    const origin = buildRequest("origin", "127.0.0.1:40000", seededRandom(1)).text;
    const absolute = buildRequest("absolute", "127.0.0.1:40000", seededRandom(1)).text;
    expect(absolute).toBe(origin.replace("GET /", "GET http://127.0.0.1:40000/"));
  });

  test("of the origin have a body of the length that their head states", () => {
    const { text, body } = buildResponse(seededRandom(1));
    expect(Buffer.byteLength(text)).toBe(responseBytes);
    expect(text).toContain(`\r\nContent-Length: ${body.length}\r\n`);
    expect(text.endsWith(`\r\n\r\n${body}`)).toBe(true);
  });
});

describe("the check of an answer", () => {
  const right = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcd";
  const read = (reader: AnswerReader, text: string) => {
    const bytes = Buffer.from(text, "latin1");
    const progress = reader.read(bytes, bytes.length);
    // The caller reuses its buffer, so what the reader keeps must be its own copy.
    bytes.fill(0);
    return progress;
  };

  test("accepts the expected answer, one after the other", () => {
    const reader = new AnswerReader("abcd");
    expect(read(reader, right)).toBe("complete");
    expect(read(reader, right)).toBe("complete");
  });

  test("accepts it cut at any byte", () => {
    for (let cut = 1; cut < right.length; cut++) {
      const reader = new AnswerReader("abcd");
      expect(read(reader, right.slice(0, cut))).toBe("partial");
      expect(read(reader, right.slice(cut))).toBe("complete");
      expect(read(reader, right)).toBe("complete");
    }
  });

  test.each([
    ["another status", right.replace("200 OK", "502 Bad Gateway"), "expected status 200"],
    ["another version", right.replace("1.1", "1.0"), "expected status 200"],
    ["another length", right.replace("length: 4", "length: 5"), "expected Content-Length: 4"],
    [
      "no length",
      right.replace("content-length: 4", "transfer-encoding: chunked"),
      "expected Content-Length: 4",
    ],
    ["another body", right.replace("abcd", "abce"), "body of an answer differs"],
    ["bytes behind it", `${right}x`, "1 bytes arrived after the end"],
    ["a head without end", "x".repeat(20_000), "does not end"],
  ])("refuses an answer with %s", (_what, text, wrong) => {
    const progress = read(new AnswerReader("abcd"), text);
    expect(progress).toEqual({ wrong: expect.stringContaining(wrong) });
  });
});

describe("the seed", () => {
  const list = [1, 2, 3, 4, 5, 6, 7, 8];

  test("repeats an order, and another seed gives another one", () => {
    expect(shuffled(list, seededRandom(5))).toEqual(shuffled(list, seededRandom(5)));
    expect(shuffled(list, seededRandom(5))).not.toEqual(shuffled(list, seededRandom(6)));
  });

  test("loses no subject", () => {
    expect(shuffled(list, seededRandom(5)).sort()).toEqual(list);
  });
});
