/**
 * A forward proxy from the standard library alone: a `node:http` server and an `http.Agent` that keeps its
 * connections. It relays, removes the hop-by-hop fields and nothing more.
 * Usage: node node-http-agent.js PORT
 */

import { Agent, createServer, request as sendRequest } from "node:http";
import { authorityEnd, endToEndRequestHeaders, removeHopByHop } from "./hop-by-hop.ts";

const agent = new Agent({ keepAlive: true, maxFreeSockets: 256 });

const server = createServer((request, response) => {
  const target = request.url!;
  const pathStart = authorityEnd(target);
  if (pathStart < 0) {
    response.writeHead(400).end();
    return;
  }
  const { hostname, port } = new URL(target.slice(0, pathStart));
  const upstream = sendRequest({
    agent,
    hostname,
    port: port || 80,
    method: request.method!,
    path: target.slice(pathStart),
    headers: endToEndRequestHeaders(request.rawHeaders),
  });
  upstream.on("response", (answer) => {
    response.writeHead(answer.statusCode!, answer.statusMessage, removeHopByHop(answer.headers));
    answer.pipe(response);
    answer.on("error", () => response.destroy());
  });
  upstream.on("error", () => {
    if (response.headersSent) response.destroy();
    else response.writeHead(502).end();
  });
  response.on("close", () => {
    if (!response.writableFinished) upstream.destroy();
  });
  request.pipe(upstream);
});

server.keepAliveTimeout = 60_000;
server.listen(Number(process.argv[2]), "127.0.0.1");
