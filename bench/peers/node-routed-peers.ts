/**
 * The peers of the benches `tunnel` and `h2` that are written in Node, built by the bundler that builds Outrider. They run with
 * Node's default flags.
 */

import { tlsHost } from "../load/certificates.ts";
import { bundle } from "./node-peers.ts";
import type { RoutedSubject } from "./routed-subject.ts";
import { freePort, startServer } from "./server-process.ts";

/** The subject `net-pipe`: `node:net`, and pipes. */
export function netPipe(): RoutedSubject {
  return {
    ...inNode("net-pipe"),
    secureOrigin: false,
    start: async ({ originPort, folder }) => {
      const port = await freePort();
      const args = [await bundle("net-pipe", folder), `${port}`, `${originPort}`];
      return {
        server: await startServer({ name: "net-pipe", file: process.execPath, args }, port),
        route: { port },
      };
    },
  };
}

/** The subject `node-http2`: `node:http2` on both sides, with TLS on both sides. */
export function nodeHttp2(): RoutedSubject {
  return {
    ...inNode("node-http2"),
    secureOrigin: true,
    start: async ({ originPort, folder, certificates: { ca, caFile, certFile, keyFile } }) => {
      const port = await freePort();
      const origin = `https://${tlsHost}:${originPort}`;
      const script = await bundle("node-http2-compat", folder);
      const args = [script, `${port}`, origin, keyFile, certFile, caFile];
      const server = await startServer({ name: "node-http2", file: process.execPath, args }, port);
      return { server, route: { port, tls: { ca, serverName: tlsHost, alpn: "h2" } } };
    },
  };
}

/** The subject `node-http2-h2c`: the same without TLS. */
export function nodeHttp2Plain(): RoutedSubject {
  return {
    ...inNode("node-http2-h2c"),
    secureOrigin: false,
    start: async ({ originPort, folder }) => {
      const port = await freePort();
      const args = [await bundle("node-http2-compat", folder), `${port}`, `http://${tlsHost}:${originPort}`];
      const server = await startServer({ name: "node-http2-h2c", file: process.execPath, args }, port);
      return { server, route: { port } };
    },
  };
}

function inNode(name: string) {
  return { name, version: undefined, absence: undefined, addedHeaders: [], share: 1 };
}
