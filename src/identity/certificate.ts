/**
 * X.509 v3 certificates (RFC 5280) of the two kinds that a sandbox's authority needs: its own, and a server's. Signed with
 * ECDSA-SHA256 by node:crypto.
 *
 * Written here because @peculiar/x509 alone takes a cold start to 96 ms before `register`, against 37 ms with node:tls and node:crypto.
 * Owns what the certificates say; keys, caching and time belong to `authority.ts`, names to `server-name.ts`.
 */
import { createHash, type KeyObject, randomBytes, sign } from "node:crypto";
import {
  bitString,
  boolean,
  bytesOf,
  type Der,
  encoded,
  explicit,
  implicit,
  namedBits,
  octetString,
  octetStringOf,
  oid,
  positiveInteger,
  sequence,
  set,
  smallInteger,
  time,
  utf8String,
} from "./der.ts";
import type { ServerName } from "./server-name.ts";

/** Epoch milliseconds; certificates keep whole seconds. */
export interface Validity {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** What signs. */
export interface Issuer {
  readonly name: string;
  readonly keyId: Buffer;
  readonly privateKey: KeyObject;
}

const OID = {
  ecdsaWithSha256: "1.2.840.10045.4.3.2",
  commonName: "2.5.4.3",
  subjectKeyIdentifier: "2.5.29.14",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  authorityKeyIdentifier: "2.5.29.35",
  extendedKeyUsage: "2.5.29.37",
  serverAuth: "1.3.6.1.5.5.7.3.1",
} as const;

/** Bits of KeyUsage (RFC 5280 §4.2.1.3). */
const KEY_USAGE = { digitalSignature: 0, keyCertSign: 5, crlSign: 6 } as const;

/** Bytes of a serial number: unguessable, and below the 20 bytes of RFC 5280 §4.1.2.2. */
const SERIAL_BYTES = 16;

/** Characters of a common name at the most (`ub-common-name`, RFC 5280 appendix A.1). */
const COMMON_NAME_MAX = 64;

/** An uncompressed point of P-256, which ends the SubjectPublicKeyInfo. */
const POINT_BYTES = 65;

/**
 * Identifies a P-256 key: the leftmost 160 bits of the SHA-256 of the public key (RFC 7093 §2, method 1; SHA-1, the older way, is
 * refused by some hardened builds of OpenSSL).
 */
export function keyIdOf(publicKey: KeyObject): Buffer {
  const spki = publicKey.export({ type: "spki", format: "der" });
  return createHash("sha256").update(spki.subarray(-POINT_BYTES)).digest().subarray(0, 20);
}

/** The certificate of an authority, signed by itself: it may sign servers and nothing below them. DER. */
export function authorityCertificate(issuer: Issuer, publicKey: KeyObject, validity: Validity): Buffer {
  return certificate(issuer, nameOf(issuer.name), publicKey, validity, [
    extension(OID.basicConstraints, true, sequence(boolean(true), smallInteger(0))),
    extension(OID.keyUsage, true, namedBits(KEY_USAGE.keyCertSign, KEY_USAGE.crlSign)),
    extension(OID.subjectKeyIdentifier, false, octetString(issuer.keyId)),
  ]);
}

/** The certificate of the server `name`, signed by `issuer`. DER. */
export function serverCertificate(
  issuer: Issuer,
  name: ServerName,
  publicKey: KeyObject,
  validity: Validity,
): Buffer {
  // Without room for a common name the subject is empty, and the alternative name is critical then (RFC 5280 §4.2.1.6).
  const named = name.text.length <= COMMON_NAME_MAX;
  return certificate(issuer, named ? nameOf(name.text) : sequence(), publicKey, validity, [
    extension(OID.basicConstraints, true, sequence()),
    extension(OID.keyUsage, true, namedBits(KEY_USAGE.digitalSignature)),
    extension(OID.extendedKeyUsage, false, sequence(oid(OID.serverAuth))),
    extension(OID.subjectKeyIdentifier, false, octetString(keyIdOf(publicKey))),
    extension(OID.authorityKeyIdentifier, false, sequence(implicit(0, issuer.keyId))),
    extension(OID.subjectAltName, !named, sequence(generalName(name))),
  ]);
}

/** PEM (RFC 7468) of a certificate in DER. */
export function certificatePem(der: Buffer): string {
  const lines = der.toString("base64").match(/.{1,64}/g)!;
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

/** RFC 5280 §4.1. */
function certificate(
  issuer: Issuer,
  subject: Der,
  publicKey: KeyObject,
  { notBeforeMs, notAfterMs }: Validity,
  extensions: readonly Der[],
): Buffer {
  const algorithm = sequence(oid(OID.ecdsaWithSha256));
  const version3 = explicit(0, smallInteger(2));
  const signed = bytesOf(
    sequence(
      version3,
      positiveInteger(randomBytes(SERIAL_BYTES)),
      algorithm,
      nameOf(issuer.name),
      sequence(time(notBeforeMs), time(notAfterMs)),
      subject,
      encoded(publicKey.export({ type: "spki", format: "der" })),
      explicit(3, sequence(...extensions)),
    ),
  );
  const signature = sign("sha256", signed, issuer.privateKey);
  return bytesOf(sequence(encoded(signed), algorithm, bitString(signature)));
}

/** A distinguished name that is a common name and nothing else. */
const nameOf = (commonName: string): Der =>
  sequence(set(sequence(oid(OID.commonName), utf8String(commonName))));

function extension(id: string, critical: boolean, content: Der): Der {
  return sequence(oid(id), ...(critical ? [boolean(true)] : []), octetStringOf(content));
}

/** `dNSName` and `iPAddress` of GeneralName (RFC 5280 §4.2.1.6). */
const generalName = (name: ServerName): Der =>
  name.kind === "dns" ? implicit(2, Buffer.from(name.text, "latin1")) : implicit(7, name.octets);
