/**
 * Outrider for the benches whose calls reach it by CONNECT or speak HTTP/2: the built command line with the V8 flags of its
 * launcher and a compiled policy, and how a client finds its way through it.
 */

import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { compiledText, compileOrThrow } from "../../src/config/compile.ts";
import { TRUST_FILE_NAMES } from "../../src/identity/trust.ts";
import { tlsHost } from "../load/certificates.ts";
import type { Route } from "../load/route.ts";
import { program, v8Flags } from "./outrider.ts";
import type { RoutedSubject } from "./routed-subject.ts";
import { freePort, type ServerProcess, startServer } from "./server-process.ts";

/** How long a start waits for the authority's file. */
const authorityMaxMs = 10_000;

const tracing = ["traceparent", "X-Amzn-Trace-Id"];

/** What a destination does beyond the common part of the policies; YAML lines, indented as its keys. */
interface Kind {
  readonly name: string;
  readonly secureOrigin: boolean;
  readonly addedHeaders: readonly string[];
  /** More keys of the destination. */
  readonly keys: (caFile: string) => string;
  readonly route: (port: number, originPort: number, readAuthority: () => Promise<string>) => Promise<Route>;
}

/** The subject `outrider` of the bench `tunnel`: a tunnel to a port other than 443, so its first bytes are looked at. */
export function outriderTunnel(): RoutedSubject {
  return subject({
    name: "outrider",
    secureOrigin: false,
    addedHeaders: [],
    keys: () => "",
    route: async (port, originPort) => ({ port, tunnelTo: `${tlsHost}:${originPort}` }),
  });
}

/** The subject `outrider` of the benches `intercept` and `h2`: it opens the TLS inside the tunnel. */
export function outriderIntercept(alpn: "h2" | "http/1.1"): RoutedSubject {
  return subject({
    name: "outrider",
    secureOrigin: true,
    addedHeaders: tracing,
    keys: (caFile) => `    tls: { intercept: true, ca: "file:${caFile}" }\n`,
    route: async (port, originPort, readAuthority) => ({
      port,
      tunnelTo: `${tlsHost}:${originPort}`,
      tls: { ca: await readAuthority(), serverName: tlsHost, alpn },
    }),
  });
}

/** The subject `outrider-h2c`: HTTP/2 by prior knowledge on both sides, in a tunnel, as gRPC clients do behind a proxy. */
export function outriderH2c(): RoutedSubject {
  return subject({
    name: "outrider-h2c",
    secureOrigin: false,
    addedHeaders: tracing,
    keys: () => "    http_version: http2\n",
    route: async (port, originPort) => ({ port, tunnelTo: `${tlsHost}:${originPort}` }),
  });
}

function subject({ name, secureOrigin, addedHeaders, keys, route }: Kind): RoutedSubject {
  return {
    name,
    version: undefined,
    absence: existsSync(program) ? undefined : "dist/outrider.js is missing, run npm run build",
    addedHeaders,
    secureOrigin,
    share: 1,
    start: async ({ originPort, folder, certificates }) => {
      const port = await freePort();
      const file = join(folder, "outrider.json");
      const source = routedPolicy({ port, originPort, keys: keys(certificates.caFile) });
      await writeFile(file, compiledText(compileOrThrow(source, "outrider.yaml").config));
      // A folder for each start: what an earlier one left behind is not trusted.
      const authorities = join(folder, `outrider-ca-${port}`);
      const server: ServerProcess = await startServer(
        {
          name,
          file: process.execPath,
          args: [...v8Flags, program, "run", "--config", file],
          env: { OUTRIDER_CA_DIR: authorities, TMPDIR: folder },
        },
        port,
      );
      const readAuthority = () => readWhenWritten(join(authorities, TRUST_FILE_NAMES.authority));
      return { server, route: await route(port, originPort, readAuthority) };
    },
  };
}

/** `outrider run` binds first and writes its authority then; the file appears whole. */
async function readWhenWritten(path: string): Promise<string> {
  const giveUpAtMs = performance.now() + authorityMaxMs;
  while (!existsSync(path) && performance.now() < giveUpAtMs) await sleep(10);
  return readFile(path, "latin1");
}

/** The policy's source: one destination, `localhost` at any port, with the features of the bench `passthrough` on, and `keys` beside them. */
export function routedPolicy({
  port,
  originPort,
  keys,
}: {
  readonly port: number;
  readonly originPort: number;
  readonly keys: string;
}): string {
  return `
version: 1
on_proxy_failure: closed
listen: { port: ${port} }
limits: { tunnels: 5000 }
acl: { default: deny, mode: enforce }
destinations:
  - name: origin
    hosts: ["${tlsHost}"]
    allow_addresses: ["127.0.0.1:${originPort}", "[::1]:${originPort}"]
    timeout: 60s
    limits: { rate: 100000/s, burst: 100000, max_concurrency: 5000 }
${keys}telemetry: { access_log: sampled, sample: 0.01, propagate: [tracecontext, xray] }
`;
}
