/**
 * The only place where an error becomes bytes for the application. The body is static text and the call's id: no address, no
 * stack, nothing of the exchange; the details are in the log.
 */
import { type EgressError, ERROR_CODES } from "../errors.ts";

/** Response field that carries the stable code of every refusal and failure of the proxy's own. */
export const ERROR_FIELD = "Outrider-Error";

/** RFC 9110 §15; only the statuses of `ERROR_CODES`. */
const REASONS: Readonly<Record<number, string>> = {
  400: "Bad Request",
  403: "Forbidden",
  408: "Request Timeout",
  414: "URI Too Long",
  417: "Expectation Failed",
  421: "Misdirected Request",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
  // RFC 5842 §7.2.
  508: "Loop Detected",
};

/** The one line that every refusal says: static text, the stable code and the call's id. */
export function refusalText(error: EgressError, callId: string): string {
  const { stage, meaning } = ERROR_CODES[error.code];
  return `outrider: ${stage}: ${meaning} [${error.code} ${callId}]`;
}

/** Status line, fields and body of a refusal, as latin1. `headOnly` leaves the body out (HEAD), not its length. */
export function writeRefusal(
  error: EgressError,
  callId: string,
  keepAlive: boolean,
  headOnly: boolean,
): string {
  const facts = ERROR_CODES[error.code];
  const body = `${refusalText(error, callId)}\n`;
  return (
    `HTTP/1.1 ${facts.status} ${REASONS[facts.status]}\r\n` +
    `Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n${ERROR_FIELD}: ${error.code}\r\n${error.replyFields}` +
    `Content-Length: ${body.length}\r\n${keepAlive ? "" : "Connection: close\r\n"}\r\n${headOnly ? "" : body}`
  );
}
