/**
 * The answers of the Runtime, Extensions and Telemetry APIs, byte for byte.
 *
 * Owns status, body and headers of every fixed answer and how JSON is spelled. Decides nothing. Sources: the runtime interface
 * emulator, internal/lambda/rapi/rendering/render_error.go, render_json.go and rapi/handler/constants.go.
 */
import type { ServerResponse } from "node:http";

/** An answer that is ready to be written. */
export interface Answer {
  readonly status: number;
  readonly body: string | Buffer;
  readonly headers: Readonly<Record<string, string>>;
}

/** Largest buffered payload in bytes, either way: 6 MiB and 100 bytes (internal/lambda/interop/model.go). */
export const PAYLOAD_BYTES_MAX = 6 * 1024 * 1024 + 100;

/** JSON as Go's encoder with HTML escaping writes it: `<`, `>`, `&` and the two line separators of JavaScript are escaped. */
export function goJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[<>&\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** A JSON answer; the line feed at the end is what Go's encoder appends. */
export function jsonAnswer(status: number, value: unknown, headers: Record<string, string> = {}): Answer {
  return { status, body: `${goJson(value)}\n`, headers: { "Content-Type": "application/json", ...headers } };
}

/** A 200 that carries a lifecycle event, without a line feed. */
export function eventAnswer(event: object, headers: Record<string, string> = {}): Answer {
  return { status: 200, body: goJson(event), headers: { "Content-Type": "application/json", ...headers } };
}

/** An error answer; the message comes before the type, as in `model.ErrorResponse`. */
export function errorAnswer(status: number, errorType: string, errorMessage: string): Answer {
  return jsonAnswer(status, { errorMessage, errorType });
}

/** 403 with a type of the Extensions or Telemetry API. */
export const forbidden = (errorType: string, errorMessage: string): Answer =>
  errorAnswer(403, errorType, errorMessage);

/** 202 `{"status":"OK"}`. */
export const ACCEPTED: Answer = jsonAnswer(202, { status: "OK" });

/** 403 for a runtime call that its state does not allow. */
export const invalidStateTransition = (message: string): Answer =>
  errorAnswer(403, "InvalidStateTransition", message);

/** 400 for an id that is not the invocation in progress. */
export const INVALID_REQUEST_ID: Answer = errorAnswer(400, "InvalidRequestID", "Invalid request ID");

/** 410 for an echo of `Lambda-Runtime-Invocation-Id` that belongs to another delivery. */
export const INVALID_INVOCATION_ID: Answer = errorAnswer(410, "InvalidInvocationID", "Invalid invocation ID");

/** 413 for a body over `PAYLOAD_BYTES_MAX`. */
export const TOO_LARGE: Answer = errorAnswer(
  413,
  "RequestEntityTooLarge",
  `Exceeded maximum allowed payload size (${PAYLOAD_BYTES_MAX} bytes).`,
);

/** 400 for a body that ended early. */
export const TRUNCATED: Answer = errorAnswer(
  400,
  "TruncatedHTTPRequest",
  "HTTP request detected as truncated",
);

/** 400 for a `Lambda-Runtime-Function-Response-Mode` other than `streaming`. */
export const INVALID_RESPONSE_MODE: Answer = errorAnswer(
  400,
  "InvalidFunctionResponseMode",
  "Invalid function response mode",
);

/** 500, after which a runtime or an extension must exit promptly; also the answer while no sandbox is up. */
export const INTERNAL_ERROR: Answer = errorAnswer(500, "InternalServerError", "Internal Server Error");

/** 404 of an unknown path, as Go's `http.NotFound` writes it. */
export const NOT_FOUND: Answer = {
  status: 404,
  body: "404 page not found\n",
  headers: { "Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff" },
};

/** 404 with nothing in it: the Extensions and Telemetry APIs while extensions are disabled. */
export const EXTENSIONS_DISABLED: Answer = { status: 404, body: "", headers: {} };

/** 405 with an empty body. */
export const methodNotAllowed = (allow: string): Answer => ({
  status: 405,
  body: "",
  headers: { Allow: allow },
});

/** Writes `answer`; a peer that has gone is not an error here. */
export function send(response: ServerResponse, answer: Answer): void {
  if (response.destroyed || response.headersSent) return;
  // A 204 must not have a Content-Length (RFC 9110, section 8.6).
  const length = answer.status === 204 ? {} : { "Content-Length": Buffer.byteLength(answer.body) };
  response.writeHead(answer.status, { ...answer.headers, ...length });
  response.end(answer.body);
}

/** The same answer as raw bytes, for a connection whose request never became complete; announces the close. */
export function rawAnswer(answer: Answer): string {
  const reason = answer.status === 400 ? "Bad Request" : "Error";
  const headers = {
    ...answer.headers,
    "Content-Length": Buffer.byteLength(answer.body),
    Connection: "close",
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${answer.status} ${reason}\r\n${lines.join("")}\r\n${answer.body}`;
}
