/**
 * The `X-Amzn-Trace-Id` field (AWS X-Ray Developer Guide, "Tracing header"): read, and edited so that what is not understood stays.
 * Pure. Lineage in particular must survive: without it AWS Lambda cannot see that functions call each other in a loop.
 */

/** The parts of a value with a valid Root. */
export interface XrayTrace {
  /** Root as a W3C trace id: without its version and hyphens, lower case. */
  readonly traceId: string;
  /** `null` when undecided (`?`) or not stated. */
  readonly sampled: boolean | null;
}

const ROOT = /(?:^|;) *Root=1-([0-9a-f]{8})-([0-9a-f]{24}) *(?=;|$)/i;
const ANY_ROOT = /(?:^|;) *Root=[^;]*/i;
const PARENT = /((?:^|;) *Parent=)[^;]*/i;
const SAMPLED = /(?:^|;) *Sampled=([01]) *(?=;|$)/i;

/** Reads a value; `null` when it has no valid Root. */
export function parseXray(value: string): XrayTrace | null {
  const root = ROOT.exec(value);
  if (root === null) return null;
  const sampled = SAMPLED.exec(value)?.[1];
  return {
    traceId: (root[1]! + root[2]!).toLowerCase(),
    sampled: sampled === undefined ? null : sampled === "1",
  };
}

/** Writes a value of its own. */
export function formatXray(traceId: string, spanId: string, sampled: boolean): string {
  return `${formatRoot(traceId)};Parent=${spanId}${sampled ? ";Sampled=1" : ";Sampled=0"}`;
}

/** A value cut open where its Parent stands: `before`, a span id and `after` make a value again. */
export interface ParentSlot {
  readonly before: string;
  readonly after: string;
}

/**
 * Cuts `value` open at its Parent; everything else keeps its text and place. A value without a Parent gets one behind its Root, one
 * without a valid Root gets `traceId` as Root, since a parent means nothing without it.
 */
export function parentSlot(value: string, traceId: string): ParentSlot {
  const rooted = ROOT.test(value)
    ? value
    : `${formatRoot(traceId)};${value.replace(ANY_ROOT, "").replace(/^;/, "")}`;
  const parent = PARENT.exec(rooted);
  if (parent !== null) {
    const before = rooted.slice(0, parent.index) + parent[1]!;
    return { before, after: rooted.slice(parent.index + parent[0].length) };
  }
  const root = ANY_ROOT.exec(rooted)!;
  const end = root.index + root[0].length;
  return { before: `${rooted.slice(0, end)};Parent=`, after: rooted.slice(end) };
}

function formatRoot(traceId: string): string {
  return `Root=1-${traceId.slice(0, 8)}-${traceId.slice(8)}`;
}
