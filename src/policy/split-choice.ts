/** Which side of a split a call is on, and what keeps its caller there. Pure, but for the memory of the last invocation's trace. */
import type { SplitTarget } from "../config/types.ts";
import type { FieldLines } from "../exchange.ts";
import { fieldFinder, fieldValue } from "../http1/fields.ts";
import { invocationTrace } from "./trace-context.ts";
import { parseTraceparent } from "./traceparent.ts";
import { parseXray } from "./xray.ts";

/**
 * The target for a call at `point` in [0, 1); `null`: it stays where it is. The targets have the beginning of the range in their order,
 * so that a greater weight for the last of them (or for the only one) takes nobody off the side that he is on.
 */
export function chooseSplit(targets: readonly SplitTarget[], point: number): SplitTarget | null {
  let share = 0;
  for (const target of targets) {
    share += target.weight;
    if (point * 100 < share) return target;
  }
  return null;
}

const findTrace = fieldFinder(["traceparent", "x-amzn-trace-id"]);

/**
 * The id of the trace that a call belongs to, 32 lower-case hex digits: the application's `traceparent`, its X-Amzn-Trace-Id, else
 * `workTraceId`, the invocation's own ("" for none).
 */
export function traceKey(fields: FieldLines, workTraceId: string): string {
  if (findTrace(fields) === 0) return workTraceId;
  const traceparent = fieldValue(fields, "traceparent");
  const parent = traceparent === undefined ? null : parseTraceparent(traceparent);
  if (parent !== null) return parent.traceId;
  const xray = fieldValue(fields, "x-amzn-trace-id");
  return (xray === undefined ? null : parseXray(xray))?.traceId ?? workTraceId;
}

/**
 * The id of the running invocation's trace, "" for none; read once for each invocation.
 *
 * @param workTrace its trace as the platform gave it, "" for none
 */
export function workTraceReader(workTrace: () => string): () => string {
  let read = "";
  let id = "";
  return () => {
    const trace = workTrace();
    if (trace !== read) {
      read = trace;
      id = invocationTrace(trace)?.traceId ?? "";
    }
    return id;
  };
}
