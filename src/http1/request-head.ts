/**
 * The head of a request: bytes → `RequestHead`, or the one error that refuses it (RFC 9112 §3, §5, §6).
 *
 * Stricter than Node's parser where that is lax: no HTTP/0.9 and no 2.0, no duplicate Host, no length or coding that a second
 * reader could read otherwise. Knows no sockets.
 */
import type { Limits } from "../config/types.ts";
import { EgressError, type ErrorCode } from "../errors.ts";
import type { FieldLines } from "../exchange.ts";
import { trimBlanks } from "./fields.ts";
import { type HeadProblem, scanFields } from "./head-scan.ts";

/** The bounds that a head must keep. */
export type HeadLimits = Pick<Limits, "headBytesMax" | "headerCountMax" | "targetBytesMax">;

/** A request head, understood. */
export interface RequestHead {
  readonly method: string;
  /** Exactly as it came: origin, absolute, authority or asterisk form. */
  readonly target: string;
  /** Minor version: 0 or 1. */
  readonly minor: number;
  /** End-to-end fields. */
  readonly fields: FieldLines;
  readonly host: string | null;
  /** Bytes of body; 0 for none; `null` when chunked. */
  readonly bodyLength: number | null;
  /** Whether a Content-Length was there, so that `Content-Length: 0` and none stay apart (signatures may cover it). */
  readonly hasLength: boolean;
  readonly keepAlive: boolean;
  readonly expectContinue: boolean;
  readonly teTrailers: boolean;
  /** Protocol offered by `Upgrade` with `Connection: upgrade`, or "". h2c is not offered on (RFC 9113 §3.1 removed it). */
  readonly upgrade: string;
}

/** The methods that Node's parser knows (llhttp 9), less those of RTSP and less PRI, which opens HTTP/2. */
const METHODS: ReadonlySet<string> = new Set(
  (
    "GET HEAD POST PUT DELETE PATCH OPTIONS CONNECT TRACE ACL BIND CHECKOUT COPY LINK LOCK M-SEARCH MERGE MKACTIVITY MKCALENDAR MKCOL " +
    "MOVE NOTIFY PROPFIND PROPPATCH PURGE QUERY REBIND REPORT SEARCH SOURCE SUBSCRIBE UNBIND UNLINK UNLOCK UNSUBSCRIBE"
  ).split(" "),
);

/**
 * The whole head in one pass: a token, a target of visible ASCII without a fragment (RFC 9112 §3.2), the version, and lines of `token:value` with no control
 * character but tab. No obs-fold can match, because a line must begin with a token; no bare CR or LF, because neither is in any class.
 */
const REQUEST_HEAD =
  /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [\x21\x22\x24-\x7e]+ HTTP\/1\.[01]\r\n(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*$/;

/** Whether `text` is a method that is relayed. */
export function isMethod(text: string): boolean {
  return METHODS.has(text);
}

const ONE = 49;

/** `head` runs from the first byte of the request line to the end of the last field line, its CRLF included, as latin1. */
export function parseRequestHead(head: string, limits: HeadLimits): RequestHead | EgressError {
  // Tested, not matched: the parts are between the first two blanks, and an array of them would cost 100 ns.
  if (!REQUEST_HEAD.test(head)) return refusal(head);
  const targetAt = head.indexOf(" ") + 1;
  const targetEnd = head.indexOf(" ", targetAt);
  const method = head.slice(0, targetAt - 1);
  const target = head.slice(targetAt, targetEnd);
  if (!isMethod(method)) return new EgressError("BAD_REQUEST", "unknown method");
  if (target.length > limits.targetBytesMax)
    return new EgressError("TARGET_TOO_LONG", `target of ${target.length} bytes`);
  const minor = head.charCodeAt(targetEnd + " HTTP/1.".length) === ONE ? 1 : 0;
  const linesAt = targetEnd + " HTTP/1.1\r\n".length;
  const hop = scanFields(head, linesAt, head.length, limits.headerCountMax);
  if ("why" in hop) return problem(hop);
  // RFC 9112 §6.1: an HTTP/1.0 message with Transfer-Encoding has faulty framing.
  if (hop.chunked && minor === 0) return new EgressError("BAD_REQUEST", "Transfer-Encoding in HTTP/1.0");
  if (hop.expect !== "" && hop.expect !== "100-continue")
    return new EgressError("EXPECTATION_FAILED", "unknown expectation");
  const hasBody = hop.chunked || hop.contentLength > 0;
  return {
    method,
    target,
    minor,
    fields: hop.fields,
    host: hop.host,
    bodyLength: hop.chunked ? null : Math.max(0, hop.contentLength),
    hasLength: hop.contentLength >= 0,
    keepAlive: minor === 1 ? !hop.close : hop.keepAlive && !hop.close,
    // RFC 9110 §10.1.1: not in HTTP/1.0, and meaningless without a body.
    expectContinue: hop.expect !== "" && minor === 1 && hasBody,
    teTrailers: hop.teTrailers,
    upgrade: hop.connectionUpgrade && minor === 1 ? withoutH2c(hop.upgrade) : "",
  };
}

function withoutH2c(upgrade: string): string {
  if (!/h2c/i.test(upgrade)) return upgrade;
  const offered = upgrade.split(",").map((protocol) => trimBlanks(protocol, 0, protocol.length));
  return offered.filter((protocol) => protocol.toLowerCase() !== "h2c").join(", ");
}

/** The error for what `scanFields` found. */
function problem(found: HeadProblem): EgressError {
  const code: ErrorCode =
    found.kind === "too_many"
      ? "HEAD_TOO_LARGE"
      : found.kind === "unsupported"
        ? "CODING_UNSUPPORTED"
        : "BAD_REQUEST";
  return new EgressError(code, found.why);
}

/** The expression says only that something is wrong; the version is worth telling apart (RFC 9110 §15.6.6). */
function refusal(head: string): EgressError {
  const version = /^[^\r\n ]+ [^\r\n ]+ HTTP\/(?!1\.[01]\r\n)[0-9]\.[0-9]\r\n/.test(head);
  if (version) return new EgressError("VERSION_UNSUPPORTED", "HTTP version other than 1.0 and 1.1");
  return new EgressError("BAD_REQUEST", "malformed request head");
}
