/**
 * Makes each attempt a span of a trace: continues the application's own context, or begins one under the running invocation.
 *
 * Owns what goes into the header fields; reading and writing the formats is in traceparent.ts and xray.ts, ids are drawn by the
 * source that is handed in. A field that a signature covers is never touched.
 */
import type { RoutePolicy } from "../config/types.ts";
import type { EgressRequest, FieldLines, Policy } from "../exchange.ts";
import { fieldValue, fieldValues, nameAt, withField, withoutField } from "../http1/fields.ts";
import type { RandomSource } from "./random.ts";
import { isSigned, signedHeaders } from "./signature.ts";
import { formatTraceparent, parseTraceparent, RANDOM_TRACE_ID, SAMPLED } from "./traceparent.ts";
import { isTracestate } from "./tracestate.ts";
import { formatXray, type ParentSlot, parentSlot, parseXray } from "./xray.ts";

/** Formats to write, of a route's policy. */
export type TraceFormats = RoutePolicy["propagate"];

/** The trace that a span is put into. */
export interface TraceOrigin {
  /** 32 lower-case hex digits. */
  readonly traceId: string;
  /** Flags of `traceparent`. */
  readonly flags: number;
}

/** The trace of an invocation. */
export interface InvocationTrace extends TraceOrigin {
  /** Its X-Amzn-Trace-Id value, whose Lineage and unknown fields go on; `null` for an invocation that came with a `traceparent`. */
  readonly xray: ParentSlot | null;
}

/** Longest trace value of an invocation that is continued, characters. Overflow: it is ignored. */
const INVOCATION_TRACE_LENGTH_MAX = 1024;

/**
 * The stage. Stands inside the retry loop, so that each attempt is a span of its own. CONNECT is left alone: its head ends at the
 * tunnel's other end.
 *
 * @param workTrace the running invocation's trace as the platform gave it, "" for none
 */
export function traceContext(formats: TraceFormats, random: RandomSource, workTrace: () => string): Policy {
  let read = "";
  let invocation: InvocationTrace | null = null;

  return (next) => (request) => {
    if (request.method === "CONNECT") return next(request);
    const trace = workTrace();
    if (trace !== read) {
      read = trace;
      invocation = invocationTrace(trace);
    }
    const spanId = random.spanId();
    const { traceId, fields } = withSpan(formats, request, spanId, invocation, random);
    request.trail.push({ kind: "trace", traceId, spanId });
    return next(request.with({ fields }));
  };
}

/** The trace that an earlier attempt of the call is in. */
function earlierTraceId(request: Pick<EgressRequest, "attempt" | "trail">): string | undefined {
  if (request.attempt === 1) return undefined;
  return request.trail.find((entry) => entry.kind === "trace")?.traceId;
}

/** Reads the invocation's trace, an X-Amzn-Trace-Id value or a `traceparent`; `null` when it is neither. */
export function invocationTrace(text: string): InvocationTrace | null {
  // It comes from the platform, not in a head whose characters have been checked.
  if (text.length > INVOCATION_TRACE_LENGTH_MAX || !/^[\x20-\x7e]+$/.test(text)) return null;
  const parent = parseTraceparent(text);
  if (parent !== null) return { traceId: parent.traceId, flags: parent.flags, xray: null };
  const origin = xrayOrigin(text);
  return origin && { ...origin, xray: parentSlot(text, origin.traceId) };
}

/** An undecided trace counts as sampled: this proxy notes every call, which is what the flag says. */
function xrayOrigin(value: string): TraceOrigin | null {
  const trace = parseXray(value);
  return trace && { traceId: trace.traceId, flags: trace.sampled === false ? 0 : SAMPLED };
}

/**
 * The fields of `request` with `spanId` as the parent of what the upstream does, and the trace that the span is in: that of the
 * application's `traceparent`, else of its X-Amzn-Trace-Id, else the invocation's, else the one of the call's earlier attempts, else a
 * new one.
 */
export function withSpan(
  formats: TraceFormats,
  request: Pick<EgressRequest, "fields" | "path" | "attempt" | "trail">,
  spanId: string,
  invocation: InvocationTrace | null,
  random: Pick<RandomSource, "traceId">,
): { readonly traceId: string; readonly fields: FieldLines } {
  const { fields, path } = request;
  const carried = carriesTrace(fields);
  const parents = carried ? fieldValues(fields, "traceparent") : [];
  // Two of them are as invalid as a malformed one (§4.3).
  const parent = parents.length === 1 ? parseTraceparent(parents[0]!) : null;
  const xray = carried ? fieldValue(fields, "x-amzn-trace-id") : undefined;
  const origin: TraceOrigin = parent ??
    (xray === undefined ? null : xrayOrigin(xray)) ??
    invocation ?? {
      traceId: earlierTraceId(request) ?? random.traceId(),
      flags: SAMPLED | RANDOM_TRACE_ID,
    };
  const signed = signedHeaders(fields, path);
  let out = fields;
  if (formats.includes("tracecontext") && !isSigned(signed, "traceparent")) {
    // A tracestate whose traceparent is missing or invalid belongs to no trace any more (§4.3), an invalid one to nobody (§3.3).
    if (carried && !isSigned(signed, "tracestate")) {
      if (parent === null || !isTracestate(fieldValues(out, "tracestate"))) {
        out = withoutField(out, "tracestate");
      }
    }
    const value = formatTraceparent(origin.traceId, spanId, origin.flags);
    out = carried ? withField(out, "traceparent", value) : `${out}traceparent: ${value}\r\n`;
  }
  if (formats.includes("xray") && !isSigned(signed, "x-amzn-trace-id")) {
    const slot = xray === undefined ? (invocation?.xray ?? null) : parentSlot(xray, origin.traceId);
    const value =
      slot === null
        ? formatXray(origin.traceId, spanId, (origin.flags & SAMPLED) !== 0)
        : slot.before + spanId + slot.after;
    out = carried ? withField(out, "x-amzn-trace-id", value) : `${out}x-amzn-trace-id: ${value}\r\n`;
  }
  return { traceId: origin.traceId, fields: out };
}

const LOWER_CASE = 0x20;
const T = 116;
const X = 120;

/** Whether any field of a trace is there. One walk that looks at first letters: most calls have none, and this is every call's way. */
function carriesTrace(fields: FieldLines): boolean {
  for (let at = 0; at < fields.length; at = fields.indexOf("\n", at) + 1) {
    const initial = fields.charCodeAt(at) | LOWER_CASE;
    if (initial === T && (nameAt(fields, at, "traceparent:") || nameAt(fields, at, "tracestate:")))
      return true;
    if (initial === X && nameAt(fields, at, "x-amzn-trace-id:")) return true;
  }
  return false;
}
