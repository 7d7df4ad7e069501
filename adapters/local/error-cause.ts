/**
 * The X-Ray error cause that a runtime may add to an error, validated and cut to size.
 *
 * Owns the shape, the limit of 64 KiB and the order in which things are cut. Sources: the runtime interface emulator,
 * internal/lambda/rapi/model/{error_cause,error_cause_compactor}.go.
 */
import { goJson } from "./answers.ts";

/** Largest error cause in bytes of JSON. */
export const ERROR_CAUSE_BYTES_MAX = 64 * 1024;

/** Room for the field names when only the two texts are left. */
const FIELD_NAMES_BYTES = 4096;

/** Shares of the exceptions and paths that are tried, in this order, before both are dropped. */
const KEPT_SHARES = [0.8, 0.6, 0.4, 0.2] as const;

interface ErrorCause {
  exceptions: unknown[] | null;
  working_directory: string;
  paths: string[] | null;
  message?: string;
}

/** The cause as JSON of at most `ERROR_CAUSE_BYTES_MAX`, or `undefined` when `text` is no valid cause. */
export function errorCauseJson(text: string): string | undefined {
  const cause = parse(text);
  if (cause === undefined) return undefined;
  const whole = goJson(cause);
  if (Buffer.byteLength(whole) <= ERROR_CAUSE_BYTES_MAX) return whole;
  for (const share of KEPT_SHARES) {
    const cut = goJson({
      ...cause,
      exceptions: firstShare(cause.exceptions, share),
      paths: firstShare(cause.paths, share),
    });
    if (Buffer.byteLength(cut) <= ERROR_CAUSE_BYTES_MAX) return cut;
  }
  return goJson({
    exceptions: null,
    working_directory: crop(cause.working_directory),
    paths: null,
    ...(cause.message === undefined ? {} : { message: crop(cause.message) }),
  });
}

function parse(text: string): ErrorCause | undefined {
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const { exceptions = null, paths = null, working_directory = "", message = "" } = value;
  if (exceptions !== null && !(Array.isArray(exceptions) && exceptions.every(isException))) return undefined;
  if (paths !== null && !(Array.isArray(paths) && paths.every((path) => typeof path === "string")))
    return undefined;
  if (typeof working_directory !== "string" || typeof message !== "string") return undefined;
  if (!exceptions?.length && !paths?.length && working_directory === "" && message === "") return undefined;
  return { exceptions, working_directory, paths, ...(message === "" ? {} : { message }) };
}

function isException(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function firstShare<T>(list: T[] | null, share: number): T[] | null {
  return list === null ? null : list.slice(0, Math.trunc(list.length * share));
}

/** Both texts get half of what the field names leave. Counted in bytes; a cut character at the end is dropped. */
function crop(text: string): string {
  const lengthMax = (ERROR_CAUSE_BYTES_MAX - FIELD_NAMES_BYTES) / 2;
  const bytes = Buffer.from(text);
  if (bytes.length <= lengthMax) return text;
  return `${bytes.toString("utf8", 0, lengthMax - 3).replace(/\uFFFD+$/, "")}...`;
}
