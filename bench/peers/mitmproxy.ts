/**
 * mitmproxy's `mitmdump` as a regular forward proxy that opens TLS with its own authority. Optional: skipped where it is not
 * installed.
 */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { tlsHost } from "../load/certificates.ts";
import type { RoutedSubject } from "./routed-subject.ts";
import { freePort, startServer } from "./server-process.ts";
import { findProgram, programVersion } from "./subject.ts";

/** The subject `mitmproxy`. */
export function mitmproxy(): RoutedSubject {
  const program = findProgram("mitmdump");
  return {
    name: "mitmproxy",
    version: program && programVersion(program, /Mitmproxy: (\S+)/, "--version"),
    absence: program ? undefined : "mitmdump is not installed",
    addedHeaders: [],
    secureOrigin: true,
    share: 0.1,
    start: async ({ originPort, folder, certificates }) => {
      const port = await freePort();
      const confdir = join(folder, "mitmproxy");
      // Quiet, so that it writes no line for each flow; else its defaults.
      const args = ["--quiet", "--mode", "regular", "--listen-host", "127.0.0.1", "--listen-port", `${port}`];
      const sets = [`confdir=${confdir}`, `ssl_verify_upstream_trusted_ca=${certificates.caFile}`];
      const settings = sets.flatMap((set) => ["--set", set]);
      const command = {
        name: "mitmproxy",
        file: program!,
        args: [...args, ...settings],
        env: { HOME: folder },
      };
      const server = await startServer(command, port);
      const ca = await readFile(join(confdir, "mitmproxy-ca-cert.pem"), "latin1");
      const tls = { ca, serverName: tlsHost, alpn: "http/1.1" } as const;
      return { server, route: { port, tunnelTo: `${tlsHost}:${originPort}`, tls } };
    },
  };
}
