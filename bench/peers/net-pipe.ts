/**
 * The least that a TCP proxy in Node can be: each connection is piped to one of its own to the origin, and back.
 * Usage: node net-pipe.js PORT ORIGIN-PORT
 */

import { connect, createServer } from "node:net";

const [port, originPort] = process.argv.slice(2).map(Number);

const server = createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
  const upstream = connect({ host: "127.0.0.1", port: originPort!, noDelay: true, allowHalfOpen: true });
  client.pipe(upstream).pipe(client);
  client.on("error", () => upstream.destroy());
  upstream.on("error", () => client.destroy());
  client.on("close", () => upstream.destroy());
  upstream.on("close", () => client.destroy());
});

server.listen(port, "127.0.0.1", 1024);
