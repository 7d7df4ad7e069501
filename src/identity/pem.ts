/** Certificates in PEM text (RFC 7468): finding them and telling them apart. Pure. */

/** A certificate as it stands in a text. */
export interface PemCertificate {
  /** From BEGIN to END, without a line end behind it. */
  readonly block: string;
  /** What is between, without white space: the same for the same certificate. */
  readonly base64: string;
}

/** Only this kind: bundles of users may hold keys, which must not be copied, and OpenSSL's own TRUSTED CERTIFICATE, which few can read. */
const CERTIFICATE = /-----BEGIN CERTIFICATE-----\s([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/g;

/** The certificates of `texts` in their order, each once. */
export function certificatesIn(...texts: readonly string[]): PemCertificate[] {
  const found = new Map<string, string>();
  for (const text of texts) {
    for (const [block, body] of text.matchAll(CERTIFICATE)) {
      const base64 = body!.replace(/\s+/g, "");
      if (!found.has(base64)) found.set(base64, block);
    }
  }
  return Array.from(found, ([base64, block]) => ({ block, base64 }));
}
