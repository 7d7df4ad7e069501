/**
 * The admin port of `outrider run`: health for probes, metrics for Prometheus. Loopback and GET only; nothing here changes anything.
 * On `node:http`, because nobody waits for it.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** One answer. */
export interface AdminPage {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

/** What each path answers, asked for at each request. A path that is not here gives 404. */
export type AdminPages = Readonly<
  Record<"/healthz" | "/readyz" | "/metrics", () => AdminPage | Promise<AdminPage>>
>;

/** An admin port that serves. */
export interface Admin {
  readonly port: number;
  close(): void;
}

/** Bytes of a request's head; Node's parser refuses more with 431. */
const HEAD_BYTES_MAX = 4096;
const TEXT = "text/plain; charset=utf-8";

/**
 * Serves `pages` on 127.0.0.1.
 * @throws the system's error when the port cannot be had
 */
export function startAdmin(port: number, pages: AdminPages): Promise<Admin> {
  const server = createServer(
    { maxHeaderSize: HEAD_BYTES_MAX, requestTimeout: 5000, headersTimeout: 5000, keepAliveTimeout: 5000 },
    async (request, response) => answer(await pageFor(request, pages), response),
  );
  server.maxConnections = 64;
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => {
      resolve({
        port: (server.address() as AddressInfo).port,
        close: () => {
          server.close();
          server.closeAllConnections();
        },
      });
    });
  });
}

function pageFor(
  { method, url, headers }: IncomingMessage,
  pages: AdminPages,
): AdminPage | Promise<AdminPage> {
  // A page in a browser may reach loopback under a name of its own (DNS rebinding): only this machine's own names are answered.
  if (!/^(?:localhost|127\.0\.0\.1|\[::1\])(?::\d+)?$/i.test(headers.host ?? "")) {
    return { status: 421, type: TEXT, body: "ask for 127.0.0.1 or localhost\n" };
  }
  if (method !== "GET") return { status: 405, type: TEXT, body: "only GET\n" };
  const path = (url ?? "").split("?")[0]!;
  if (!Object.hasOwn(pages, path)) {
    return { status: 404, type: TEXT, body: `${Object.keys(pages).join("\n")}\n` };
  }
  return pages[path as keyof AdminPages]();
}

function answer({ status, type, body }: AdminPage, response: ServerResponse): void {
  response.writeHead(status, {
    "Content-Type": type,
    "Content-Length": Buffer.byteLength(body),
    "Cache-Control": "no-store",
  });
  response.end(body);
}

/** A page of plain text. */
export function plainPage(status: number, body: string): AdminPage {
  return { status, type: TEXT, body: `${body}\n` };
}
