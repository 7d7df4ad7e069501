/**
 * What the host of a target is, by its text alone: a name, an address, or something that two programs would read differently.
 * Nothing is resolved here and no address is judged; that is `admit.ts`.
 */
import { isIPv4, isIPv6 } from "node:net";
import { parseAddress, textOf } from "./address.ts";

/**
 * - `name`: a host name to be resolved
 * - `ipv4`, `ipv6`: an address in its one canonical notation (dotted quad; RFC 4291 §2.2 without zone)
 * - `ambiguous`: it ends in a number but is no dotted quad (`0x7f.1`, `017700000001`, `2130706433`, `127.1`, `127.0.0.1.`).
 *   inet_aton(3) and the WHATWG URL parser read these as addresses, resolvers as names: refuse it
 * - `invalid`: no host at all, or one with characters that need decoding first (`%25`, non-ASCII digits)
 */
export type HostKind = "name" | "ipv4" | "ipv6" | "ambiguous" | "invalid";

/** Longest host name in text form, characters (RFC 1035 §2.3.4: 255 octets on the wire). */
const NAME_LENGTH_MAX = 253;

/** Labels as resolvers accept them; the underscore is no host name by RFC 952 but is in common use. */
const NAME = /^[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/i;

/** A last label that makes the whole an IPv4 address for some reader (WHATWG URL, "ends in a number"). */
const NUMBER = /^(?:[0-9]+|0x[0-9a-f]*)$/i;

/** Says what `host` (no brackets, no port) is; see `HostKind`. */
export function hostKind(host: string): HostKind {
  if (host.includes(":")) return isIPv6(host) && !host.includes("%") ? "ipv6" : "invalid";
  const name = withoutRootDot(host);
  if (name.length > NAME_LENGTH_MAX || !NAME.test(name)) return "invalid";
  if (!NUMBER.test(name.slice(name.lastIndexOf(".") + 1))) return "name";
  return isIPv4(host) ? "ipv4" : "ambiguous";
}

/**
 * The form in which hosts are compared: lower case, without the dot of the DNS root (`api.example.` is `api.example`), an IPv6 address
 * in one notation, and an IPv4 address that is written as IPv6 (RFC 4291 §2.5.5.2) as the IPv4 address that it is.
 */
export function canonicalHost(host: string): string {
  const address = host.includes(":") ? parseAddress(host) : null;
  return address === null ? withoutRootDot(host).toLowerCase() : textOf(address);
}

function withoutRootDot(host: string): string {
  return host.endsWith(".") ? host.slice(0, -1) : host;
}
