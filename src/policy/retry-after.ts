/**
 * How long an upstream asks to be left alone, from the header fields in which upstreams say so. Pure. Whether there is time for it
 * is decided in `retry-judge.ts`.
 */
import type { FieldLines } from "../exchange.ts";
import { fieldValue, fieldValues } from "../http1/fields.ts";
import { parseRetryAfter } from "./http-date.ts";

/** The head of a response, as far as it matters here. */
export interface RefusalHead {
  readonly status: number;
  readonly fields: FieldLines;
}

/** RFC 6585 §4. */
const TOO_MANY_REQUESTS = 429;

/** Plain numbers; some services give fractions. */
const NUMBER = /^\d{1,13}(?:\.\d{1,9})?$/;

/** `X-RateLimit-Reset` has no specification: values from here on are a moment in seconds since the Unix epoch (this one is in 2001). */
const EPOCH_SECONDS_MIN = 1e9;
/** And values from here on are one in milliseconds: as seconds it would lie in the year 5138. */
const EPOCH_MS_MIN = 1e11;

/**
 * The wait that a response asks for, milliseconds: `Infinity` when it asks not to be called again, `null` when it says nothing that can
 * be read. The most exact word wins: `grpc-retry-pushback-ms` (gRFC A6, "Pushback"), `retry-after-ms`, `Retry-After` (RFC 9110
 * §10.2.3), and where a quota is used up its reset: `RateLimit` and `RateLimit-Reset` (draft-ietf-httpapi-ratelimit-headers),
 * `x-ratelimit-reset-after`, `X-RateLimit-Reset`.
 *
 * @param wallMs now, milliseconds since the Unix epoch
 */
export function askedWaitMs(head: RefusalHead, wallMs: number): number | null {
  const { fields } = head;
  const pushback = fieldValue(fields, "grpc-retry-pushback-ms");
  // A6: a value that is negative, or that cannot be read, means that the server does not want a retry.
  if (pushback !== undefined)
    return /^\d{1,10}$/.test(pushback) ? Number(pushback) : Number.POSITIVE_INFINITY;
  const exactMs = numberOf(fields, "retry-after-ms");
  if (exactMs !== null) return exactMs;
  const retryAfter = fieldValue(fields, "retry-after");
  const retryAfterMs = retryAfter === undefined ? null : parseRetryAfter(retryAfter, wallMs);
  return retryAfterMs ?? resetMs(head, wallMs);
}

/**
 * Until a quota that is used up is full again, milliseconds. Services send their quotas with every answer, so they count only where
 * the answer is a 429 or says that nothing remains: a 503 in the middle of a day's quota need not wait for the next day.
 */
function resetMs({ status, fields }: RefusalHead, wallMs: number): number | null {
  const limited = status === TOO_MANY_REQUESTS;
  const standard = fieldValues(fields, "ratelimit").join(",");
  if (standard !== "") {
    const seconds = quotaResetSeconds(standard, limited);
    if (seconds !== null) return seconds * 1000;
  }
  if (limited || numberOf(fields, "ratelimit-remaining") === 0) {
    const seconds = numberOf(fields, "ratelimit-reset");
    if (seconds !== null) return seconds * 1000;
  }
  if (!limited && numberOf(fields, "x-ratelimit-remaining") !== 0) return null;
  const afterSeconds = numberOf(fields, "x-ratelimit-reset-after");
  if (afterSeconds !== null) return afterSeconds * 1000;
  const reset = numberOf(fields, "x-ratelimit-reset");
  if (reset === null) return null;
  if (reset < EPOCH_SECONDS_MIN) return reset * 1000;
  return Math.max(0, (reset < EPOCH_MS_MIN ? reset * 1000 : reset) - wallMs);
}

/**
 * The reset of a `RateLimit` field, seconds: of several quotas the latest of those that are used up, or, in a 429 that names none
 * such, the latest of all. Reads `"name";r=0;t=30` and the form of the drafts before 08, `remaining=0, reset=30`.
 */
function quotaResetSeconds(value: string, limited: boolean): number | null {
  // The names are strings, which may hold commas and semicolons (RFC 9651 §3.3.3).
  const text = value.replace(/"(?:[^"\\]|\\.)*"/g, "");
  const older = /(?:^|[,\s])reset=(\d{1,10})\b/.exec(text);
  if (older !== null) {
    const used = limited || /(?:^|[,\s])remaining=0\b/.test(text);
    return used ? Number(older[1]) : null;
  }
  let latest: number | null = null;
  let latestUsed: number | null = null;
  for (const item of text.split(",")) {
    const reset = /;\s*t=(\d{1,10})\b/.exec(item);
    if (reset === null) continue;
    const seconds = Number(reset[1]);
    latest = Math.max(latest ?? 0, seconds);
    if (/;\s*r=0\b/.test(item)) latestUsed = Math.max(latestUsed ?? 0, seconds);
  }
  return latestUsed ?? (limited ? latest : null);
}

function numberOf(fields: FieldLines, name: string): number | null {
  const value = fieldValue(fields, name);
  return value !== undefined && NUMBER.test(value) ? Number(value) : null;
}
