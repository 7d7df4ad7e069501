/**
 * The one request and the one response that every subject of a passthrough run forwards, to the byte.
 * Owns their text and their sizes; sends nothing.
 */

import { seededText } from "../seed.ts";

/** Bytes of the request on the wire in origin-form; absolute-form adds only `http://` and the authority. */
export const requestBytes = 300;

/** Bytes of the response on the wire as the origin sends it, head and body. */
export const responseBytes = 700;

/** The target path and query that must arrive at the origin unchanged. */
export const targetPath = "/orders/1234?expand=lines";

/** How the request line names its target: RFC 9112 section 3.2.1 for a reverse proxy, 3.2.2 for a forward proxy. */
export type TargetForm = "origin" | "absolute";

/** What a function's client sends: a GET with a usual set of headers. `secret` is the filler that fits the size. */
export interface RequestMessage {
  readonly text: string;
  readonly secret: string;
}

/** What the origin answers: `text` is the whole message, `body` the part that must arrive unchanged. */
export interface ResponseMessage {
  readonly text: string;
  readonly body: string;
}

/** Builds the request for an origin at `authority` (host and port); the filler is drawn from `random`. */
export function buildRequest(form: TargetForm, authority: string, random: () => number): RequestMessage {
  const target = (prefix: string) => `GET ${prefix}${targetPath} HTTP/1.1\r\n`;
  const headers = (secret: string) =>
    `Host: ${authority}\r\n` +
    "User-Agent: orders-function/1.4\r\n" +
    "Accept: application/json\r\n" +
    "Accept-Encoding: gzip, deflate\r\n" +
    "X-Request-Id: 7c1f6a52-0b1e-4f0d-9a53-52d1c0ffee01\r\n" +
    `Authorization: Bearer ${secret}\r\n\r\n`;
  const secret = seededText(requestBytes - target("").length - headers("").length, random);
  const prefix = form === "absolute" ? `http://${authority}` : "";
  return { text: target(prefix) + headers(secret), secret };
}

/** Builds the response; the filler of its body is drawn from `random`. */
export function buildResponse(random: () => number): ResponseMessage {
  const head = (length: number) =>
    "HTTP/1.1 200 OK\r\n" +
    "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n" +
    "Content-Type: application/json\r\n" +
    "Cache-Control: no-store\r\n" +
    'ETag: "5f35ae12"\r\n' +
    `Content-Length: ${length}\r\n\r\n`;
  const body = (filler: string) => `{"order":"${filler}"}`;
  // The length of the body is a number of three digits, so the head is as long as one that says 100.
  const bodyBytes = responseBytes - head(100).length;
  const filled = body(seededText(bodyBytes - body("").length, random));
  return { text: head(bodyBytes) + filled, body: filled };
}

/**
 * What a request head at the origin lacks of what was sent and of what was promised: the target, the credentials, the headers that a
 * subject adds. Undefined when it lacks nothing.
 */
export function missingFrom(
  head: string,
  secret: string,
  addedHeaders: readonly string[],
): string | undefined {
  const wanted = [
    `GET ${targetPath} HTTP/`,
    `\r\nAuthorization: Bearer ${secret}`,
    ...addedHeaders.map((name) => `\r\n${name}: `),
  ];
  const seen = `${head}\r\n`.toLowerCase();
  return wanted.find((part) => !seen.includes(part.toLowerCase()));
}
