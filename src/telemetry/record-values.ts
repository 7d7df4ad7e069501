/** How single values stand in a line: times, durations, hosts. Pure, but for the text of the latest millisecond, which is kept. */

/** RFC 3339 in UTC with milliseconds; a reading outside the calendar's range (a clock gone wild) gives the epoch. */
export function timestamp(wallMs: number): string {
  // Under load many calls end in one millisecond, and the text costs more than all the rest of a record.
  if (wallMs !== latest.wallMs) {
    latest = { wallMs, text: new Date(Math.abs(wallMs) <= CALENDAR_MS_MAX ? wallMs : 0).toISOString() };
  }
  return latest.text;
}

let latest = { wallMs: 0, text: "1970-01-01T00:00:00.000Z" };

/** ECMAScript's range of time values: 100 million days either side of the epoch. */
const CALENDAR_MS_MAX = 8.64e15;

/** Three decimals: a microsecond is finer than what a shared machine can tell. */
export function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

/** Capture refuses userinfo; should some come through, it is not written. */
export function withoutUserinfo(host: string): string {
  return host.slice(host.lastIndexOf("@") + 1);
}
