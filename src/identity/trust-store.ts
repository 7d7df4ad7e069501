/**
 * A trust store for Java: PKCS#12 (RFC 7292) that holds certificates and nothing else. Pure.
 *
 * Java takes a certificate in PKCS#12 for trusted only when it carries Oracle's trustedKeyUsage attribute, which OpenSSL writes
 * since 3.2 only. Certificates are public, so nothing is encrypted and the MAC costs one round: it is there because Java asks for it.
 */
import { createHash, createHmac, randomBytes } from "node:crypto";
import {
  bytesOf,
  type Der,
  encoded,
  explicit,
  nothing,
  octetString,
  octetStringOf,
  oid,
  sequence,
  set,
  smallInteger,
} from "./der.ts";

/** The password of Java's own trust store, which everybody knows: it protects nothing, and readers need one. */
export const TRUST_STORE_PASSWORD = "changeit";

const OID = {
  data: "1.2.840.113549.1.7.1",
  certBag: "1.2.840.113549.1.12.10.1.3",
  x509Certificate: "1.2.840.113549.1.9.22.1",
  trustedKeyUsage: "2.16.840.1.113894.746875.1.1",
  anyExtendedKeyUsage: "2.5.29.37.0",
  sha256: "2.16.840.1.101.3.4.2.1",
} as const;

/** A trust store of `certificates` (DER). They have no names; Java numbers them. */
export function trustStore(certificates: readonly Buffer[]): Buffer {
  const content = bytesOf(sequence(contentInfo(sequence(...certificates.map(bagging())))));
  return bytesOf(sequence(smallInteger(3), contentInfo(encoded(content)), macData(content)));
}

/** ContentInfo of type data (RFC 5652 §4). */
const contentInfo = (content: Der): Der => sequence(oid(OID.data), explicit(0, octetStringOf(content)));

/** Makes SafeBags with a CertBag (RFC 7292 §4.2.3). What they share is made once: there are some 150, and the application waits. */
function bagging(): (certificate: Buffer) => Der {
  const bagType = oid(OID.certBag);
  const certificateType = oid(OID.x509Certificate);
  const trusted = encoded(
    bytesOf(set(sequence(oid(OID.trustedKeyUsage), set(oid(OID.anyExtendedKeyUsage))))),
  );
  return (certificate) =>
    sequence(bagType, explicit(0, sequence(certificateType, explicit(0, octetString(certificate)))), trusted);
}

/** MacData (RFC 7292 §4) with HMAC-SHA256, which Java reads since 8u301, 11.0.12 and 16; `iterations` is left out, as 1 is its default. */
function macData(content: Buffer): Der {
  const salt = randomBytes(20);
  const mac = createHmac("sha256", macKey(TRUST_STORE_PASSWORD, salt)).update(content).digest();
  return sequence(sequence(sequence(oid(OID.sha256), nothing()), octetString(mac)), octetString(salt));
}

/** RFC 7292 appendix B.2 for SHA-256, one round and one block: the diversifier 3, salt and password, each filled up to whole blocks. */
function macKey(password: string, salt: Buffer): Buffer {
  const terminated = Buffer.from(`${password}\0`, "utf16le").swap16();
  return createHash("sha256")
    .update(Buffer.alloc(SHA256_BLOCK_BYTES, 3))
    .update(wholeBlocks(salt))
    .update(wholeBlocks(terminated))
    .digest();
}

const SHA256_BLOCK_BYTES = 64;

/** `bytes` repeated until a block is full. */
function wholeBlocks(bytes: Buffer): Buffer {
  return Buffer.alloc(Math.ceil(bytes.length / SHA256_BLOCK_BYTES) * SHA256_BLOCK_BYTES, bytes);
}
