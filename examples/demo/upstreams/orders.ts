/** The upstream that answers with the trace headers it got. */
import { createServer } from "node:http";
import { noting, type Seen, startUpstream, type Upstream } from "./upstream.ts";

/** Its answer, as JSON; `null` for a header that did not come. */
export interface TraceHeaders {
  readonly traceparent: string | null;
  readonly xAmznTraceId: string | null;
}

/** Starts it. */
export function startOrders(port: number): Promise<Upstream> {
  const seen: Seen[] = [];
  const server = createServer(
    noting(seen, ({ headers }, response) => {
      const got: TraceHeaders = {
        traceparent: single(headers.traceparent),
        xAmznTraceId: single(headers["x-amzn-trace-id"]),
      };
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify(got));
    }),
  );
  return startUpstream(server, port, seen);
}

function single(value: string | string[] | undefined): string | null {
  return value === undefined ? null : String(value);
}
