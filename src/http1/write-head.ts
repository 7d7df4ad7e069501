/**
 * Heads as we write them. Everything of this hop (Host, Connection, framing) is written anew from what was understood, in
 * front of or behind the end-to-end fields; nothing of the received framing is relayed (RFC 9112 §6.3, RFC 9110 §7.6.1).
 * Knows no sockets.
 */
import type { FieldLines, Scheme } from "../exchange.ts";

/** How a body is framed on the wire that we write to. */
export type OutgoingFraming =
  | { readonly kind: "none" }
  | { readonly kind: "length"; readonly bytes: number }
  | { readonly kind: "chunked" };

/** No body and no length stated. */
export const NO_BODY: OutgoingFraming = { kind: "none" };
/** Length unknown. */
export const CHUNKED: OutgoingFraming = { kind: "chunked" };

function framingLine(framing: OutgoingFraming): string {
  switch (framing.kind) {
    case "none":
      return "";
    case "length":
      return `Content-Length: ${framing.bytes}\r\n`;
    case "chunked":
      return "Transfer-Encoding: chunked\r\n";
  }
}

/** What the request head needs besides its fields. */
export interface RequestLine {
  readonly method: string;
  readonly path: string;
  /** Value of Host. */
  readonly authority: string;
  readonly upgrade: string;
  readonly expectContinue: boolean;
  readonly teTrailers: boolean;
}

/** A request head for an origin server, the empty line included, as latin1. Always HTTP/1.1 and kept alive. */
export function writeRequestHead(line: RequestLine, fields: FieldLines, framing: OutgoingFraming): string {
  let hop = framingLine(framing);
  if (line.expectContinue) hop += "Expect: 100-continue\r\n";
  if (line.upgrade !== "") hop += `Connection: Upgrade\r\nUpgrade: ${line.upgrade}\r\n`;
  else if (line.teTrailers) hop += "Connection: TE\r\nTE: trailers\r\n";
  return `${line.method} ${line.path} HTTP/1.1\r\nHost: ${line.authority}\r\n${fields}${hop}\r\n`;
}

/** What the response head needs besides its fields. */
export interface StatusLine {
  readonly status: number;
  readonly reason: string;
  /** Whether the client's connection serves another request; otherwise `Connection: close` is written. */
  readonly keepAlive: boolean;
  /** The client speaks HTTP/1.0 and asked to keep the connection, which then has to be said. */
  readonly sayKeepAlive: boolean;
  /** The protocol of a 101, or "". */
  readonly upgrade: string;
}

/** A response head for the client, the empty line included, as latin1. */
export function writeResponseHead(line: StatusLine, fields: FieldLines, framing: OutgoingFraming): string {
  let hop = framingLine(framing);
  if (line.upgrade !== "") hop += `Connection: Upgrade\r\nUpgrade: ${line.upgrade}\r\n`;
  else if (!line.keepAlive) hop += "Connection: close\r\n";
  else if (line.sayKeepAlive) hop += "Connection: keep-alive\r\n";
  return `HTTP/1.1 ${line.status} ${line.reason}\r\n${fields}${hop}\r\n`;
}

/** The last chunk with its trailers, as latin1. */
export function lastChunk(trailers: FieldLines): string {
  return `0\r\n${trailers}\r\n`;
}

/** The size line of a chunk of `bytes` bytes (more than 0), as latin1. */
export function chunkSizeLine(bytes: number): string {
  return `${bytes.toString(16)}\r\n`;
}

/** Host as it is written in front of a port, and in `Host`: IPv6 in brackets, the scheme's own port left out. */
export function formatAuthority(host: string, port: number, scheme: Scheme): string {
  const name = host.includes(":") ? `[${host}]` : host;
  return port === (scheme === "https" ? 443 : 80) ? name : `${name}:${port}`;
}
