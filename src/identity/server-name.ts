/** Names for which a certificate may be made: what SNI or the target of a tunnel holds, read strictly. Pure. */
import { isIPv4, isIPv6 } from "node:net";

/** A name that a certificate can hold. */
export type ServerName =
  | { readonly kind: "dns"; readonly text: string }
  | { readonly kind: "address"; readonly text: string; readonly octets: Buffer };

/** Letters, digits, hyphen and underscore (which hosts do use), 1 to 63 a label; no wildcard, no empty label, no final dot. */
const DNS_NAME = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*$/;
/** Characters of a DNS name in this form (RFC 1035 §2.3.4 less the length bytes). */
const DNS_NAME_MAX = 253;

/**
 * Reads `text`, which is lower case and without brackets.
 * @throws RangeError when no certificate can be made for it
 */
export function serverName(text: string): ServerName {
  if (isIPv4(text)) return { kind: "address", text, octets: Buffer.from(text.split(".").map(Number)) };
  // An address with a zone (`fe80::1%eth0`) means something on this machine only.
  if (isIPv6(text) && !text.includes("%")) return { kind: "address", text, octets: ipv6Octets(text) };
  if (text.length <= DNS_NAME_MAX && DNS_NAME.test(text)) return { kind: "dns", text };
  throw new RangeError(
    "no certificate can be made for a name like this: neither a host name nor an IP address",
  );
}

/** The 16 octets of an address that `isIPv6` has accepted. */
function ipv6Octets(text: string): Buffer {
  const dotted = /[^:]*\.[^:]*$/.exec(text)?.[0];
  const plain =
    dotted === undefined ? text : text.slice(0, -dotted.length) + groupsOf(dotted.split(".").map(Number));
  const [left = "", right] = plain.split("::");
  const head = left === "" ? [] : left.split(":");
  const tail = right === undefined || right === "" ? [] : right.split(":");
  const zeros = Array<string>(8 - head.length - tail.length).fill("0");
  const octets = Buffer.alloc(16);
  for (const [at, group] of [...head, ...zeros, ...tail].entries())
    octets.writeUInt16BE(Number.parseInt(group, 16), at * 2);
  return octets;
}

/** `1.2.3.4` as the two groups that it stands for. */
const groupsOf = ([a, b, c, d]: readonly number[]): string =>
  `${(a! * 256 + b!).toString(16)}:${(c! * 256 + d!).toString(16)}`;
