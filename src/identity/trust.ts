/**
 * What the files hold that make clients trust the sandbox's authority besides everything that they trusted before. Pure; the files are
 * read and written by `trust-files.ts`.
 */
import { certificatesIn, type PemCertificate } from "./pem.ts";
import { trustStore } from "./trust-store.ts";

/** Variable that Node reads at its start; what the file holds is added to Node's own roots. */
export const ADDING_VARIABLE = "NODE_EXTRA_CA_CERTS";
/** Variables that replace what a client trusts: OpenSSL and with it Ruby, Go, .NET, Python's ssl; requests; curl; the AWS SDKs; gRPC. */
export const REPLACING_VARIABLES = [
  "SSL_CERT_FILE",
  "REQUESTS_CA_BUNDLE",
  "CURL_CA_BUNDLE",
  "AWS_CA_BUNDLE",
  "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
] as const;

/** The files of the directory. */
export const TRUST_FILE_NAMES = {
  /** The authority alone: to be added to something. */
  authority: "ca.pem",
  /** For `NODE_EXTRA_CA_CERTS`: the authority, and what the user had there. */
  extra: "extra-ca.pem",
  /** For the variables that replace: the system's roots, what the user had in any of them, the authority. */
  bundle: "bundle.pem",
  /** The same as PKCS#12 for Java. */
  trustStore: "truststore.p12",
} as const;

/** PEM texts; "" for what is not there. */
export interface TrustSources {
  readonly authority: string;
  readonly systemRoots: string;
  /** Content of the user's `NODE_EXTRA_CA_CERTS`. */
  readonly userExtra: string;
  /** Contents of what the user has in the variables that replace. */
  readonly userBundles: readonly string[];
}

/** Name of each file → its content. A certificate that comes from several sources is there once; keys are never copied. */
export function composeTrust(sources: TrustSources): ReadonlyMap<string, string | Buffer> {
  const { authority, systemRoots, userExtra, userBundles } = sources;
  const bundle = certificatesIn(systemRoots, ...userBundles, authority);
  const extra = certificatesIn(authority, userExtra);
  const store = trustStore(bundle.map(({ base64 }) => Buffer.from(base64, "base64")));
  return new Map<string, string | Buffer>([
    [TRUST_FILE_NAMES.authority, authority],
    [TRUST_FILE_NAMES.extra, textOf("Outrider's authority and NODE_EXTRA_CA_CERTS as it was.", extra)],
    [TRUST_FILE_NAMES.bundle, textOf("System roots, the user's own bundles, Outrider's authority.", bundle)],
    [TRUST_FILE_NAMES.trustStore, store],
  ]);
}

/** Lines before the first BEGIN are comments to every reader (RFC 7468 §5.2). */
const textOf = (comment: string, certificates: readonly PemCertificate[]): string =>
  `# ${comment}\n${certificates.map(({ block }) => `${block}\n`).join("")}`;
