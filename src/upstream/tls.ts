/**
 * TLS towards upstreams: one context per destination, made when the proxy loads so that a missing or mismatched file is an error
 * then; sessions are resumed per destination and host. Verification cannot be turned off.
 */
import { readFileSync, statSync } from "node:fs";
import { isIP, type OnReadOpts } from "node:net";
import {
  connect,
  createSecureContext,
  type PeerCertificate,
  type SecureContext,
  type TLSSocket,
} from "node:tls";
import type { Destination, DestinationTls } from "../config/types.ts";
import { EgressError } from "../errors.ts";
import type { Address } from "./resolve.ts";
import { identityProblem } from "./server-identity.ts";

/** What is shared by the connections of a destination that speak TLS. */
export interface TlsClient {
  /** Tells pools apart: connections made with different certificates or roots are never shared. */
  readonly id: string;
  /** Opens a connection that is usable at `secureConnect`. `alpn`: the protocols offered, in the order of preference. */
  connect(
    to: Address,
    port: number,
    host: string,
    alpn: readonly string[],
    onread: OnReadOpts | undefined,
  ): TLSSocket;
}

/** A file of the policy is missing or unfit: names the key of the policy file, the path and the remedy. */
export class TlsFileError extends Error {}

/** Session tickets kept, per destination. Overflow: the oldest is forgotten. */
const SESSIONS_MAX = 100;

/** What a client is made of. */
export type TlsSettings = Omit<DestinationTls, "originate" | "intercept">;

/** For destinations without a `tls` section: Node's roots, no client certificate. */
export const PLAIN_TLS: TlsSettings = {
  clientCert: "",
  clientKey: "",
  ca: "",
  serverName: "",
  minVersion: "TLSv1.2",
};

/** Told of a destination whose files cannot be used, by a host that serves the others all the same. */
export type ReportBroken = (problem: TlsFileError) => void;

/**
 * The TLS clients of all destinations, those with a `tls` section made at once. The others share one, made at their first
 * `https` call: reading Node's bundled roots takes some 10 ms, and an application that tunnels never needs it.
 * With `report`, calls to a destination whose files cannot be used fail with IDENTITY_UNAVAILABLE.
 * @throws TlsFileError without `report`
 */
export function createTlsClients(
  destinations: readonly Destination[],
  report: ReportBroken | null,
): (destination: Destination) => () => TlsClient {
  const own = new Map<Destination, () => TlsClient>();
  for (const destination of destinations) {
    if (destination.tls !== null) own.set(destination, clientOf(destination.name, destination.tls, report));
  }
  let shared: TlsClient | null = null;
  const plain = () => (shared ??= createTlsClient("", PLAIN_TLS));
  return (destination) => own.get(destination) ?? plain;
}

function clientOf(name: string, options: TlsSettings, report: ReportBroken | null): () => TlsClient {
  try {
    const client = createTlsClient(name, options);
    return () => client;
  } catch (error) {
    if (report === null || !(error instanceof TlsFileError)) throw error;
    report(error);
    return () => {
      throw new EgressError("IDENTITY_UNAVAILABLE", error.message, error);
    };
  }
}

/**
 * Reads the files and makes the context.
 * @throws TlsFileError
 */
export function createTlsClient(id: string, options: TlsSettings): TlsClient {
  const context = secureContext(id, options);
  const sessions = new Map<string, Buffer>();
  return {
    id,
    connect: (to, port, host, alpn, onread) => {
      const name = options.serverName === "" ? host : options.serverName;
      const isAddress = isIP(name) !== 0;
      // A session resumed belongs to the protocol that was agreed on with it (RFC 7301 §3.1).
      const key = `${name}:${port}/${alpn.join()}`;
      const socket = connect({
        host: to.address,
        port,
        // RFC 6066 §3: no addresses in SNI.
        servername: isAddress ? "" : name,
        secureContext: context,
        session: sessions.get(key),
        ...(alpn.length === 0 ? {} : { ALPNProtocols: [...alpn] }),
        rejectUnauthorized: true,
        checkServerIdentity: (_name, certificate: PeerCertificate) => {
          const problem = identityProblem(
            name,
            isAddress,
            certificate as unknown as Parameters<typeof identityProblem>[2],
          );
          return problem === null ? undefined : Object.assign(new Error(problem), { code: "CERT_IDENTITY" });
        },
        ...(onread === undefined ? {} : { onread }),
      });
      socket.on("session", (session) => {
        sessions.delete(key);
        sessions.set(key, session);
        if (sessions.size > SESSIONS_MAX) sessions.delete(sessions.keys().next().value!);
      });
      return socket;
    },
  };
}

function secureContext(id: string, options: TlsSettings): SecureContext {
  const cert = readPem(id, "client_cert", options.clientCert);
  const key = options.clientKey === "" ? cert : readPem(id, "client_key", options.clientKey);
  const ca = readPem(id, "ca", options.ca);
  try {
    return createSecureContext({
      minVersion: options.minVersion,
      ...(cert === undefined ? {} : { cert, key: key! }),
      ...(ca === undefined ? {} : { ca }),
    });
  } catch (error) {
    const files = [options.clientCert, options.clientKey, options.ca]
      .filter((file) => file !== "")
      .join(", ");
    throw new TlsFileError(
      `destination ${id}: tls: ${files}: ${reason(error)}; give PEM files in which the key belongs to the certificate`,
    );
  }
}

/** OpenSSL's own words without its error numbers. */
function reason(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split(":").at(-1)!.trim();
}

function readPem(id: string, key: string, reference: string): Buffer | undefined {
  if (reference === "") return undefined;
  const path = reference.replace(/^file:/, "");
  const refuse = (why: string): never => {
    throw new TlsFileError(`destination ${id}: tls.${key}: ${path}: ${why}`);
  };
  try {
    const facts = statSync(path);
    if (!facts.isFile()) refuse("is not a file");
    if (key !== "ca" && readableByOthers(facts.mode) && !isReadOnlyLayer(path) && holdsKey(path)) {
      refuse("holds a private key that others may read; chmod 600 it");
    }
    return readFileSync(path);
  } catch (error) {
    if (error instanceof TlsFileError) throw error;
    const code = String((error as { code?: unknown }).code ?? "");
    const why = code === "ENOENT" ? "no such file" : code === "EACCES" ? "permission denied" : code;
    return refuse(`${why}; mount it there or correct the path`);
  }
}

const readableByOthers = (mode: number): boolean => (mode & 0o077) !== 0;

/** Code and layers on Lambda are unpacked world-readable and read-only: no mode could be better there. */
const isReadOnlyLayer = (path: string): boolean => path.startsWith("/var/task/") || path.startsWith("/opt/");

const holdsKey = (path: string): boolean => readFileSync(path, "latin1").includes("PRIVATE KEY-----");
