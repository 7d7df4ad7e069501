/**
 * Response bodies that are made worse on purpose: one that comes slowly, one that breaks off. Owns the bytes' way from the upstream's
 * body into the one that is handed on; whether and which is decided in `fault.ts`.
 *
 * Backpressure holds through both: the upstream's body is paused while its bytes wait here, so no more than one of its pieces does
 * (and what the source pushes before it obeys).
 */
import { Body, type BodySink } from "../body.ts";
import type { Clock, Timer } from "../clock.ts";
import { EgressError } from "../errors.ts";
import type { FieldLines } from "../exchange.ts";

/** A slow body is handed on in pieces this far apart, milliseconds; at less than ten bytes a second in single bytes further apart. */
const PIECE_MS = 100;

/**
 * From the last byte to the break, milliseconds. A reset drops what the system has not sent yet (SO_LINGER with 0, socket(7)), and
 * the application is to see the bytes that come before the break.
 */
const BREAK_MS = 20;

/** `live`, no faster than `bytesPerSecond` (more than 0). */
export function slowBody(live: Body, bytesPerSecond: number, clock: Clock): Body {
  const pieceBytesMax = Math.max(1, Math.floor((bytesPerSecond * PIECE_MS) / 1000));
  const waiting: Uint8Array[] = [];
  let trailers: FieldLines | null = null;
  /** Runs until the next piece may be handed on. */
  let timer: Timer | null = null;
  let wanted = false;
  let piped = false;

  function give(): void {
    const head = waiting[0];
    if (head === undefined && trailers !== null) {
      timer?.cancel();
      slow.end(trailers);
    } else if (timer === null && wanted) {
      if (head === undefined) live.resume();
      else givePiece(head);
    }
  }

  /** Hands on one piece; the next one has to wait as long as this one takes at the rate. */
  function givePiece(head: Uint8Array): void {
    const piece = head.subarray(0, pieceBytesMax);
    if (piece.length === head.length) waiting.shift();
    else waiting[0] = head.subarray(piece.length);
    timer = clock.after((piece.length * 1000) / bytesPerSecond, () => {
      timer = null;
      give();
    });
    // The receiver may ask for more while it is being given this.
    wanted = false;
    if (slow.push(piece)) wanted = true;
    if (waiting.length === 0) give();
  }

  const sink: BodySink = {
    write: (chunk) => {
      waiting.push(chunk);
      give();
      return false;
    },
    end: (fields) => {
      trailers = fields;
      give();
    },
    abort: (error) => {
      timer?.cancel();
      slow.fail(error);
    },
  };
  const slow: Body = new Body(live.length, {
    pause: () => {
      wanted = false;
    },
    resume: () => {
      wanted = true;
      if (piped) return give();
      piped = true;
      live.pipe(sink);
    },
    cancel: (error) => {
      timer?.cancel();
      waiting.length = 0;
      live.cancel(error);
    },
  });
  return slow;
}

/** `live`, broken off visibly behind its first `bytes`; a body that is no longer than that passes whole. */
export function truncatedBody(live: Body, bytes: number, clock: Clock): Body {
  let leftBytes = bytes;
  let timer: Timer | null = null;
  let piped = false;

  function breakOff(): void {
    const error = new EgressError("FAULT_INJECTED", `response body broken off behind ${bytes} bytes`);
    error.reached = "final";
    timer = clock.after(BREAK_MS, () => cut.fail(error));
    live.cancel(error);
  }

  const sink: BodySink = {
    write: (chunk) => {
      if (timer !== null) return false;
      if (chunk.length <= leftBytes) {
        leftBytes -= chunk.length;
        return cut.push(chunk);
      }
      if (leftBytes > 0) cut.push(chunk.subarray(0, leftBytes));
      breakOff();
      return false;
    },
    end: (trailers) => {
      if (timer === null) cut.end(trailers);
    },
    abort: (error) => cut.fail(error),
  };
  const cut: Body = new Body(live.length, {
    pause: () => {},
    resume: () => {
      if (piped) return live.resume();
      piped = true;
      live.pipe(sink);
    },
    cancel: (error) => {
      timer?.cancel();
      live.cancel(error);
    },
  });
  return cut;
}
