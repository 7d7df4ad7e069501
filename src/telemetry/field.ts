/**
 * The bound on one field of a log line.
 *
 * Owns the cutting; escaping is done by the log, so the cost of each character's escape is known here and counted.
 */

/** Bytes that one text may take in a line, escapes included. Overflow: cut, with three dots at the end. */
export const FIELD_BYTES_MAX = 1024;

/** `\u001b`: the longest escape of one UTF-16 unit. */
const ESCAPE_BYTES = 6;

const CUT = "...";

/** `text`, cut so that it takes at most `bytesMax` bytes in a line of escaped ASCII. The same string when it fits. */
export function field(text: string, bytesMax: number = FIELD_BYTES_MAX): string {
  if (text.length * ESCAPE_BYTES <= bytesMax) return text;
  let bytes = 0;
  let keepLength = 0;
  for (let at = 0; at < text.length; at++) {
    bytes += escapedBytes(text.charCodeAt(at));
    if (bytes > bytesMax) return text.slice(0, keepLength) + CUT;
    if (bytes <= bytesMax - CUT.length) keepLength = at + 1;
  }
  return text;
}

/** Bytes of one UTF-16 unit in a JSON string (RFC 8259 §7) in which everything outside printable ASCII is escaped. */
function escapedBytes(unit: number): number {
  if (unit === 0x22 || unit === 0x5c) return 2;
  return unit >= 0x20 && unit <= 0x7e ? 1 : ESCAPE_BYTES;
}

/**
 * A copy of latin1 `text` that shares no memory with it. V8 cuts a string of 13 characters or more out of a head without
 * copying; keeping that slice would keep the whole head, with its credentials, for as long as the record waits.
 */
export function detached(text: string): string {
  if (text.length < SLICE_CHARS_MIN || text.length > scratch.length) return text;
  scratch.latin1Write(text, 0);
  return scratch.latin1Slice(0, text.length);
}

/** Shorter pieces are copied by V8 itself (`SlicedString::kMinLength`). */
const SLICE_CHARS_MIN = 13;

const scratch: Buffer = Buffer.allocUnsafeSlow(FIELD_BYTES_MAX);
