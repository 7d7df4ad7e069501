/**
 * An upstream that a real client of another language can be held against: it hands out known bytes, or back what it was sent, and
 * notes how each request came. Speaks HTTP/1.1 and, over TLS or on a port of its own, HTTP/2.
 *
 * Uses Node's own servers, so that the proxy is not judged by its own codec.
 */
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import {
  createServer as createCleartextHttp2Server,
  createSecureServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from "node:http2";
import type { AddressInfo, Server, Socket } from "node:net";
import { type CertificateName, certificate } from "../kit/certificates.ts";

/** What every client downloads, and uploads twice: 1 MiB that repeats only every 251 bytes, so that a shift shows. */
export const BODY: Buffer = Buffer.from(Uint8Array.from({ length: 1 << 20 }, (_, at) => at % 251));

/** Listens there, because the wrapper keeps 127.0.0.1 off the proxy. */
export const UPSTREAM_ADDRESS = "127.0.0.2";

/** `tls`: HTTP/2 or HTTP/1.1 by ALPN; `clear`: HTTP/1.1; `h2c`: HTTP/2 with prior knowledge. */
export type UpstreamKind = "tls" | "clear" | "h2c";

/** How one request came. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly version: string;
  /** How the body's end was told. HTTP/2 always tells it by its frames. */
  readonly framing: "none" | "length" | "chunked" | "frames";
  readonly bodyBytes: number;
  /** The field that the policy adds, or `undefined`. */
  readonly traceparent: string | undefined;
}

/** See the file's header. Made by `startUpstream`. */
export class Upstream {
  readonly requests: SeenRequest[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(server: Server) {
    this.#server = server;
    server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Serves one request: `…/bytes` is answered with `BODY`, anything else with what was sent. */
  serve(request: IncomingMessage, response: ServerResponse): void {
    const received: Buffer[] = [];
    // A client that breaks off is judged by what it says itself.
    request.on("error", () => undefined);
    request.on("data", (bytes: Buffer) => received.push(bytes));
    request.on("end", () => {
      const body = Buffer.concat(received);
      this.requests.push(seen(request, body.length));
      const answer = request.url!.endsWith("/bytes") ? BODY : body;
      response.writeHead(200, {
        "content-type": "application/octet-stream",
        "content-length": answer.length,
      });
      response.end(answer);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}

function seen(request: IncomingMessage, bodyBytes: number): SeenRequest {
  const { method, url, httpVersion, headers } = request;
  const { traceparent } = headers;
  return {
    method: method!,
    path: url!,
    version: httpVersion,
    framing: framingOf(httpVersion, headers),
    bodyBytes,
    traceparent: typeof traceparent === "string" ? traceparent : undefined,
  };
}

function framingOf(version: string, headers: IncomingMessage["headers"]): SeenRequest["framing"] {
  if (version === "2.0") return "frames";
  if (headers["transfer-encoding"] !== undefined) return "chunked";
  // Java before 19 says of a GET that its body has no bytes.
  return (headers["content-length"] ?? "0") === "0" ? "none" : "length";
}

/** Serves on a free port of `UPSTREAM_ADDRESS`. `name` is the certificate of `tls`. */
export async function startUpstream(kind: UpstreamKind, name: CertificateName = "server"): Promise<Upstream> {
  const serve: RequestListener = (request, response) => upstream.serve(request, response);
  const server = serverOf(kind, name, serve);
  const upstream = new Upstream(server);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, UPSTREAM_ADDRESS, resolve);
  });
  return upstream;
}

function serverOf(kind: UpstreamKind, name: CertificateName, serve: RequestListener): Server {
  if (kind === "clear") return createServer(serve);
  // Node's HTTP/2 servers offer the same methods; only their types are others.
  const serveHttp2 = serve as unknown as (request: Http2ServerRequest, response: Http2ServerResponse) => void;
  if (kind === "h2c") return createCleartextHttp2Server(serveHttp2);
  return createSecureServer({ ...certificate(name), allowHTTP1: true }, serveHttp2);
}
