/** The upstream that fails twice before it answers. */
import { createServer } from "node:http";
import { noting, type Seen, startUpstream, type Upstream } from "./upstream.ts";

/** How often the first calls of each path are answered with 503. */
export const FAILURES = 2;

/** Starts it. */
export function startStock(port: number): Promise<Upstream> {
  const seen: Seen[] = [];
  const triesOf = new Map<string, number>();
  const server = createServer(
    noting(seen, (request, response) => {
      const tries = (triesOf.get(request.url ?? "") ?? 0) + 1;
      triesOf.set(request.url ?? "", tries);
      if (tries <= FAILURES) response.writeHead(503).end("try again");
      else response.end("42 left");
    }),
  );
  return startUpstream(server, port, seen);
}
