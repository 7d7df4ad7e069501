/**
 * The `tracestate` field of W3C Trace Context, level 2: judged, never edited. Pure. This proxy has no entry of its own in it, so what is
 * valid goes on as it came; what is not is what others would have to discard (§3.3, and the specification's own test suite).
 */

/** Members of a list (§3.3.1.1). Empty ones do not count. */
const MEMBERS_MAX = 32;

/** `key=value` (§3.3.1.3): a value holds no comma and no equals sign, and ends in no blank. */
const MEMBER =
  /^[a-z0-9][a-z0-9_*/@-]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/;

/** Optional white space around members (RFC 9110 §5.6.3), and nothing else that `trim` would take. */
const BLANKS_AROUND = /^[ \t]+|[ \t]+$/g;

/** Whether the values of all `tracestate` fields of a message, in order, make a valid list. None at all do. */
export function isTracestate(values: readonly string[]): boolean {
  let members = 0;
  for (const value of values) {
    for (const text of value.split(",")) {
      const member = text.replace(BLANKS_AROUND, "");
      if (member === "") continue;
      members += 1;
      if (members > MEMBERS_MAX || !MEMBER.test(member)) return false;
    }
  }
  return true;
}
