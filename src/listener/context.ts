/** What all connections of a listener share, and what the listener knows of each. */
import type { Socket } from "node:net";
import type { SecureContext } from "node:tls";
import type { ListenerRole, TunnelRole } from "../capture/target.ts";
import type { Clock } from "../clock.ts";
import type { Limits } from "../config/types.ts";
import type { Send } from "../exchange.ts";

/** A connection as its listener sees it, whatever is spoken on it. */
export interface ServedConnection {
  /** Calls are under way, or an answer that the application has not taken to its end. */
  readonly busy: boolean;
  /** Bytes that wait here for the application or for an upstream. */
  readonly bufferedBytes: number;
  /** The listener drains: ends a connection that serves nothing now; a busy one ends itself when it has served. */
  endIfIdle(): void;
  /** Ends it whatever it is doing. */
  destroy(): void;
  /** Called every second or so, `Clock.now()` milliseconds: ends what has waited too long. */
  sweep(nowMs: number): void;
}

/** What is spoken on a connection that HTTP/1.1 hands over. */
export type NextProtocol =
  | { readonly kind: "h2"; readonly role: ListenerRole }
  | {
      readonly kind: "tls";
      readonly role: TunnelRole;
      /** What the application calls the server (SNI), or "". */
      readonly serverName: string;
    };

/** Who keeps account of a connection. */
export interface ConnectionHome {
  /** It is closed. Called once, unless its socket was handed over. */
  closed(self: ServedConnection): void;
  /** What came is no HTTP/1.1: another serves the socket, which is paused and gives first what it has read already. */
  handOver(self: ServedConnection, socket: Socket, next: NextProtocol): void;
}

/** Looking inside TLS that the application speaks. */
export interface Interception {
  /** Whether the policy looks inside TLS to a target. */
  covers(host: string, port: number): boolean;
  /** A server's context with a certificate for `name`, made when it is first asked for. Throws when there can be none. */
  contextFor(name: string): SecureContext;
  /** The application has not accepted that certificate. */
  refused(host: string, reason: string): void;
}

/** See the file's header. Made by the listener; the connections count themselves in it. */
export interface ConnectionContext {
  readonly limits: Limits;
  /** Silence in the middle of a request body, or of a response that is not taken; 0: no bound. */
  readonly idleTimeoutMs: number;
  readonly clock: Clock;
  readonly send: Send;
  /** Whether calls to a target may pass the acl: a tunnel to one that may not is refused before it is promised. */
  readonly admits: (host: string, port: number) => boolean;
  /** `null`: every TLS tunnel passes unread. */
  readonly interception: Interception | null;
  /** A short id for the next call, unique in this process. */
  readonly nextCallId: () => string;
  /** No new requests: answers carry `Connection: close`. */
  draining: boolean;
  /** More than `limits.totalBufferBytes` waited when it was last looked at: new calls are refused. */
  overloaded: boolean;
  /** Tunnels open now, those that are being opened included. */
  tunnels: number;
}
