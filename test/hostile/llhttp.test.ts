/** Every strict vector of Node's own parser, against ours: refused where it refuses, understood the same where it does not. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { type Reading, readRequests, readResponses } from "../kit/codec.ts";

interface Vector {
  readonly file: string;
  readonly title: string;
  readonly type: "request" | "request-finish" | "response" | "response-finish";
  readonly raw: string;
  readonly error: string | null;
  readonly messages:
    | readonly {
        readonly method?: string;
        readonly url?: string;
        readonly status?: number;
        readonly body: string;
      }[]
    | null;
  readonly unfinishedBody?: string;
  readonly skipBody?: boolean;
}

const VECTORS = JSON.parse(
  readFileSync(new URL("./vectors/llhttp.json", import.meta.url), "utf8"),
) as readonly Vector[];

/** Reasons why llhttp stops where there is nothing to refuse. */
const NOT_REFUSED: Readonly<Record<string, string>> = {
  "Pause on CONNECT/Upgrade":
    "a hand-over to whoever asked for the tunnel; the rest of the stream is not HTTP",
  "Data after `Connection: close`": "ignored: the connection ends with the answer, nothing behind it is read",
};

/** Vectors that llhttp accepts and we refuse, by title, and why. */
const STRICTER: Readonly<Record<string, string>> = {
  "SOURCE request with ICE": "not HTTP",
  "OPTIONS request with RTSP": "not HTTP",
  "ANNOUNCE request with RTSP": "not HTTP",
  "RTSP response": "not HTTP",
  "ICE response": "not HTTP",
  "No HTTP version": "HTTP/0.9 has no framing",
  "HTTP version 0.9": "HTTP/0.9 has no framing",
  "Fragment in URI": "a target has no fragment (RFC 9112 §3.2): one server cuts it off, another routes by it",
  "CONNECT with body": "a body in front of a tunnel has no meaning (RFC 9110 §9.3.6)",
  "POST with `chunked` as last transfer-encoding":
    "codings other than chunked are not decoded, and not passed on",
  "POST with `chunked` as last transfer-encoding (multiple headers)": "the same",
  "`chunked` before other transfer-encoding": "llhttp reads to the end of the connection; others read chunks",
  "multiple transfer-encoding where chunked is not the last one": "the same",
  "`chunkedchunked` transfer-encoding does not enable chunked enconding": "the same",
};

/** A vector that is about llhttp's interface, not about bytes. */
const NOT_OURS: Readonly<Record<string, string>> = {
  "request: Content-Length reset when no body is received":
    "the test tells the parser to skip the body of a request that has one",
};

function read(vector: Vector, pieceBytes: number): Reading {
  if (vector.type.startsWith("request")) return readRequests(vector.raw, { pieceBytes });
  const method = vector.skipBody ? "HEAD" : "GET";
  return readResponses(vector.raw, { method, pieceBytes, ends: vector.type === "response-finish" });
}

const isOurs = ({ type, title }: Vector): boolean => NOT_OURS[`${type}: ${title}`] === undefined;
const isStricter = ({ raw, title }: Vector): boolean =>
  STRICTER[title] !== undefined || /^[A-Z]+ [^ ]*#/.test(raw);
const isRefused = (vector: Vector): boolean =>
  isStricter(vector) || (vector.error !== null && NOT_REFUSED[vector.error] === undefined);

const ours = VECTORS.filter(isOurs);
const name = (vector: Vector): string => `${vector.type}: ${vector.title}`;

test.each(ours.filter(isRefused).map((vector) => [name(vector), vector] as const))(
  "refused: %s",
  (_, vector) => {
    // Some vectors stop inside their head, which is judged when it is whole.
    const whole = { ...vector, raw: `${vector.raw}\r\n\r\n` };
    expect(read(whole, Number.POSITIVE_INFINITY).problem).not.toBeNull();
    expect(read(whole, 1).problem).not.toBeNull();
  },
);

test.each(ours.filter((vector) => !isRefused(vector)).map((vector) => [name(vector), vector] as const))(
  "understood alike and sent on canonically: %s",
  (_, vector) => {
    const reading = read(vector, Number.POSITIVE_INFINITY);
    expect(reading.problem).toBeNull();
    if (vector.messages !== null) {
      const theirs = vector.messages.map(({ method, url, status, body }) => ({
        start: status === undefined ? `${method} ${url}` : String(status),
        body,
      }));
      // Where the connection ends a body, llhttp does not say so without being told of the end.
      const whole = reading.messages.map(({ start, body }) => ({ start, body }));
      expect(whole.slice(0, theirs.length)).toEqual(theirs);
    }
    if (vector.unfinishedBody !== undefined) expect(reading.unfinished).toBe(vector.unfinishedBody);
    for (const { canonical } of reading.messages) expectCanonical(vector, canonical);
    expect({ ...read(vector, 1), messages: [] }).toEqual({ ...reading, messages: [] });
    expect(read(vector, 1).messages.map(({ body }) => body)).toEqual(
      reading.messages.map(({ body }) => body),
    );
  },
);

/** Framing of our own, once; nothing of the hop; and reading it again gives the same. */
function expectCanonical(vector: Vector, canonical: string): void {
  const head = canonical.slice(0, canonical.indexOf("\r\n\r\n") + 2);
  expect(head).toMatch(/^[^\r\n]+\r\n(?:[^\r\n:]+:[^\r\n]*\r\n)*$/);
  const framings = head.match(/^(?:content-length|transfer-encoding):/gim) ?? [];
  expect(framings.length).toBeLessThanOrEqual(1);
  expect(head).not.toMatch(/^(?:keep-alive|proxy-[a-z-]+|http2-settings|te):/im);
  expect(head).not.toMatch(/^connection: (?!Upgrade\r|TE\r)/im);
  const again = read({ ...vector, raw: canonical }, Number.POSITIVE_INFINITY);
  expect(again.problem).toBeNull();
  expect(again.messages.map((message) => message.canonical)).toEqual([canonical]);
}

test("every exception names vectors that exist", () => {
  const titles = new Set(VECTORS.map(({ title }) => title));
  const names = new Set(VECTORS.map(name));
  const errors = new Set(VECTORS.map(({ error }) => error));
  expect(Object.keys(STRICTER).filter((title) => !titles.has(title))).toEqual([]);
  expect(Object.keys(NOT_OURS).filter((title) => !names.has(title))).toEqual([]);
  expect(Object.keys(NOT_REFUSED).filter((error) => !errors.has(error))).toEqual([]);
});
