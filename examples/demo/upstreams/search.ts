/** The upstream that counts calls per second and must be spared. */
import { createServer } from "node:http";
import { noting, type Seen, startUpstream, type Upstream } from "./upstream.ts";

/** Calls that it serves in any one second. One more gets 429. */
export const SERVED_PER_SECOND = 25;

/** An upstream that knows how hard it was pressed. */
export interface SearchUpstream extends Upstream {
  /** The most calls that arrived within one second, since it was asked the last time. */
  takePeak(): number;
}

/** Starts it. */
export async function startSearch(port: number): Promise<SearchUpstream> {
  const seen: Seen[] = [];
  let arrivals: number[] = [];
  let served: number[] = [];
  let peak = 0;
  const server = createServer(
    noting(seen, (_request, response) => {
      const nowMs = performance.now();
      const recent = (atMs: number) => nowMs - atMs < 1000;
      arrivals = [...arrivals.filter(recent), nowMs];
      served = served.filter(recent);
      peak = Math.max(peak, arrivals.length);
      if (served.length >= SERVED_PER_SECOND) {
        response.writeHead(429).end("slow down");
        return;
      }
      served.push(nowMs);
      response.end("a suggestion");
    }),
  );
  const upstream = await startUpstream(server, port, seen);
  return {
    ...upstream,
    takePeak() {
      const highest = peak;
      peak = 0;
      return highest;
    },
  };
}
