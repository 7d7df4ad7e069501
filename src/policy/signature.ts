/**
 * What an AWS Signature Version 4 (or 4A) on a request covers and until when it holds (AWS IAM User Guide, "Create a signed AWS
 * API request"). Pure. Nothing is signed or verified here; the other stages ask so that they leave a signed request intact.
 */
import type { FieldLines } from "../exchange.ts";
import { fieldValue } from "../http1/fields.ts";
import { parseHttpDate } from "./http-date.ts";

/** Services accept a signature that is 5 minutes old; older ones are refused as skewed clocks. */
const SIGNATURE_AGE_MS_MAX = 300_000;

const AUTHORIZATION = /^AWS4-[^,]*?\s.*?SignedHeaders=([^,\s]+)/;
const QUERY_SIGNED_HEADERS = /[?&]X-Amz-SignedHeaders=([^&#]*)/;
const QUERY_DATE = /[?&]X-Amz-Date=([^&#]*)/;
const QUERY_EXPIRES = /[?&]X-Amz-Expires=(\d{1,6})(?:[&#]|$)/;
const BASIC_DATE = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/;

/** The names of the headers that are signed, lower case, as `;a;b;`; "" for a request without a signature. */
export function signedHeaders(fields: FieldLines, path: string): string {
  // Both forms have this word; nearly all requests have neither.
  if (!fields.includes("SignedHeaders=") && !path.includes("SignedHeaders=")) return "";
  const authorization = fieldValue(fields, "authorization");
  if (authorization !== undefined) {
    const listed = AUTHORIZATION.exec(authorization);
    if (listed !== null) return `;${listed[1]!.toLowerCase()};`;
  }
  const presigned = QUERY_SIGNED_HEADERS.exec(path);
  return presigned === null ? "" : `;${presigned[1]!.replaceAll(/%3b/gi, ";").toLowerCase()};`;
}

/** Whether a list from `signedHeaders` holds `name` (lower case). */
export function isSigned(list: string, name: string): boolean {
  return list !== "" && list.includes(`;${name};`);
}

/**
 * When the request's signature stops being accepted, milliseconds since the Unix epoch: `Infinity` for a request without one,
 * `-Infinity` for one whose date cannot be read. A presigned URL states its own life in X-Amz-Expires (seconds).
 */
export function signatureEndsMs(fields: FieldLines, path: string, wallMs: number): number {
  if (signedHeaders(fields, path) === "") return Number.POSITIVE_INFINITY;
  const stamp = fieldValue(fields, "x-amz-date") ?? QUERY_DATE.exec(path)?.[1];
  const date = stamp === undefined ? fieldValue(fields, "date") : undefined;
  const signedMs = stamp === undefined ? parseHttpDate(date ?? "", wallMs) : parseBasicDate(stamp);
  if (signedMs === null) return Number.NEGATIVE_INFINITY;
  const expires = QUERY_EXPIRES.exec(path)?.[1];
  return signedMs + (expires === undefined ? SIGNATURE_AGE_MS_MAX : Number(expires) * 1000);
}

function parseBasicDate(stamp: string): number | null {
  if (!BASIC_DATE.test(stamp)) return null;
  const ms = Date.parse(stamp.replace(BASIC_DATE, "$1-$2-$3T$4:$5:$6Z"));
  return Number.isNaN(ms) ? null : ms;
}
