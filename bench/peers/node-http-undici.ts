/**
 * A forward proxy as one writes it from the two usual libraries: a `node:http` server and `undici` towards the
 * upstream, by `dispatch`, its fastest interface. It relays, removes the hop-by-hop fields and nothing more.
 * Usage: node node-http-undici.js PORT
 */

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { Agent, type Dispatcher } from "undici";
import { authorityEnd, endToEndRequestHeaders, removeHopByHop } from "./hop-by-hop.ts";

const upstreams = new Agent({ pipelining: 1, keepAliveTimeout: 60_000 });

const server = createServer((request, response) => {
  const target = request.url!;
  const pathStart = authorityEnd(target);
  if (pathStart < 0) return refuse(response, 400);
  const method = request.method as Dispatcher.HttpMethod;
  upstreams.dispatch(
    {
      origin: target.slice(0, pathStart),
      path: target.slice(pathStart),
      method,
      headers: endToEndRequestHeaders(request.rawHeaders),
      body: hasBody(request) ? request : null,
    },
    relayTo(response),
  );
});

function relayTo(response: ServerResponse): Dispatcher.DispatchHandler {
  return {
    onRequestStart(controller) {
      response.on("close", () => {
        if (!response.writableFinished) controller.abort(new Error("the client is gone"));
      });
    },
    onResponseStart(controller, status, headers, statusMessage) {
      // Interim responses are not relayed: the bench sends no Expect.
      if (status < 200) return;
      response.on("drain", () => controller.resume());
      response.writeHead(status, statusMessage, removeHopByHop(headers));
    },
    onResponseData(controller, chunk) {
      if (!response.write(chunk)) controller.pause();
    },
    onResponseEnd() {
      response.end();
    },
    onResponseError() {
      if (response.headersSent) response.destroy();
      else refuse(response, 502);
    },
  };
}

function hasBody(request: IncomingMessage): boolean {
  return (
    request.headers["content-length"] !== undefined || request.headers["transfer-encoding"] !== undefined
  );
}

function refuse(response: ServerResponse, status: number): void {
  response.writeHead(status).end();
}

server.keepAliveTimeout = 60_000;
server.listen(Number(process.argv[2]), "127.0.0.1");
