/** A WebSocket server made with ws: sends every message back, and answers a close with its reason. */
import { createServer, type IncomingMessage } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import { certificate } from "../kit/certificates.ts";
import { UPSTREAM_ADDRESS } from "./upstream.ts";

/** An upgrade that the server saw. */
export interface SeenUpgrade {
  readonly path: string;
  readonly traceparent: string | undefined;
}

/** See the file's header. */
export interface EchoServer extends AsyncDisposable {
  readonly port: number;
  readonly upgrades: readonly SeenUpgrade[];
}

/** Serves on a free port of `UPSTREAM_ADDRESS`. */
export async function startWebSocketServer(kind: "tls" | "clear"): Promise<EchoServer> {
  const upgrades: SeenUpgrade[] = [];
  const sockets = new Set<Socket>();
  const server = kind === "tls" ? createTlsServer(certificate("server")) : createServer();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  new WebSocketServer({ server }).on("connection", (socket: WebSocket, request: IncomingMessage) => {
    upgrades.push({ path: request.url!, traceparent: request.headers.traceparent as string | undefined });
    socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, UPSTREAM_ADDRESS, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    upgrades,
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
