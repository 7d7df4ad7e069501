/**
 * The notations of the policy file for quantities and conditions: durations, sizes, rates, instants, sets of statuses, read and
 * written.
 *
 * Pure text ⇄ number functions; a text that does not have the form gives `null`. Bounds of single keys are in `schema.ts`.
 */

const DURATION_UNITS_MS: readonly (readonly [string, number])[] = [
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1000],
  ["ms", 1],
];

/** Decimal prefixes are SI, binary ones IEC 80000-13: `16kB` is 16 000 bytes, `16KiB` is 16 384. */
const SIZE_UNITS_BYTES: readonly (readonly [string, number])[] = [
  ["MiB", 1024 * 1024],
  ["MB", 1_000_000],
  ["KiB", 1024],
  ["kB", 1000],
  ["B", 1],
];

const RATE_UNITS_S: readonly (readonly [string, number])[] = [
  ["s", 1],
  ["m", 60],
  ["h", 3600],
];

/** Regular expressions of the notations, as the JSON Schema shows them. Nine digits keep every product a safe integer. */
export const DURATION_PATTERN = "[0-9]{1,9}(ms|s|m|h)";
export const SIZE_PATTERN = "[0-9]{1,9}(B|kB|KiB|MB|MiB)";
export const RATE_PATTERN = "[1-9][0-9]{0,8}/(s|m|h)";

const DURATION = /^([0-9]{1,9})(ms|s|m|h)$/;
const SIZE = /^([0-9]{1,9})(B|kB|KiB|MB|MiB)$/;
const RATE = /^([1-9][0-9]{0,8})\/(s|m|h)$/;
const STATUS_RANGE = /^([45][0-9]{2})-([45][0-9]{2})$/;
const STATUS_CLASS = /^([45])xx$/;

/** Milliseconds of `250ms`, `8s`, `2m` or `1h`. */
export function parseDuration(text: string): number | null {
  return parseWithUnit(DURATION, DURATION_UNITS_MS, text);
}

/** Milliseconds in the largest unit that divides them. */
export function formatDuration(ms: number): string {
  return formatWithUnit(DURATION_UNITS_MS, ms, "0ms");
}

/** Bytes of `512B`, `16kB`, `64KiB`, `1MB` or `1MiB`. */
export function parseSize(text: string): number | null {
  return parseWithUnit(SIZE, SIZE_UNITS_BYTES, text);
}

/** Bytes in the largest unit that divides them. */
export function formatSize(bytes: number): string {
  return formatWithUnit(SIZE_UNITS_BYTES, bytes, "0B");
}

/** Events per second of `100/s`, `600/m` or `30/h`. */
export function parseRate(text: string): number | null {
  const match = RATE.exec(text);
  if (match === null) return null;
  const [, seconds] = RATE_UNITS_S.find(([unit]) => unit === match[2])!;
  return Number(match[1]) / seconds;
}

/** Events per second in the smallest unit that makes a whole number, per hour and rounded when none does. */
export function formatRate(perSecond: number): string {
  for (const [unit, seconds] of RATE_UNITS_S) {
    const count = Math.round(perSecond * seconds);
    if (unit === "h" || Math.abs(perSecond * seconds - count) < 1e-6) return `${count}/${unit}`;
  }
  return `${perSecond}/s`;
}

/** Statuses of one entry of `retry.on`: 503, "502-504" or "5xx"; `null` when it is none of these. */
export function parseStatuses(entry: number | string): readonly number[] | null {
  if (typeof entry === "number") {
    return Number.isInteger(entry) && entry >= 400 && entry <= 599 ? [entry] : null;
  }
  const range = STATUS_RANGE.exec(entry);
  if (range !== null) return statusRange(Number(range[1]), Number(range[2]));
  const hundreds = STATUS_CLASS.exec(entry);
  if (hundreds !== null) return statusRange(Number(hundreds[1]) * 100, Number(hundreds[1]) * 100 + 99);
  return null;
}

/** Sorted statuses as the file may write them: `429, 502-504`. */
export function formatStatuses(statuses: readonly number[]): string {
  const parts: string[] = [];
  for (let i = 0; i < statuses.length; i++) {
    const first = statuses[i]!;
    while (statuses[i + 1] === statuses[i]! + 1) i++;
    const last = statuses[i]!;
    parts.push(last === first ? `${first}` : last === first + 1 ? `${first}, ${last}` : `${first}-${last}`);
  }
  return parts.join(", ");
}

