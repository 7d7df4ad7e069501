/** Where a head begins and ends in what has arrived. Knows no sockets. */

/** `text` holds no whole head yet, a whole one from `start` to `end`, or something that can never become one. */
export type HeadSpan =
  | { readonly kind: "partial" }
  | { readonly kind: "whole"; readonly start: number; readonly end: number; readonly next: number }
  | { readonly kind: "hopeless"; readonly why: string };

const PARTIAL: HeadSpan = { kind: "partial" };

/** Empty lines before a request line that are skipped (RFC 9112 §2.2 says at least one). */
const EMPTY_LINES_MAX = 4;

/**
 * `text` is latin1. `end` is behind the last field line's CRLF, `next` behind the empty line. A bare LF is hopeless at once:
 * waiting for more would only wait for the head timeout.
 */
export function findHead(text: string): HeadSpan {
  let start = 0;
  while (text.charCodeAt(start) === 13 && text.charCodeAt(start + 1) === 10) {
    start += 2;
    if (start > EMPTY_LINES_MAX * 2) return { kind: "hopeless", why: "empty lines instead of a head" };
  }
  const close = text.indexOf("\r\n\r\n", start);
  if (close >= 0) return { kind: "whole", start, end: close + 2, next: close + 4 };
  if (/(?:^|[^\r])\n|\r[^\n]/.test(text)) return { kind: "hopeless", why: "bare CR or LF in a head" };
  return PARTIAL;
}
