/**
 * HTTP-date (RFC 9110 §5.6.7) and the field that carries it or a number, Retry-After (RFC 9110 §10.2.3). Pure. Stricter than
 * `Date.parse`, which reads almost anything as some date.
 */

const IMF_FIXDATE = /^[A-Z][a-z]{2}, (\d\d) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT$/;
const RFC850_DATE = /^[A-Z][a-z]{5,8}, (\d\d)-([A-Z][a-z]{2})-(\d\d) (\d\d):(\d\d):(\d\d) GMT$/;
const ASCTIME_DATE = /^[A-Z][a-z]{2} ([A-Z][a-z]{2}) ([ \d]\d) (\d\d):(\d\d):(\d\d) (\d{4})$/;

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/**
 * The moment that an HTTP-date names, milliseconds since the Unix epoch; `null` when it is none. All three forms are understood.
 *
 * @param wallMs now; a year of two digits more than 50 years ahead of it is in the past century
 */
export function parseHttpDate(text: string, wallMs: number): number | null {
  const imf = IMF_FIXDATE.exec(text);
  if (imf !== null) return moment(Number(imf[3]), imf[2]!, imf[1]!, imf.slice(4));
  const rfc850 = RFC850_DATE.exec(text);
  if (rfc850 !== null)
    return moment(fullYear(Number(rfc850[3]), wallMs), rfc850[2]!, rfc850[1]!, rfc850.slice(4));
  const asctime = ASCTIME_DATE.exec(text);
  return asctime === null ? null : moment(Number(asctime[6]), asctime[1]!, asctime[2]!, asctime.slice(3, 6));
}

function fullYear(twoDigits: number, wallMs: number): number {
  const thisYear = new Date(wallMs).getUTCFullYear();
  const year = thisYear - (thisYear % 100) + twoDigits;
  return year > thisYear + 50 ? year - 100 : year;
}

function moment(year: number, monthName: string, day: string, time: readonly string[]): number | null {
  const month = MONTHS.indexOf(monthName);
  const [hour, minute, second] = time.map(Number) as [number, number, number];
  if (month < 0 || hour > 23 || minute > 59 || second > 60) return null;
  const ms = Date.UTC(year, month, Number(day), hour, minute, second);
  return new Date(ms).getUTCDate() === Number(day) || second === 60 ? ms : null;
}

/** The time that a Retry-After value asks to wait, milliseconds from `wallMs`, 0 for a date that has passed; `null` when malformed. */
export function parseRetryAfter(value: string, wallMs: number): number | null {
  if (/^\d{1,10}$/.test(value)) return Number(value) * 1000;
  const at = parseHttpDate(value, wallMs);
  return at === null ? null : Math.max(0, at - wallMs);
}
