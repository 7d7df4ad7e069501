/** Heads that are written to the application, and how the body behind them is framed. Pure. */
import type { EgressResponse, FieldLines, Tunnel } from "../exchange.ts";
import type { RequestHead } from "../http1/request-head.ts";
import { CHUNKED, NO_BODY, type OutgoingFraming, writeResponseHead } from "../http1/write-head.ts";

/** Whether `response` to a request with `head` has no body, whatever its length says (RFC 9110 §6.4.1). */
export function isBodiless(head: RequestHead, response: EgressResponse): boolean {
  return head.method === "HEAD" || response.status === 204 || response.status === 304;
}

/** How the body of `response` is framed. A body with `NO_BODY` ends with the connection. */
export function answerFraming(
  head: RequestHead,
  response: EgressResponse,
  bodiless: boolean,
): OutgoingFraming {
  const { length } = response.body;
  if (response.status === 204 || (bodiless && length === null)) return NO_BODY;
  if (length !== null) return { kind: "length", bytes: length };
  // An HTTP/1.0 client cannot read chunks: its body ends with the connection.
  return head.minor === 1 ? CHUNKED : NO_BODY;
}

/** The head of a final response. */
export function answerHead(
  head: RequestHead,
  response: EgressResponse,
  framing: OutgoingFraming,
  keepAlive: boolean,
): string {
  const { status, reason, fields } = response;
  const line = { status, reason, keepAlive, sayKeepAlive: head.minor === 0, upgrade: "" };
  return writeResponseHead(line, fields, framing);
}

/** The head of an interim response (1xx, not 101). */
export function interimHead(status: number, fields: FieldLines): string {
  const reason = status === 100 ? "Continue" : status === 103 ? "Early Hints" : "";
  return writeResponseHead(
    { status, reason, keepAlive: true, sayKeepAlive: false, upgrade: "" },
    fields,
    NO_BODY,
  );
}

/** The head behind which a tunnel begins: 101, or 200 to CONNECT. */
export function tunnelHead(response: EgressResponse, tunnel: Tunnel): string {
  const { status, reason, fields } = response;
  return writeResponseHead(
    { status, reason, keepAlive: true, sayKeepAlive: false, upgrade: tunnel.protocol },
    fields,
    NO_BODY,
  );
}
