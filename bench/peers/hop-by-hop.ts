/**
 * What both Node peers need of a forward proxy's rules: the split of an absolute target and the removal of fields
 * that concern one connection only (RFC 9110 section 7.6.1). Not meant as a model of strictness.
 */

import type { IncomingHttpHeaders } from "node:http";

const hopByHop = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Where the path begins in an absolute-form target, or -1 when it is not an absolute `http://` target. */
export function authorityEnd(target: string): number {
  return target.startsWith("http://") ? target.indexOf("/", "http://".length) : -1;
}

/** The raw name and value list of a request without the fields of the connection. */
export function endToEndRequestHeaders(raw: readonly string[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i < raw.length; i += 2) {
    if (!hopByHop.has(raw[i]!.toLowerCase())) kept.push(raw[i]!, raw[i + 1]!);
  }
  return kept;
}

/** Removes the fields of the connection from the header object of a response, and returns the object. */
export function removeHopByHop(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  for (const name in headers) if (hopByHop.has(name)) delete headers[name];
  return headers;
}
