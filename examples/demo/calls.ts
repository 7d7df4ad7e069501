/**
 * What became of the four calls of an invocation, and whether that is what a policy is for.
 *
 * Pure: from what was observed to what is shown and judged.
 */
import type { CallResult, Invocation, UpstreamName } from "./run.ts";
import type { TraceHeaders } from "./upstreams/orders.ts";
import { SERVED_PER_SECOND } from "./upstreams/search.ts";
import { FAILURES } from "./upstreams/stock.ts";

/** One call, or one burst of calls. */
export interface Call {
  readonly name: UpstreamName;
  /** What is special about the upstream. */
  readonly trait: string;
  /** What the application got. */
  readonly outcome: string;
  /** Requests (or connections that never became one) that the upstream saw. */
  readonly tries: number;
  readonly ms: number;
  /** Trace ids that the upstream saw, each once; empty when a request came without one. */
  readonly traceIds: readonly string[];
  /**
   * governed: it went as the policy wants it; ungoverned: it failed, or went through unseen, in the way that this upstream is
   * there to show; odd: neither, so that the demo proves nothing.
   */
  readonly verdict: "governed" | "ungoverned" | "odd";
}

/** The calls of `invocation`, in the order of the policy file. */
export function callsOf(invocation: Invocation): Call[] {
  const { report, seen, traceId, searchPeak } = invocation;
  const { payments, stock, search, orders } = report;
  const got = (status: number) => search.calls.filter((call) => call.status === status).length;
  const [served, refused] = [got(200), got(429)];
  const all = search.calls.length;
  const headers = orders.status === 200 ? (JSON.parse(orders.body ?? "") as TraceHeaders) : null;
  const orderSeen = seen.orders.slice(0, 1);

  const call = (
    name: UpstreamName,
    trait: string,
    observed: Pick<Call, "outcome" | "ms"> & { seen?: Invocation["seen"][UpstreamName] },
    isGoverned: boolean,
    isUngoverned: boolean,
  ): Call => {
    const { seen: requests = seen[name], ...shown } = observed;
    const ids = [...new Set(requests.map((request) => request.traceId))];
    const traceIds = ids.includes("") ? [] : ids;
    // Each request belongs to the invocation's trace, and to no other.
    const traced = traceIds.length === 1 && traceIds[0] === traceId;
    const verdict = isGoverned && traced ? "governed" : isUngoverned && !traced ? "ungoverned" : "odd";
    return { name, trait, ...shown, tries: requests.length, traceIds, verdict };
  };

  return [
    call(
      "payments",
      "client cert",
      { outcome: outcomeOf(payments), ms: payments.ms },
      payments.status === 200 && seen.payments.length === 1,
      payments.error !== undefined,
    ),
    call(
      "stock",
      "fails twice",
      { outcome: outcomeOf(stock), ms: stock.ms },
      stock.status === 200 && seen.stock.length === FAILURES + 1,
      stock.status === 503 && seen.stock.length === 1,
    ),
    call(
      "search",
      `${SERVED_PER_SECOND} a second`,
      { outcome: refused === 0 ? `${served} x 200` : `${refused} of ${all}: 429`, ms: search.ms },
      served === all && searchPeak <= SERVED_PER_SECOND,
      refused > 0 && served + refused === all && searchPeak > SERVED_PER_SECOND,
    ),
    call(
      "orders",
      "shows trace",
      {
        outcome: headers?.traceparent === null ? "200, no trace" : outcomeOf(orders),
        ms: orders.ms,
        seen: orderSeen,
      },
      headers?.xAmznTraceId?.includes(xrayRoot(traceId)) ?? false,
      headers !== null && headers.traceparent === null && headers.xAmznTraceId === null,
    ),
  ];
}

/** The middle one of the durations of the repeated call, in milliseconds. */
export function lookupMs({ report }: Invocation): number {
  const sorted = report.lookups.map(({ ms }) => ms).toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}

function outcomeOf({ status, error }: CallResult): string {
  return error ?? String(status);
}

/** The same id as X-Ray writes it ("Tracing header", AWS X-Ray Developer Guide). */
function xrayRoot(traceId: string): string {
  return `Root=1-${traceId.slice(0, 8)}-${traceId.slice(8)}`;
}
