/** What a connection from the application can wait for, and how long each may last. Pure. */
import type { Limits } from "../config/types.ts";

/** Where a connection is between two requests. */
export type Phase = "head" | "exchange" | "closing" | "opening" | "tunnel" | "handed_over";

/**
 * - `request`: nothing has come since the last answer
 * - `head`: a head has begun
 * - `body`: the application owes the rest of a request body
 * - `taking`: the application owes room for what was answered
 * - `leaving`: all is answered and our side has ended; what still comes is dropped
 * - `nothing`: it is not the application's turn
 */
export type Wait = "request" | "head" | "body" | "taking" | "leaving" | "nothing";

/** How long a connection that is being closed may still send what nobody reads, so that it sees the answer before a reset. */
export const LEAVING_MS_MAX = 1000;

/** The part of a socket that tells whose turn it is. */
interface Traffic {
  readonly writableLength: number;
  readonly writableNeedDrain: boolean;
  isPaused(): boolean;
}

/**
 * What a connection waits for now.
 *
 * @param headBegun bytes are here that are no request yet
 * @param owesBody the request's body is not over, and nothing holds the application back from sending it
 */
export function waitOf(phase: Phase, traffic: Traffic, headBegun: boolean, owesBody: boolean): Wait {
  switch (phase) {
    case "head":
      if (traffic.writableLength > 0) return "taking";
      return headBegun ? "head" : "request";
    case "exchange":
      if (traffic.writableNeedDrain) return "taking";
      return owesBody && !traffic.isPaused() ? "body" : "nothing";
    case "closing":
      return traffic.writableLength > 0 ? "taking" : "leaving";
    case "opening":
    case "tunnel":
    case "handed_over":
      return "nothing";
  }
}

/** Milliseconds that `wait` may last; `Infinity` for no bound. `idleTimeoutMs` 0 means none. */
export function waitMsMax(wait: Wait, limits: Limits, idleTimeoutMs: number): number {
  switch (wait) {
    case "request":
      return limits.keepAliveMs;
    case "head":
      return limits.headTimeoutMs;
    case "body":
    case "taking":
      return idleTimeoutMs === 0 ? Number.POSITIVE_INFINITY : idleTimeoutMs;
    case "leaving":
      return LEAVING_MS_MAX;
    case "nothing":
      return Number.POSITIVE_INFINITY;
  }
}
