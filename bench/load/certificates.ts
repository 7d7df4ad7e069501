/**
 * The certificates of a run, made anew by the `openssl` command: an authority and, issued by it, one certificate of a server for
 * `localhost`. P-256 keys, as usual today; RSA would make each handshake's cost its own.
 */

import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findProgram } from "../peers/subject.ts";

/** The name of every origin and server of the benches that speaks TLS. */
export const tlsHost = "localhost";

/** The certificates and keys, PEM. */
export interface Certificates {
  /** The root, and a file that holds it. */
  readonly ca: string;
  readonly caFile: string;
  /** The server's, for `localhost`, and files that hold them. */
  readonly cert: string;
  readonly key: string;
  readonly certFile: string;
  readonly keyFile: string;
}

/** Writes them to `folder`. Throws an Error that names the remedy where `openssl` is not installed. */
export function makeCertificates(folder: string): Certificates {
  const openssl = findProgram("openssl");
  if (!openssl)
    throw new Error("openssl is not installed: the benches with TLS make their certificates with it");
  const path = (name: string) => join(folder, name);
  const run = (...args: string[]) => execFileSync(openssl, args, { stdio: ["ignore", "ignore", "pipe"] });
  const fresh = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  run(
    ...["req", "-x509", ...fresh, "-days", "2", "-subj", "/CN=bench authority"],
    ...["-keyout", path("ca-key.pem"), "-out", path("ca.pem")],
  );
  run("req", ...fresh, "-subj", `/CN=${tlsHost}`, "-keyout", path("key.pem"), "-out", path("request.pem"));
  writeFileSync(path("extensions"), `subjectAltName=DNS:${tlsHost}\nextendedKeyUsage=serverAuth\n`);
  run(
    ...["x509", "-req", "-days", "2", "-in", path("request.pem"), "-extfile", path("extensions")],
    ...["-CA", path("ca.pem"), "-CAkey", path("ca-key.pem"), "-CAcreateserial", "-out", path("cert.pem")],
  );
  const read = (name: string) => readFileSync(path(name), "latin1");
  return {
    ca: read("ca.pem"),
    caFile: path("ca.pem"),
    cert: read("cert.pem"),
    key: read("key.pem"),
    certFile: path("cert.pem"),
    keyFile: path("key.pem"),
  };
}
