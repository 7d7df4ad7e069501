/**
 * Joins two byte streams after CONNECT or 101. Both directions flow with backpressure and end on their own (half-close, RFC 9110
 * §9.3.6); when one side breaks, the other is reset, so that a break never looks like an end.
 */
import { Socket } from "node:net";
import type { Duplex } from "node:stream";

/** How a tunnel ended. */
export interface SpliceResult {
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** Why it broke; `null` when both directions ended. */
  readonly error: Error | null;
}

/** What passed before the streams were joined, and who is told of the end. */
export interface SpliceOptions {
  readonly up: number;
  readonly down: number;
  /** Called once, when both streams are closed. */
  readonly done: (result: SpliceResult) => void;
}

/** See the file's header. */
export function splice(application: Socket, upstream: Duplex, { up, down, done }: SpliceOptions): void {
  let bytesUp = up;
  let bytesDown = down;
  let error: Error | null = null;
  let open = 2;
  application.on("data", (chunk: Buffer) => void (bytesUp += chunk.length));
  upstream.on("data", (chunk: Buffer) => void (bytesDown += chunk.length));
  const closed = (other: Duplex) => (): void => {
    // A stream that closes without having ended took its peer's bytes with it.
    if (!other.destroyed && (error !== null || !other.writableEnded)) reset(other);
    if (--open === 0) done({ bytesUp, bytesDown, error });
  };
  const broke = (reason: Error): void => void (error ??= reason);
  const watch = (stream: Duplex, whenClosed: () => void): void => {
    stream.on("error", broke);
    // The upstream may have gone between the answer and now; its close has been told then.
    if (stream.closed) queueMicrotask(whenClosed);
    else stream.on("close", whenClosed);
  };
  watch(application, closed(upstream));
  watch(upstream, closed(application));
  application.pipe(upstream);
  upstream.pipe(application);
}

/** TLS knows no reset (`TLSSocket.resetAndDestroy` throws): leaving without its close alert is what tells a break there. */
function reset(stream: Duplex): void {
  if (stream instanceof Socket && !("encrypted" in stream)) stream.resetAndDestroy();
  else stream.destroy();
}
