/** Ending a connection so that the other side can tell that it broke. */
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { TLSSocket } from "node:tls";

/** The connections below those that were made around another. */
const below = new WeakMap<Duplex, Socket>();

/** Notes that `secured` speaks TLS over `socket`. */
export function layered(secured: TLSSocket, socket: Socket): void {
  below.set(secured, socket);
}

/**
 * Resets the connection (RST). TLS knows no reset (`TLSSocket.resetAndDestroy` throws): there the connection below is reset where it
 * is known, and otherwise it is left without the alert that tells an end.
 */
export function reset(stream: Duplex): void {
  const bottom = below.get(stream);
  if (bottom !== undefined) bottom.resetAndDestroy();
  if (stream instanceof Socket && !(stream instanceof TLSSocket)) stream.resetAndDestroy();
  else stream.destroy();
}
