/** The certificates of `certs/`: for origins as values, for the policy file as files that only their owner may read. */
import { chmodSync, copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Files of `certs/`, less the ending. */
export type CertificateName =
  | "ca"
  | "other-ca"
  | "server"
  | "untrusted"
  | "wrong-host"
  | "cn-only"
  | "partial-wildcard"
  | "tld-wildcard"
  | "client-usage"
  | "expired"
  | "not-yet-valid"
  | "rsa-1024"
  | "rsa-2048"
  | "client"
  | "other-client";

const source = (name: CertificateName): URL => new URL(`./certs/${name}.pem`, import.meta.url);

/** Certificate and key of `name`, as `tls.createServer` takes them. */
export function certificate(name: CertificateName): { cert: string; key: string } {
  const pem = readFileSync(source(name), "latin1");
  return { cert: pem, key: pem };
}

let folder: string | null = null;

/** `file:/path` of `name`, as the policy file names it. The file goes away with this process. */
export function certificateFile(name: CertificateName): string {
  if (folder === null) {
    const made = mkdtempSync(join(tmpdir(), "outrider-certificates-"));
    process.on("exit", () => rmSync(made, { recursive: true, force: true }));
    folder = made;
  }
  const path = join(folder, `${name}.pem`);
  copyFileSync(source(name), path);
  // A policy's key that others may read is refused; a checkout makes files readable for all.
  chmodSync(path, 0o600);
  return `file:${path}`;
}
