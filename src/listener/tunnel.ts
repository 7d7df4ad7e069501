/** From an exchange to a tunnel: the last head that is written, then two byte streams that nobody parses. */
import type { Socket } from "node:net";
import type { EgressResponse, Tunnel } from "../exchange.ts";
import { tunnelHead } from "./answer.ts";
import { type SpliceResult, splice } from "./splice.ts";

/**
 * Tells the application that it has its tunnel, hands over what either side sent ahead, and joins them.
 *
 * @param early what the application sent behind its request, or `null`
 * @param told whether the application has been told already
 * @param done called once, when both streams are closed
 */
export function joinTunnel(
  application: Socket,
  response: EgressResponse,
  tunnel: Tunnel,
  early: Uint8Array | null,
  told: boolean,
  done: (result: SpliceResult) => void,
): void {
  if (!told) application.write(tunnelHead(response, tunnel), "latin1");
  if (tunnel.head.length > 0) application.write(tunnel.head);
  if (early !== null) tunnel.socket.write(early);
  splice(application, tunnel.socket, {
    up: early === null ? 0 : early.length,
    down: tunnel.head.length,
    done,
  });
}