function statusRange(first: number, last: number): readonly number[] | null {
  if (last < first) return null;
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

function parseWithUnit(
  form: RegExp,
  units: readonly (readonly [string, number])[],
  text: string,
): number | null {
  const match = form.exec(text);
  if (match === null) return null;
  const [, factor] = units.find(([unit]) => unit === match[2])!;
  return Number(match[1]) * factor;
}

function formatWithUnit(units: readonly (readonly [string, number])[], value: number, zero: string): string {
  if (value === 0) return zero;
  const [unit, factor] = units.find(([, size]) => value % size === 0) ?? units.at(-1)!;
  return `${value / factor}${unit}`;
}

/** Names of the gRPC status codes 1 to 16 (gRPC, "Status codes and their use in gRPC"), in the notation of the policy file. */
export const GRPC_CONDITIONS: readonly string[] = [
  "cancelled",
  "unknown",
  "invalid_argument",
  "deadline_exceeded",
  "not_found",
  "already_exists",
  "permission_denied",
  "resource_exhausted",
  "failed_precondition",
  "aborted",
  "out_of_range",
  "unimplemented",
  "internal",
  "unavailable",
  "data_loss",
  "unauthenticated",
].map((name) => `grpc_${name}`);

/** The value of `grpc-status` that `grpc_unavailable` and its like stand for, or `null`. */
export function grpcStatusNamed(entry: number | string): number | null {
  const at = GRPC_CONDITIONS.indexOf(String(entry));
  return at < 0 ? null : at + 1;
}

const INSTANT = /^(\d{4}-\d{2}-\d{2})(T\d{2}:\d{2}(?::\d{2})?(?:Z|[+-]\d{2}:\d{2}))?$/;

/**
 * Epoch milliseconds of `2027-01-31` (its beginning, UTC) or `2027-01-31T12:00:00Z` (ISO 8601, with an offset). A day that the
 * calendar does not have gives `null`.
 */
export function parseInstant(text: string): number | null {
  const match = INSTANT.exec(text);
  if (match === null) return null;
  const dayMs = Date.parse(`${match[1]}T00:00:00Z`);
  // `Date` reads 30 February as 2 March.
  if (Number.isNaN(dayMs) || new Date(dayMs).toISOString().slice(0, 10) !== match[1]) return null;
  const instantMs = match[2] === undefined ? dayMs : Date.parse(text);
  return Number.isNaN(instantMs) ? null : instantMs;
}

/** Epoch milliseconds as ISO 8601 in UTC, without the fraction of a second. */
export function formatInstant(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d{3}Z$/, "Z");
}

/** The header of a condition such as `header:x-should-retry`, in lower case, or `null`. */
export function headerNamed(entry: number | string): string | null {
  const match = /^header:([!#$%&'*+.^_`|~0-9A-Za-z-]{1,100})$/.exec(String(entry));
  return match === null ? null : match[1]!.toLowerCase();
}

/** Statuses of a list such as `retry.on`, sorted, each once. */
export function statusesOf(on: readonly (number | string)[]): readonly number[] {
  const statuses = on.flatMap((entry) => parseStatuses(entry) ?? []);
  return [...new Set(statuses)].sort((a, b) => a - b);
}

/** Values of `grpc-status` of a list such as `retry.on`, sorted, each once. */
export function grpcStatusesOf(on: readonly (number | string)[]): readonly number[] {
  const statuses = on.flatMap((entry) => grpcStatusNamed(entry) ?? []);
  return [...new Set(statuses)].sort((a, b) => a - b);
}

/** Conditions of `retry.on` that are not statuses and not headers. */
export const RETRY_CONDITIONS = [
  "connect_failure",
  "reset_before_response",
  "refused_stream",
  "per_try_timeout",
] as const;

/** Milliseconds of a duration; 0 for `off`. */
export function msOrOff(text: string): number {
  return text === "off" ? 0 : parseDuration(text)!;
}

/** Bytes of a size; 0 for `off`. */
export function bytesOrOff(text: string): number {
  return text === "off" ? 0 : parseSize(text)!;
}

/** A number; 0 for `off`. */
export function countOrOff(value: number | "off"): number {
  return value === "off" ? 0 : value;
}

/** A header's name in lower case; "" for `off`. */
export function headerOrOff(name: string): string {
  return name === "off" ? "" : name.toLowerCase();
}
