/** The `traceparent` field of W3C Trace Context, level 2: read and written. Pure. */

/** Flag: the caller may have recorded the trace. */
export const SAMPLED = 0x01;
/** Flag of level 2: at least the right 56 bits of the trace id are random. */
export const RANDOM_TRACE_ID = 0x02;

/** A valid `traceparent`. */
export interface Traceparent {
  /** 32 lower-case hex digits, not all zero. */
  readonly traceId: string;
  /** 16 lower-case hex digits, not all zero. */
  readonly parentId: string;
  /** The flags that level 2 knows; others are zero, as they have to be on output (§3.2.2.5). */
  readonly flags: number;
}

/** Version `ff` is forbidden; a version above 00 may go on behind a hyphen (§3.2.4). */
const TRACEPARENT =
  /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/** Reads a value; `null` when it is invalid. */
export function parseTraceparent(value: string): Traceparent | null {
  const parts = TRACEPARENT.exec(value);
  if (parts === null || (parts[1] === "00" && parts[5] !== undefined)) return null;
  const flags = Number.parseInt(parts[4]!, 16) & (SAMPLED | RANDOM_TRACE_ID);
  return { traceId: parts[2]!, parentId: parts[3]!, flags };
}

/** The end of a value, by its flags: ready-made, since each piece that is joined costs every call. */
const FLAGS = ["-00", "-01", "-02", "-03"];

/** Writes a value of version 00, the one that this proxy implements. `flags` are those of this file. */
export function formatTraceparent(traceId: string, spanId: string, flags: number): string {
  return `00-${traceId}-${spanId}${FLAGS[flags]}`;
}
