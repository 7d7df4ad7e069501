/** The front of a connection's bytes as a response head, within the limits; and whether a 101 answers what was offered. Pure. */
import { EgressError } from "../errors.ts";
import { findHead } from "../http1/find-head.ts";
import type { HeadLimits } from "../http1/request-head.ts";
import { parseResponseHead, type ResponseHead } from "../http1/response-head.ts";

/** A head, and the index of the first character behind it. */
export interface HeadRead {
  readonly head: ResponseHead;
  readonly next: number;
}

/** Reads `text` (latin1) as the answer to a request with `method`. `null` while there is no whole head yet and there may still be one. */
export function readHead(text: string, method: string, limits: HeadLimits): HeadRead | EgressError | null {
  const span = findHead(text);
  if (span.kind === "hopeless") return new EgressError("UPSTREAM_INVALID", span.why);
  const bytes = span.kind === "whole" ? span.end - span.start : text.length;
  if (bytes > limits.headBytesMax) {
    return new EgressError("UPSTREAM_INVALID", `head of more than ${limits.headBytesMax} bytes`);
  }
  if (span.kind === "partial") return null;
  const head = parseResponseHead(text.slice(span.start, span.end), method, limits);
  return head instanceof EgressError ? head : { head, next: span.next };
}

/** Whether every protocol of `chosen` (Upgrade of a 101) is one of `offered` (Upgrade of the request), RFC 9110 §7.8. */
export function isOffered(offered: string, chosen: string): boolean {
  const names = (list: string): string[] =>
    list
      .toLowerCase()
      .split(",")
      .map((name) => name.trim());
  const known = names(offered);
  return chosen !== "" && names(chosen).every((name) => known.includes(name));
}
