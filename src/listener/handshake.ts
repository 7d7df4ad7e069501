/**
 * From the first bytes of a connection to the one that serves it, when it is not HTTP/1.1 as it stands: the TLS handshake of a tunnel
 * that is opened, and the loading of HTTP/2, which an application that speaks none never pays for.
 */
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import type { ListenerRole, TunnelRole } from "../capture/target.ts";
import type { ConnectionContext, Interception, NextProtocol, ServedConnection } from "./context.ts";
import type { Http2Connection } from "./http2-connection.ts";
import { layered } from "./reset.ts";

/** Who makes the connection that serves in the end. */
export interface HandshakeHome {
  /** It came to nothing. Called once, unless one of the others is. */
  closed(self: ServedConnection): void;
  /** HTTP/1.1 is spoken on `socket`. */
  serveHttp1(self: ServedConnection, socket: Socket, role: ListenerRole): void;
  /** HTTP/2 is. */
  serveHttp2(
    self: ServedConnection,
    socket: Socket,
    role: ListenerRole,
    connection: typeof Http2Connection,
  ): void;
}

/** Node's and OpenSSL's words for "the peer did not accept the certificate": its alerts (RFC 8446 §6.2), each with its own prefix. */
const CERTIFICATE_ALERT = /ALERT_(?:UNKNOWN_CA|BAD_CERTIFICATE|CERTIFICATE_\w+|UNSUPPORTED_CERTIFICATE)/;

/** More than the alert that ends a TLS connection (RFC 8446 §6.1: 24 bytes on the wire, 31 in TLS 1.2), less than any request. */
const REQUEST_BYTES_MIN = 40;

/** See the file's header. `socket` is paused, and what it has read already is read first. */
export class Handshake implements ServedConnection {
  readonly busy = false;
  readonly bufferedBytes = 0;
  readonly #socket: Socket;
  readonly #context: ConnectionContext;
  readonly #home: HandshakeHome;
  readonly #begunMs: number;

  constructor(socket: Socket, context: ConnectionContext, home: HandshakeHome) {
    this.#socket = socket;
    this.#context = context;
    this.#home = home;
    this.#begunMs = context.clock.now();
    socket.on("error", ignore);
    socket.on("close", this.#onClose);
  }

  /** Goes on to `next`, until another connection serves the socket. */
  begin(next: NextProtocol): void {
    if (next.kind === "h2") return this.#serveHttp2(this.#socket, next.role);
    this.#secure(next.role, next.serverName, this.#context.interception!);
  }

  endIfIdle(): void {
    this.destroy();
  }

  destroy(): void {
    this.#socket.resetAndDestroy();
  }

  sweep(nowMs: number): void {
    if (nowMs - this.#begunMs >= this.#context.limits.handshakeTimeoutMs) this.destroy();
  }

  #secure(role: TunnelRole, serverName: string, interception: Interception): void {
    let secureContext: ReturnType<Interception["contextFor"]>;
    try {
      secureContext = interception.contextFor(serverName === "" ? role.host : serverName);
    } catch {
      // A name that no certificate can hold, such as one with a hyphen at the edge of a label, has no TLS.
      return this.destroy();
    }
    const secured = new TLSSocket(this.#socket, {
      isServer: true,
      secureContext,
      ALPNProtocols: ["h2", "http/1.1"],
    });
    layered(secured, this.#socket);
    const failed = (error: NodeJS.ErrnoException): void => {
      interception.refused(role.host, reasonOf(error));
      this.destroy();
    };
    // Node's own clients leave without an alert when the certificate is not to their liking.
    const left = (): void => failed(new Error("closed during the handshake"));
    secured.on("error", failed);
    secured.once("end", left);
    secured.once("secure", () => {
      secured.off("error", failed).off("end", left);
      this.#watchAcceptance(interception, role.host);
      if (secured.alpnProtocol === "h2") return this.#serveHttp2(secured, role);
      this.#handOver();
      this.#home.serveHttp1(this, secured, role);
    });
  }

  /** Some clients look at the certificate when the handshake is over: one that leaves without a request is what is to be seen of that. */
  #watchAcceptance(interception: Interception, host: string): void {
    const socket = this.#socket;
    const before = socket.bytesRead;
    socket.once("close", () => {
      if (socket.bytesRead - before < REQUEST_BYTES_MIN) {
        interception.refused(host, "closed after the handshake, without a request");
      }
    });
  }

  #serveHttp2(socket: Socket | TLSSocket, role: ListenerRole): void {
    socket.on("error", ignore);
    // A server's session waits for a socket that still calls itself connecting; only tls.Server puts that right.
    if (socket instanceof TLSSocket) (socket as { secureConnecting?: boolean }).secureConnecting = false;
    const serve = async (): Promise<void> => {
      const { Http2Connection } = await import("./http2-connection.ts");
      if (socket.destroyed) return;
      this.#handOver();
      this.#home.serveHttp2(this, socket, role, Http2Connection);
    };
    // A defect of ours ends this connection, not the process.
    serve().catch(() => this.destroy());
  }

  #handOver(): void {
    this.#socket.off("close", this.#onClose);
  }

  #onClose = (): void => this.#home.closed(this);
}

const ignore = (): void => {};

/** What is told of a handshake that failed: the peer's alert where it sent one. */
function reasonOf(error: NodeJS.ErrnoException): string {
  const alert = CERTIFICATE_ALERT.exec(error.code ?? "")?.[0];
  if (alert !== undefined) return alert.slice("ALERT_".length).toLowerCase();
  return error.code === undefined || error.code === "ECONNRESET" ? "closed during the handshake" : error.code;
}
