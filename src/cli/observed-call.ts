/** One line of the access log → the call that it tells of. Pure; the lines hold what strangers wrote, so every field is checked. */
import { hostKind } from "../route/target-host.ts";

/** A call as its line has it. */
export interface ObservedCall {
  /** RFC 3339, UTC; "" when the line has none. */
  readonly time: string;
  /** Name of its destination. */
  readonly destination: string;
  /** Lower case, no brackets. */
  readonly host: string;
  readonly port: number;
  readonly method: string;
  /** As the log has it: secrets redacted, cut when it is long. `host:port` for CONNECT. */
  readonly path: string;
  /** The access rules refused it. */
  readonly isDenied: boolean;
}

/**
 * Codes of calls that no access rule can be made for: they named nothing that can be called, or the guard on addresses refused
 * them.
 */
const NO_TARGET: ReadonlySet<unknown> = new Set([
  "BAD_REQUEST",
  "BAD_TARGET",
  "MISDIRECTED",
  "ADDRESS_DENIED",
  "LOOP_DETECTED",
]);

/** What platforms put around a line: its text or its object under one of these keys. */
const WRAPPINGS = ["message", "record", "log", "textPayload", "jsonPayload"];

/** The call that `line` tells of; `null` when it tells of none. Text in front of the JSON, such as a time, is passed over. */
export function observedCall(line: string): ObservedCall | null {
  const record = recordIn(line);
  if (record === null || NO_TARGET.has(record.error)) return null;
  const { host, port, method, path } = record;
  if (typeof host !== "string" || !["name", "ipv4", "ipv6"].includes(hostKind(host))) return null;
  if (typeof port !== "number" || !Number.isInteger(port) || port < 1 || port > 65_535) return null;
  if (typeof method !== "string" || !/^[A-Z][A-Z0-9_-]{0,31}$/.test(method)) return null;
  if (typeof path !== "string") return null;
  return {
    time: typeof record.time === "string" && /^[0-9T:.Z-]{20,30}$/.test(record.time) ? record.time : "",
    destination: typeof record.destination === "string" ? record.destination : "",
    host: host.toLowerCase(),
    port,
    method,
    path,
    isDenied: record.acl === "denied",
  };
}

type Fields = Readonly<Record<string, unknown>>;

function recordIn(line: string): Fields | null {
  const outer = objectIn(line);
  if (outer === null || outer.event === "call") return outer;
  for (const key of WRAPPINGS) {
    const value = outer[key];
    const inner = typeof value === "string" ? objectIn(value) : isFields(value) ? value : null;
    if (inner?.event === "call") return inner;
  }
  return null;
}

function objectIn(text: string): Fields | null {
  const start = text.indexOf("{");
  if (start < 0) return null;
  try {
    const value: unknown = JSON.parse(text.slice(start));
    return isFields(value) ? value : null;
  } catch {
    return null;
  }
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
