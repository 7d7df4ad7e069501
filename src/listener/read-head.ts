/** The front of a connection's bytes as a request head, within the limits. Pure. */
import type { Limits } from "../config/types.ts";
import { EgressError } from "../errors.ts";
import { findHead } from "../http1/find-head.ts";
import { parseRequestHead, type RequestHead } from "../http1/request-head.ts";

/** A head, and the index of the first byte behind it. */
export interface HeadRead {
  readonly head: RequestHead;
  readonly next: number;
}

/** Bytes that may surround a head without counting against its limit: the empty lines before it and the one that ends it. */
const SURROUNDING_BYTES = 16;
/** What a request line has besides its target: method, version, blanks. A longer line is taken for a target that is too long. */
const LINE_REST_BYTES = 64;

/**
 * What is turned into text at first: nearly every head is shorter. A pipeline of small requests would else be turned into text once
 * for each of them.
 */
const FIRST_LOOK_BYTES = 2048;

/** `null` while there is no whole head yet and there may still be one. */
export function readHead(bytes: Buffer, limits: Limits): HeadRead | EgressError | null {
  const { headBytesMax } = limits;
  let text = bytes.latin1Slice(0, Math.min(bytes.length, FIRST_LOOK_BYTES));
  let span = findHead(text);
  if (span.kind === "partial" && text.length < bytes.length) {
    text = bytes.latin1Slice(0, Math.min(bytes.length, headBytesMax + SURROUNDING_BYTES));
    span = findHead(text);
  }
  switch (span.kind) {
    case "hopeless":
      return new EgressError("BAD_REQUEST", span.why);
    case "partial":
      return bytes.length <= headBytesMax ? null : tooLarge(text, limits);
    case "whole": {
      if (span.end - span.start > headBytesMax) return tooLarge(text, limits);
      const head = parseRequestHead(text.slice(span.start, span.end), limits);
      return head instanceof EgressError ? head : { head, next: span.next };
    }
  }
}

function tooLarge(text: string, limits: Limits): EgressError {
  const lineEnd = text.indexOf("\r\n", 2);
  const inTarget = lineEnd < 0 || lineEnd > limits.targetBytesMax + LINE_REST_BYTES;
  return new EgressError(
    inTarget ? "TARGET_TOO_LONG" : "HEAD_TOO_LARGE",
    `head of more than ${limits.headBytesMax} bytes`,
  );
}
