/**
 * The head of a response: bytes → `ResponseHead`, or the error that ends the connection (RFC 9112 §4, §6.3). Knows no sockets.
 */
import { EgressError } from "../errors.ts";
import type { FieldLines } from "../exchange.ts";
import { scanFields } from "./head-scan.ts";
import type { HeadLimits } from "./request-head.ts";

/** How the end of a body is found: there is none, its length is stated, it is chunked, or it ends with the connection. */
export type ResponseFraming = "none" | "length" | "chunked" | "close";

/** A response head, understood in the light of the request's method. */
export interface ResponseHead {
  readonly status: number;
  /** May be "". */
  readonly reason: string;
  readonly fields: FieldLines;
  readonly framing: ResponseFraming;
  /** The stated length, -1 when none. With framing "none" (HEAD, 304) it describes a body that does not come. */
  readonly contentLength: number;
  /** The connection may serve another request after this response. */
  readonly keepAlive: boolean;
  /** The protocol of a 101, or "". */
  readonly upgrade: string;
}

/** RFC 9112 §4 wants a space before an empty reason; without it the line is still unambiguous, and servers leave it out. */
const RESPONSE_HEAD =
  /^HTTP\/1\.[01] [1-9][0-9]{2}(?: [\t\x20-\x7e\x80-\xff]*)?\r\n(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*$/;

const MINOR_AT = "HTTP/1.".length;
const STATUS_AT = "HTTP/1.1 ".length;
const ONE = 49;

const invalid = (why: string): EgressError => new EgressError("UPSTREAM_INVALID", why);

/** `head` runs from the first byte of the status line to the end of the last field line, its CRLF included, as latin1. */
export function parseResponseHead(
  head: string,
  method: string,
  limits: HeadLimits,
): ResponseHead | EgressError {
  if (!RESPONSE_HEAD.test(head)) return invalid("malformed response head");
  // Every part but the reason has its fixed place.
  const status = Number(head.slice(STATUS_AT, STATUS_AT + 3));
  const minor = head.charCodeAt(MINOR_AT) === ONE ? 1 : 0;
  const lineEnd = head.indexOf("\r\n");
  const hop = scanFields(head, lineEnd + 2, head.length, limits.headerCountMax);
  if ("why" in hop) return invalid(hop.why);
  if (hop.chunked && minor === 0) return invalid("Transfer-Encoding in HTTP/1.0");
  if (hop.host !== null) hop.fields += `Host: ${hop.host}\r\n`;
  const bodiless = method === "HEAD" || status < 200 || status === 204 || status === 304;
  const tunnel = method === "CONNECT" && status >= 200 && status < 300;
  const framing: ResponseFraming =
    bodiless || tunnel ? "none" : hop.chunked ? "chunked" : hop.contentLength >= 0 ? "length" : "close";
  return {
    status,
    reason: head.slice(STATUS_AT + 4, lineEnd),
    fields: hop.fields,
    framing,
    // RFC 9110 §8.6: no Content-Length in 1xx and 204.
    contentLength: status < 200 || status === 204 ? -1 : hop.contentLength,
    keepAlive: framing !== "close" && (minor === 1 ? !hop.close : hop.keepAlive && !hop.close),
    upgrade: status === 101 ? hop.upgrade : "",
  };
}
