/**
 * Joins two byte streams after CONNECT or 101. Both directions flow with backpressure and end on their own (half-close, RFC 9110
 * §9.3.6); when one side breaks, the other is reset, so that a break never looks like an end.
 */
import type { Duplex } from "node:stream";
import { EgressError } from "../errors.ts";
import { Patience } from "../patience.ts";
import { flow } from "./flow.ts";
import { reset } from "./reset.ts";

/** How a tunnel ended. */
export interface SpliceResult {
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** Why it broke, and who is to blame; `null` when both directions ended. */
  readonly error: EgressError | null;
}

/** What passed before the streams were joined, and who is told of the end. */
export interface SpliceOptions {
  readonly up: number;
  readonly down: number;
  /** Called once, when both streams are closed. */
  readonly done: (result: SpliceResult) => void;
}

/** Two streams that are joined. */
export interface Splice {
  /** Bytes that wait here for a side that is slow to take them. */
  readonly bufferedBytes: number;
  /** Called every second or so, `Clock.now()` milliseconds: breaks both sides when no byte has passed for `idleMs`; 0: never. */
  sweep(nowMs: number, idleMs: number): void;
}

/** See the file's header. */
export function splice(application: Duplex, upstream: Duplex, { up, down, done }: SpliceOptions): Splice {
  let error: EgressError | null = null;
  let open = 2;
  const closed = (other: Duplex) => (): void => {
    // A stream that closes without having ended took its peer's bytes with it.
    if (!other.destroyed && (error !== null || !other.writableEnded)) reset(other);
    if (--open === 0) done({ bytesUp: up + upward.bytes, bytesDown: down + downward.bytes, error });
  };
  const watch = (stream: Duplex, code: "CLIENT_GONE" | "UPSTREAM_ABORTED", whenClosed: () => void): void => {
    stream.on("error", (reason) => void (error ??= new EgressError(code, reason.message, reason)));
    // The upstream may have gone between the answer and now; its close has been told then.
    if (stream.closed) queueMicrotask(whenClosed);
    else stream.on("close", whenClosed);
  };
  watch(application, "CLIENT_GONE", closed(upstream));
  watch(upstream, "UPSTREAM_ABORTED", closed(application));
  const upward = flow(application, upstream);
  const downward = flow(upstream, application);
  const patience = new Patience();
  return {
    get bufferedBytes() {
      return waiting(application) + waiting(upstream);
    },
    sweep: (nowMs, idleMs) => {
      const limitMs = idleMs === 0 ? Number.POSITIVE_INFINITY : idleMs;
      // What was read counts as passed; a side that does not take it holds the reading back, so that nothing moves for long.
      if (!patience.exhausted("bytes", upward.bytes + downward.bytes, nowMs, limitMs)) return;
      error ??= new EgressError("TUNNEL_IDLE", `no byte for ${limitMs} ms`);
      reset(application);
      reset(upstream);
    },
  };
}

function waiting({ readableLength, writableLength }: Duplex): number {
  return readableLength + writableLength;
}
