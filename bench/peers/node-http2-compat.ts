/**
 * A reverse proxy as one writes it from `node:http2` alone: a server with the compatibility API, one client session to the origin, and
 * pipes between them. It relays, and nothing more.
 * Usage: node node-http2-compat.js PORT ORIGIN [KEY CERT CA], where ORIGIN is an URL and the rest are PEM files
 */

import { readFileSync } from "node:fs";
import {
  type ClientHttp2Session,
  connect,
  createSecureServer,
  createServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from "node:http2";

const [port, origin, keyFile, certFile, caFile] = process.argv.slice(2);
const trust = caFile ? { ca: readFileSync(caFile) } : {};

let session: ClientHttp2Session | undefined;

function upstream(): ClientHttp2Session {
  if (session && !session.closed && !session.destroyed) return session;
  session = connect(origin!, trust);
  session.on("error", () => session?.destroy());
  return session;
}

function relay(request: Http2ServerRequest, response: Http2ServerResponse): void {
  const call = upstream().request(request.headers);
  call.on("response", ({ ":status": status, ...headers }) => {
    response.writeHead(status!, headers);
    call.pipe(response);
  });
  call.on("error", () => {
    if (response.headersSent) response.stream.close();
    else response.writeHead(502).end();
  });
  response.on("close", () => call.close());
  request.pipe(call);
}

const server =
  keyFile && certFile
    ? createSecureServer({ key: readFileSync(keyFile), cert: readFileSync(certFile) }, relay)
    : createServer(relay);
server.on("sessionError", () => undefined);
server.listen(Number(port), "127.0.0.1");
