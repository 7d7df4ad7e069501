/**
 * mockttp as a proxy that passes everything through, with its own authority. Optional and heavy (190 packages), so it is no
 * dependency of the project: it is installed beside its manifest by `npm install --prefix bench/peers/mockttp`.
 */

import { existsSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { tlsHost } from "../load/certificates.ts";
import type { RoutedSubject } from "./routed-subject.ts";
import { freePort, startServer } from "./server-process.ts";

const installed = new URL("mockttp/node_modules/mockttp/package.json", import.meta.url);
const program = fileURLToPath(new URL("mockttp/proxy.mjs", import.meta.url));

/** The subject `mockttp`. */
export function mockttp(): RoutedSubject {
  const present = existsSync(installed);
  return {
    name: "mockttp",
    version: present ? JSON.parse(readFileSync(installed, "utf8")).version : undefined,
    absence: present ? undefined : "it is not installed, run npm install --prefix bench/peers/mockttp",
    addedHeaders: [],
    secureOrigin: true,
    share: 0.25,
    start: async ({ originPort, folder, certificates }) => {
      const port = await freePort();
      const authority = join(folder, "mockttp-ca.pem");
      const args = [program, String(port), authority, certificates.caFile];
      const server = await startServer({ name: "mockttp", file: process.execPath, args }, port);
      const tls = { ca: await readFile(authority, "latin1"), serverName: tlsHost, alpn: "http/1.1" } as const;
      return { server, route: { port, tunnelTo: `${tlsHost}:${originPort}`, tls } };
    },
  };
}
