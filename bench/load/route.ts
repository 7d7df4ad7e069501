/**
 * How a load generator reaches the far end through a subject: straight to a port, or by CONNECT, and with TLS inside or
 * without. Owns the opening of one such connection; what is sent over it is the caller's.
 */

import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls, createSecureContext, type SecureContext } from "node:tls";

/** The TLS of a route. */
export interface RouteTls {
  /** PEM of the only root that is trusted: the subject's own authority, or the origin's when there is no subject. */
  readonly ca: string;
  /** Sent as SNI and verified. */
  readonly serverName: string;
  /** The one protocol that is offered (RFC 7301); the far end has to choose it. */
  readonly alpn: "h2" | "http/1.1";
}

/** A way to the far end. It travels over IPC, so it is plain JSON. */
export interface Route {
  /** Port on 127.0.0.1 that is dialled. */
  readonly port: number;
  /** Host and port that a CONNECT names; undefined when the port itself is the far end. */
  readonly tunnelTo?: string | undefined;
  /** Undefined when the far end speaks no TLS. */
  readonly tls?: RouteTls | undefined;
}

/** What a connection tells its user. */
export interface Receiver {
  /** Takes bytes that the connection may reuse afterwards. */
  readonly bytes: (bytes: Buffer) => void;
  /** The connection is gone, for whatever reason; called once at most. */
  readonly lost: (why: string) => void;
}

/** A connection that takes longer to open is not opened: a subject that says nothing must end the run, not hang it. */
const openMaxMs = 20_000;

/** A reply to CONNECT that is longer than this is no reply. */
const replyBytesMax = 4096;

/**
 * Clients of a proxy come from an address of their own: mockttp takes a client whose address and port are those of one of its own
 * connections to an origin for itself, and refuses what it calls a loop.
 */
const clientAddress = "127.0.0.2";

/** One context for each root: to parse it anew for each handshake would be measured as the subject's time. */
const contexts = new Map<string, SecureContext>();

/**
 * Opens a connection; rejects with an Error that says what failed, after `openMaxMs` at the latest. Its bytes go to `receiver`
 * from then on.
 */
export async function open(route: Route, receiver: Receiver): Promise<Socket> {
  if (route.tunnelTo === undefined && !route.tls) return openPlain(route.port, receiver);
  const socket = connectTcp({
    host: "127.0.0.1",
    port: route.port,
    localAddress: clientAddress,
    noDelay: true,
  });
  let step = "the connection";
  const { promise: failed, reject } = Promise.withResolvers<never>();
  failed.catch(() => undefined);
  socket.on("error", (error) => reject(new Error(`connection failed: ${error.message}`)));
  socket.on("close", () => reject(new Error(`${step} was closed while it was opened`)));
  const silence = setTimeout(() => {
    reject(new Error(`${step} did not open within ${openMaxMs / 1000} s`));
    socket.destroy();
  }, openMaxMs);
  try {
    await Promise.race([new Promise((resolve) => socket.once("connect", resolve)), failed]);
    step = "the tunnel";
    if (route.tunnelTo !== undefined) await Promise.race([askForTunnel(socket, route.tunnelTo), failed]);
    step = "TLS";
    const secured = route.tls ? await Promise.race([secure(socket, route.tls), failed]) : socket;
    // It was paused behind the reply to CONNECT.
    secured.on("data", receiver.bytes).resume();
    return reportLoss(secured, receiver);
  } finally {
    clearTimeout(silence);
  }
}

/** The cheapest way to read: one buffer for all reads of a connection. */
async function openPlain(port: number, receiver: Receiver): Promise<Socket> {
  const callback = (length: number, buffer: Uint8Array): boolean => {
    receiver.bytes((buffer as Buffer).subarray(0, length));
    return true;
  };
  const onread = { buffer: Buffer.allocUnsafe(64 * 1024), callback };
  const socket = connectTcp({ host: "127.0.0.1", port, noDelay: true, onread });
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", (error) => reject(new Error(`connection failed: ${error.message}`)));
  });
  return reportLoss(socket, receiver);
}

function reportLoss(socket: Socket, receiver: Receiver): Socket {
  let why = "a connection was closed before the end of the run";
  socket.on("error", (error) => {
    why = `connection failed: ${error.message}`;
  });
  socket.once("close", () => receiver.lost(why));
  return socket;
}

/** RFC 9110 section 9.3.6. Resolves when the reply is a 200; nothing may come with it, because we have to speak first. */
function askForTunnel(socket: Socket, authority: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let reply = "";
  const onData = (chunk: Buffer): void => {
    reply += chunk.toString("latin1");
    const end = reply.indexOf("\r\n\r\n");
    if (end < 0 && reply.length <= replyBytesMax) return;
    socket.off("data", onData).pause();
    if (/^HTTP\/1\.[01] 200 /.test(reply) && end === reply.length - 4) resolve();
    else reject(new Error(`expected a tunnel, got ${JSON.stringify(reply.slice(0, 400))}`));
  };
  socket.on("data", onData);
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  return promise;
}

function secure(socket: Socket, { ca, serverName, alpn }: RouteTls): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  let secureContext = contexts.get(ca);
  if (!secureContext) contexts.set(ca, (secureContext = createSecureContext({ ca })));
  const secured = connectTls({ socket, secureContext, servername: serverName, ALPNProtocols: [alpn] });
  secured.once("error", (error) => reject(new Error(`TLS failed: ${error.message}`)));
  secured.once("secureConnect", () => {
    // A server that answers no ALPN speaks HTTP/1.1 (RFC 9113 section 3.2).
    const chosen = secured.alpnProtocol || "http/1.1";
    if (chosen === alpn) resolve(secured);
    else reject(new Error(`expected the protocol ${alpn} inside TLS, got ${chosen}`));
  });
  return promise;
}
