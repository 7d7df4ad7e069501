/** Header lists that are written to the application over HTTP/2. Pure. */
import { type EgressError, ERROR_CODES } from "../errors.ts";
import type { EgressResponse, FieldLines } from "../exchange.ts";
import { headerListOf } from "../http2/fields.ts";
import { ERROR_FIELD, refusalText } from "./reply.ts";

/** Whether `response` to `method` has no content, whatever its length says (RFC 9110 §6.4.1, §15.3.6). */
export function isContentless(method: string, status: number): boolean {
  return method === "HEAD" || status === 204 || status === 205 || status === 304;
}

/** The head of a final response. */
export function answerList(response: EgressResponse): string[] {
  const { status, fields, body } = response;
  const list = headerListOf([":status", String(status)], fields);
  // RFC 9110 §8.6: not with 204; with 205 it could only be 0. To HEAD and with 304 it tells what would have come.
  const described = body.length !== null && status !== 204 && status !== 205;
  if (described) list.push("content-length", String(body.length));
  return list;
}

/** The head of a refusal with `text` as its content. */
export function refusalList(error: EgressError, text: string): string[] {
  return headerListOf(
    [":status", String(ERROR_CODES[error.code].status)],
    `Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n${ERROR_FIELD}: ${error.code}\r\n` +
      `${error.replyFields}Content-Length: ${text.length}\r\n`,
  );
}

/** The content of a refusal. */
export function refusalContent(error: EgressError, callId: string): string {
  return `${refusalText(error, callId)}\n`;
}

/** `fields` behind `pseudo`, as an object: interim responses and trailers are not taken as lists. Names that come twice hold an array. */
export function headerObjectOf(pseudo: readonly string[], fields: FieldLines): Record<string, string[]> {
  const list = headerListOf(pseudo, fields);
  const object: Record<string, string[]> = Object.create(null);
  for (let at = 0; at + 1 < list.length; at += 2) (object[list[at]!] ??= []).push(list[at + 1]!);
  return object;
}
