/**
 * The HTTP server behind AWS_LAMBDA_RUNTIME_API, and the one behind the Invoke endpoint.
 *
 * Owns routing, 404 and 405, and the answer to a request that was cut. Knows no API. Binds the loopback address only.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import {
  type Answer,
  INTERNAL_ERROR,
  methodNotAllowed,
  NOT_FOUND,
  rawAnswer,
  send,
  TRUNCATED,
} from "./answers.ts";
import { isReadingBody } from "./request-body.ts";

/** One request. */
export interface ApiRequest {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** What the groups of the route's pattern matched, decoded. */
  readonly params: readonly string[];
  readonly query: URLSearchParams;
}

/** A route: answers by returning, or later through `response` when it returns nothing (a long poll). */
export interface Route {
  readonly method: "GET" | "POST" | "PUT";
  readonly path: RegExp;
  handle(request: ApiRequest): Promise<Answer | undefined> | Answer | undefined;
}

/** Lambda's limit of file descriptors; a connection over it is closed at once. */
const CONNECTIONS_MAX = 1024;
/** Headers may carry an X-Ray error cause, which clients limit to 1 MiB. */
const HEADER_BYTES_MAX = 1024 * 1024 + 64 * 1024;
/** How long the head of a request may take. Bodies may take as long as an invocation. */
const HEADERS_MS_MAX = 60_000;

/** A server that listens. */
export interface ApiServer {
  readonly port: number;
  /** Closes the listener and, once the answers that are ready have left, every connection. */
  close(): Promise<void>;
}

/** Serves `routes` on 127.0.0.1. Rejects with a clear error when the port is taken. */
export async function serve(routes: readonly Route[], port: number, purpose: string): Promise<ApiServer> {
  const server = createServer(
    {
      maxHeaderSize: HEADER_BYTES_MAX,
      headersTimeout: HEADERS_MS_MAX,
      // Long polls wait as long as the sandbox is frozen, so neither a request nor a connection may time out.
      requestTimeout: 0,
      keepAliveTimeout: 0,
      connectionsCheckingInterval: HEADERS_MS_MAX,
      noDelay: true,
    },
    (request, response) => void dispatch(routes, request, response),
  );
  server.maxConnections = CONNECTIONS_MAX;
  server.on("clientError", refuse);
  await listen(server, port, purpose);
  return {
    port: (server.address() as AddressInfo).port,
    close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      setImmediate(() => server.closeAllConnections());
      return closed;
    },
  };
}

function listen(server: Server, port: number, purpose: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", (error: NodeJS.ErrnoException) => {
    const reason = error.code === "EADDRINUSE" ? "the port is in use" : error.message;
    reject(
      new Error(
        `${purpose} cannot listen on 127.0.0.1:${port}: ${reason}; choose another port, or 0 for any`,
      ),
    );
  });
  server.listen(port, "127.0.0.1", resolve);
  return promise;
}

async function dispatch(
  routes: readonly Route[],
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  // A peer that resets its connection ends its own request and nothing else.
  request.on("error", () => {});
  response.on("error", () => {});
  try {
    const answer = await route(routes, request, response);
    if (answer !== undefined) send(response, answer);
  } catch {
    send(response, INTERNAL_ERROR);
  }
  // Node reads and forgets the rest of a body that was answered early; one that exceeded every bound is not waited for.
  if (request.isPaused()) response.once("finish", () => request.socket.destroySoon());
}

async function route(
  routes: readonly Route[],
  request: IncomingMessage,
  response: ServerResponse,
): Promise<Answer | undefined> {
  const [path = "", query = ""] = (request.url ?? "").split("?", 2);
  const matches = routes.flatMap((candidate) => {
    const match = candidate.path.exec(path);
    return match === null ? [] : [{ candidate, params: match.slice(1) }];
  });
  if (matches.length === 0) return NOT_FOUND;
  const found = matches.find(({ candidate }) => candidate.method === request.method);
  if (found === undefined)
    return methodNotAllowed(matches.map(({ candidate }) => candidate.method).join(", "));
  return found.candidate.handle({
    request,
    response,
    params: found.params.map(decode),
    query: new URLSearchParams(query),
  });
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** A request that is no HTTP, or one whose body was cut while the client still listens. */
function refuse(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const cut = error.code === "HPE_INVALID_EOF_STATE" && isReadingBody(socket);
  const malformed: Answer = {
    status: 400,
    body: "400 Bad Request",
    headers: { "Content-Type": "text/plain" },
  };
  socket.end(rawAnswer(cut ? TRUNCATED : malformed));
}
