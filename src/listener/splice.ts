/**
 * Joins two byte streams after CONNECT or 101. Both directions flow with backpressure and end on their own (half-close, RFC 9110
 * §9.3.6); when one side breaks, the other is reset, so that a break never looks like an end.
 */
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";

/** How a tunnel ended. */
export interface SpliceResult {
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** Why it broke; `null` when both directions ended. */
  readonly error: Error | null;
}

/** `done` is called once, when both streams are closed. */
export function splice(application: Socket, upstream: Duplex, done: (result: SpliceResult) => void): void {
  let bytesUp = 0;
  let bytesDown = 0;
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
  application.on("error", broke);
  upstream.on("error", broke);
  application.on("close", closed(upstream));
  upstream.on("close", closed(application));
  application.pipe(upstream);
  upstream.pipe(application);
}

function reset(stream: Duplex): void {
  const socket = stream as Partial<Socket> & Duplex;
  if (typeof socket.resetAndDestroy === "function") socket.resetAndDestroy();
  else stream.destroy();
}
