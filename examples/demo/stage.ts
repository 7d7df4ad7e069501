/**
 * The temporary folder of a demo: certificates as they should lie on a machine, and the policy with this run's paths and ports.
 *
 * On Lambda neither is needed: the function's folder is /var/task, keys in it are read-only, and upstreams have names.
 */
import { chmodSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { compiledText, compileOrThrow } from "../../src/config/compile.ts";
import type { Config, Destination } from "../../src/config/types.ts";

/** The policy that the demo shows. */
export const POLICY_FILE = fileURLToPath(new URL("outrider.yaml", import.meta.url));

const CERTIFICATES = fileURLToPath(new URL("certs/", import.meta.url));

/** Made by `openStage`. */
export interface Stage {
  /** Folder of the certificates and keys. */
  readonly certs: string;
  /**
   * Compiles the demo's policy for upstreams that listen elsewhere than the file says, and returns the path of the result.
   * @param portOf the real port of each destination
   */
  writePolicy(portOf: (destination: string) => number): string;
  /** Removes the folder. */
  close(): void;
}

/** Makes the folder, readable by its owner only. */
export function openStage(): Stage {
  const folder = mkdtempSync(join(tmpdir(), "outrider-demo-"));
  const certs = join(folder, "certs");
  cpSync(CERTIFICATES, certs, { recursive: true });
  // Outrider refuses a key that others may read, and a checkout does not keep modes.
  for (const name of ["server.key", "client.key"]) chmodSync(join(certs, name), 0o600);
  return {
    certs,
    writePolicy(portOf) {
      const { config } = compileOrThrow(readFileSync(POLICY_FILE, "utf8"), basename(POLICY_FILE));
      const path = join(folder, "outrider.json");
      writeFileSync(path, compiledText(relocated(config, certs, portOf)));
      return path;
    },
    close: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function relocated(config: Config, certs: string, portOf: (destination: string) => number): Config {
  const path = (file: string) => file.replace("file:/var/task/certs", `file:${certs}`);
  const moved = ({ ports, tls, ...rest }: Destination): Destination => ({
    ...rest,
    ports: ports.map(() => portOf(rest.name)),
    tls: tls && {
      ...tls,
      clientCert: path(tls.clientCert),
      clientKey: path(tls.clientKey),
      ca: path(tls.ca),
    },
  });
  return { ...config, destinations: config.destinations.map(moved) };
}
