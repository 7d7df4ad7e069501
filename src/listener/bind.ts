/**
 * Binding the listening sockets: the cold tier's part of the listener, so that the application can connect before anything else
 * is loaded. Connections that come before `serve` wait, unread, in the order of their arrival.
 */

import * as net from "node:net";
import { createServer, isIP, type ListenOptions, type Server, type Socket } from "node:net";

/** One listening socket. */
export interface Binding {
  readonly host: string;
  /** The port that the system gave when 0 was asked for. */
  readonly port: number;
  /** Hands over the connections that wait and all that come. Called once. */
  serve(accept: (socket: Socket) => void): void;
  /** Stops listening and closes what waits; connections that are served stay open. Resolves when the port is free. */
  close(): Promise<void>;
}

/** Connections that the kernel keeps for us. Node's own default; the kernel caps it at net.core.somaxconn. */
const BACKLOG = 511;
/** Connections that may wait before `serve`. Overflow: reset, as a full backlog would do. */
const WAITING_MAX = 1024;

/**
 * A socket that is bound without a name look-up, where Node can do that (24.19): `listen({ host })` loads `node:dns` and asks a
 * pool thread even for an address, which costs a cold start 6 ms.
 * @throws the system's error
 */
function listenOn(host: string, port: number): ListenOptions {
  if (net.BoundSocket === undefined || isIP(host) === 0) return { host, port };
  return { handle: new net.BoundSocket({ host, port }) };
}

/**
 * Listens on `host:port`.
 * @throws the system's error, with `code` EADDRINUSE, EACCES, EADDRNOTAVAIL …
 */
export function bind(host: string, port: number): Promise<Binding> {
  const waiting: Socket[] = [];
  let accept: ((socket: Socket) => void) | null = null;
  const server: Server = createServer({
    allowHalfOpen: true,
    pauseOnConnect: true,
    noDelay: true,
    keepAlive: false,
    highWaterMark: 64 * 1024,
  });
  server.on("connection", (socket) => {
    if (accept !== null) return accept(socket);
    // An error before anyone listens would end the process.
    socket.on("error", () => socket.destroy());
    if (waiting.length >= WAITING_MAX) socket.resetAndDestroy();
    else waiting.push(socket);
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ ...listenOn(host, port), backlog: BACKLOG }, () => {
      server.removeListener("error", reject);
      // A connection that cannot be accepted (no descriptor left) is the system's to refuse; those that are open go on.
      server.on("error", () => {});
      const address = server.address();
      resolve({
        host,
        port: typeof address === "object" && address !== null ? address.port : port,
        serve: (taker) => {
          accept = taker;
          for (const socket of waiting.splice(0)) if (!socket.destroyed) taker(socket);
        },
        close: () => {
          // Nobody will ever serve them, and the server counts them as open.
          for (const socket of waiting.splice(0)) socket.destroy();
          return new Promise((closed) => server.close(() => closed()));
        },
      });
    });
  });
}
