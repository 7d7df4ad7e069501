/**
 * HAProxy with one thread: as a reverse proxy with a pool of kept-alive upstream connections, and as a plain TCP proxy.
 * Optional: skipped where it is not installed.
 */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { RoutedSubject } from "./routed-subject.ts";
import { freePort, startServer } from "./server-process.ts";
import { findProgram, programVersion, type Subject } from "./subject.ts";

/** The subject `haproxy`. */
export function haproxy(): Subject {
  const program = findProgram("haproxy");
  return {
    name: "haproxy",
    form: "origin",
    version: program && programVersion(program, /HAProxy version (\S+)/),
    absence: program ? undefined : "haproxy is not installed",
    addedHeaders: [],
    start: async ({ originPort, folder }) => {
      const port = await freePort();
      const file = join(folder, "haproxy.cfg");
      await writeFile(file, configuration(port, originPort));
      // -db keeps it in the foreground, whatever the configuration says.
      return startServer({ name: "haproxy", file: program!, args: ["-db", "-f", file] }, port);
    },
  };
}

/** The subject `haproxy` of the bench `tunnel`: it passes bytes in TCP mode, to the one origin that it knows. */
export function haproxyTcp(): RoutedSubject {
  const { version, absence } = haproxy();
  return {
    name: "haproxy",
    version,
    absence,
    addedHeaders: [],
    secureOrigin: false,
    share: 1,
    start: async ({ originPort, folder }) => {
      const port = await freePort();
      const file = join(folder, "haproxy-tcp.cfg");
      await writeFile(file, tcpConfiguration(port, originPort));
      const args = ["-db", "-f", file];
      const server = await startServer({ name: "haproxy", file: findProgram("haproxy")!, args }, port);
      return { server, route: { port } };
    },
  };
}

/** No log, and upstream connections shared by all clients (`http-reuse always`), so that it does nothing but forward. */
function configuration(port: number, originPort: number): string {
  return `
global
  nbthread 1
  maxconn 1024
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout http-keep-alive 60s
  option http-keep-alive
  http-reuse always
frontend listener
  bind 127.0.0.1:${port}
  default_backend origin
backend origin
  server origin 127.0.0.1:${originPort} pool-max-conn -1
`;
}

/** Its own default of copying through a buffer; enough connections for the tunnels that idle. */
function tcpConfiguration(port: number, originPort: number): string {
  return `
global
  nbthread 1
  maxconn 4000
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend listener
  bind 127.0.0.1:${port}
  default_backend origin
backend origin
  server origin 127.0.0.1:${originPort}
`;
}
