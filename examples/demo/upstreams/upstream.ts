/**
 * What the four upstreams have in common: they listen on loopback and remember the requests that they saw.
 *
 * The address is 127.0.0.2 and not 127.0.0.1, because the latter is the sandbox itself (the Runtime API listens there), which the
 * exec wrapper never sends through the proxy.
 */
import type { IncomingMessage, RequestListener } from "node:http";
import type { Server } from "node:net";

/** All of 127.0.0.0/8 is loopback (RFC 1122 §3.2.1.3); Linux answers on it unasked, macOS on 127.0.0.1 only. */
export const UPSTREAM_ADDRESS = "127.0.0.2";

/** A request as an upstream saw it. */
export interface Seen {
  readonly path: string;
  /** The trace id of its `traceparent`, 32 hex digits; "" without one. */
  readonly traceId: string;
}

/** An upstream that listens. */
export interface Upstream {
  readonly port: number;
  /** What arrived since it was asked the last time, oldest first. */
  take(): readonly Seen[];
  close(): Promise<void>;
}

/** The upstream cannot listen. The message names the address, the reason and the remedy. */
export class UpstreamError extends Error {}

/** Takes notes, then lets `answer` answer. */
export function noting(seen: Seen[], answer: RequestListener): RequestListener {
  return (request, response) => {
    seen.push({ path: request.url ?? "", traceId: traceIdOf(request) });
    answer(request, response);
  };
}

/**
 * Makes `server` listen on `port`, or on a free one when that is taken.
 * @throws UpstreamError
 */
export async function startUpstream(
  server: Server & { closeAllConnections(): void },
  port: number,
  seen: Seen[],
): Promise<Upstream> {
  const listening = await listen(server, port).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EADDRINUSE") throw refusal(error);
    return listen(server, 0).catch((again: NodeJS.ErrnoException) => {
      throw refusal(again);
    });
  });
  return {
    port: listening,
    take: () => seen.splice(0),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, UPSTREAM_ADDRESS, () => {
      server.off("error", reject);
      resolve((server.address() as { port: number }).port);
    });
  });
}

function refusal({ code, message }: NodeJS.ErrnoException): UpstreamError {
  return new UpstreamError(
    code === "EADDRNOTAVAIL"
      ? `${UPSTREAM_ADDRESS} is not an address of this machine; on macOS, add it with: sudo ifconfig lo0 alias ${UPSTREAM_ADDRESS}`
      : `the demo's upstreams cannot listen on ${UPSTREAM_ADDRESS}: ${message}`,
  );
}

function traceIdOf({ headers }: IncomingMessage): string {
  const parent = /^[0-9a-f]{2}-([0-9a-f]{32})-/.exec(String(headers.traceparent ?? ""));
  return parent?.[1] ?? "";
}
