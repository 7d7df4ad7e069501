/**
 * Whether a server's certificate names the host that was called: RFC 9525, stricter than `tls.checkServerIdentity`, which takes
 * a common name where there is no SAN, wildcards inside a label, and any key size. Pure over what `getPeerCertificate` returns.
 */

/** The part of Node's `PeerCertificate` that is read. */
export interface ServerCertificate {
  readonly subjectaltname?: string | undefined;
  /** RSA modulus or curve size in bits. */
  readonly bits?: number | undefined;
  /** Present for RSA only. */
  readonly modulus?: string | undefined;
  /** OIDs of the extended key usage. */
  readonly ext_key_usage?: readonly string[] | undefined;
}

const RSA_BITS_MIN = 2048;
const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
const ANY_USAGE = "2.5.29.37.0";

/**
 * Why `certificate` does not stand for `name` (lower-case name or IP address), or `null` when it does.
 */
export function identityProblem(
  name: string,
  isAddress: boolean,
  certificate: ServerCertificate,
): string | null {
  if (certificate.modulus !== undefined && (certificate.bits ?? 0) < RSA_BITS_MIN)
    return "RSA key shorter than 2048 bits";
  const usages = certificate.ext_key_usage;
  if (usages !== undefined && !usages.includes(SERVER_AUTH) && !usages.includes(ANY_USAGE)) {
    return "certificate is not for servers (extended key usage)";
  }
  if (certificate.subjectaltname === undefined) return "certificate has no subject alternative name";
  const names = splitNames(certificate.subjectaltname);
  const wanted = isAddress ? canonicalAddress(name) : name;
  const matches = names.some(([kind, value]) =>
    isAddress
      ? kind === "IP Address" && canonicalAddress(value) === wanted
      : kind === "DNS" && nameMatches(wanted, value.toLowerCase()),
  );
  return matches ? null : "certificate is for other names";
}

/** `DNS:a, DNS:"odd, name", IP Address:1.2.3.4` → pairs. Values that had to be quoted are JSON strings (Node since 17.3.1). */
function splitNames(text: string): [kind: string, value: string][] {
  const pairs: [string, string][] = [];
  for (const match of text.matchAll(/([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^,]*)(?:, |$)/g)) {
    const value = match[2]!;
    pairs.push([match[1]!, value.startsWith('"') ? String(JSON.parse(value)) : value]);
  }
  return pairs;
}

/** RFC 9525 §6.3: a wildcard is the whole left-most label, stands for exactly one label, and never above a name of two. */
function nameMatches(name: string, pattern: string): boolean {
  if (!pattern.includes("*")) return pattern === name;
  if (!/^\*\.[a-z0-9_-]+(?:\.[a-z0-9_-]+)+$/.test(pattern)) return false;
  const dot = name.indexOf(".");
  return dot > 0 && name.slice(dot) === pattern.slice(1);
}

/** IPv6 has many spellings; the URL parser knows the one of RFC 5952. */
function canonicalAddress(address: string): string {
  if (!address.includes(":")) return address;
  return URL.parse(`http://[${address}]/`)?.hostname ?? address;
}
