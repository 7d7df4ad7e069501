/** From an exchange to a tunnel: the last head that is written, then two byte streams that nobody parses. */
import type { Duplex } from "node:stream";
import type { Tunnel } from "../exchange.ts";
import { adoptConnected } from "./adopt.ts";
import { type Splice, type SpliceResult, splice } from "./splice.ts";

/**
 * Tells the application that it has its tunnel, hands over what either side sent ahead, and joins them.
 *
 * @param told what the application is told, latin1; "" when it knows already
 * @param early what the application sent behind its request, or `null`
 * @param done called once, when both streams are closed
 */
export function joinTunnel(
  application: Duplex,
  told: string,
  tunnel: Tunnel,
  early: Uint8Array | null,
  done: (result: SpliceResult) => void,
): Splice {
  if (told !== "") application.write(told, "latin1");
  const ahead = tunnel.head.length > 0 ? [tunnel.head] : [];
  // The socket of an upgrade has been read as HTTP, and others still listen to it.
  const upstream =
    tunnel.protocol === ""
      ? adoptConnected(tunnel.socket, application.writableHighWaterMark, ahead)
      : tunnel.socket;
  for (const bytes of ahead) application.write(bytes);
  if (early !== null) upstream.write(early);
  return splice(application, upstream, {
    up: early === null ? 0 : early.length,
    down: ahead.reduce((sum, bytes) => sum + bytes.length, 0),
    done,
  });
}
