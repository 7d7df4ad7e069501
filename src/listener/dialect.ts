/** How an application that asked for a tunnel is answered, by the protocol in which it asked. Pure; all text is latin1. */
import { socksFailure, TUNNEL_OPEN_SOCKS } from "../capture/socks.ts";
import type { EgressError } from "../errors.ts";
import { writeRefusal } from "./reply.ts";

/** See the file's header. */
export interface Dialect {
  /** Says that the tunnel is there. */
  readonly opened: string;
  /** Says that there is none, or that a request failed. */
  refused(error: EgressError, callId: string, keepAlive: boolean, headOnly: boolean): string;
}

/** HTTP/1.1: CONNECT, and every other request. */
export const HTTP: Dialect = {
  opened: "HTTP/1.1 200 Connection Established\r\n\r\n",
  refused: writeRefusal,
};

/** SOCKS5. */
export const SOCKS: Dialect = {
  opened: TUNNEL_OPEN_SOCKS.latin1Slice(),
  refused: (error) => socksFailure(error).latin1Slice(),
};

/** The application believes that it speaks to its peer, or will be told nothing more: only a reset tells it of a failure. */
export const SILENT: Dialect = {
  opened: "",
  refused: () => "",
};
