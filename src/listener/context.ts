/** What all connections of a listener share. */
import type { Clock } from "../clock.ts";
import type { Limits } from "../config/types.ts";
import type { Send } from "../exchange.ts";

/** See the file's header. Made by the listener; the connections count themselves in it. */
export interface ConnectionContext {
  readonly limits: Limits;
  /** Silence in the middle of a request body, or of a response that is not taken; 0: no bound. */
  readonly idleTimeoutMs: number;
  readonly clock: Clock;
  readonly send: Send;
  /** Whether calls to a target may pass the acl: a tunnel to one that may not is refused before it is promised. */
  readonly admits: (host: string, port: number) => boolean;
  /** A short id for the next call, unique in this process. */
  readonly nextCallId: () => string;
  /** No new requests: answers carry `Connection: close`. */
  draining: boolean;
  /** Tunnels open now, those that are being opened included. */
  tunnels: number;
}
