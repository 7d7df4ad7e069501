/**
 * What an IP address is, by the IANA special-purpose registries (RFC 6890) and by where clouds keep their metadata services.
 *
 * Owns the table only. Which classes may be dialled is decided in `admit.ts`.
 */
import { type Address, type AddressBlock, inBlock, mapped, parseAddress, parseBlock } from "./address.ts";

/** The classes of the table below, `global` for what is in no row, and `invalid` for a text that is no address. */
export type AddressClass =
  | "global"
  | "unspecified"
  | "this_network"
  | "loopback"
  | "private"
  | "cgnat"
  | "link_local"
  | "metadata"
  | "multicast"
  | "broadcast"
  | "documentation"
  | "benchmarking"
  | "reserved"
  | "ipv4_compatible"
  | "ipv4_translated"
  | "nat64"
  | "sixtofour"
  | "teredo"
  | "isatap"
  | "invalid";

/**
 * First match wins, so a block stands before the wider one that contains it. A block of IPv4 takes in its mapped form too.
 * Sources: IANA IPv4 and IPv6 Special-Purpose Address Registries, and the clouds' own documentation for `metadata`.
 */
const ROWS: readonly (readonly [block: string, is: AddressClass])[] = [
  // Metadata and credential services. Some of these lie in blocks that are otherwise harmless or even global.
  ["169.254.169.254", "metadata"], // AWS, Google Cloud, Azure and most others
  ["169.254.170.2", "metadata"], // Amazon ECS task credentials
  ["169.254.170.23", "metadata"], // Amazon EKS Pod Identity
  ["fd00:ec2::/32", "metadata"], // AWS over IPv6: ::254 instance metadata, ::23 EKS Pod Identity
  ["fd20:ce::254", "metadata"], // Google Cloud over IPv6
  ["fe80::a9fe:a9fe", "metadata"], // OpenStack over IPv6
  ["100.100.100.200", "metadata"], // Alibaba Cloud
  ["168.63.129.16", "metadata"], // Azure's wire server: a global address that is answered inside the host
  ["192.0.0.192", "metadata"], // Oracle Cloud

  ["0.0.0.0/32", "unspecified"], // connects to this host on Linux
  ["0.0.0.0/8", "this_network"], // RFC 791 §3.2
  ["10.0.0.0/8", "private"], // RFC 1918
  ["100.64.0.0/10", "cgnat"], // RFC 6598
  ["127.0.0.0/8", "loopback"], // RFC 1122 §3.2.1.3
  ["169.254.0.0/16", "link_local"], // RFC 3927
  ["172.16.0.0/12", "private"], // RFC 1918
  ["192.0.0.0/24", "reserved"], // IETF protocol assignments, RFC 6890 §2.1
  ["192.0.2.0/24", "documentation"], // RFC 5737
  ["192.88.99.0/24", "reserved"], // 6to4 relay anycast, deprecated by RFC 7526
  ["192.168.0.0/16", "private"], // RFC 1918
  ["198.18.0.0/15", "benchmarking"], // RFC 2544
  ["198.51.100.0/24", "documentation"], // RFC 5737
  ["203.0.113.0/24", "documentation"], // RFC 5737
  ["224.0.0.0/4", "multicast"], // RFC 1112 §4
  ["255.255.255.255", "broadcast"], // RFC 919 §7
  ["240.0.0.0/4", "reserved"], // RFC 1112 §4

  ["::", "unspecified"], // RFC 4291 §2.5.2
  ["::1", "loopback"], // RFC 4291 §2.5.3
  ["::/96", "ipv4_compatible"], // RFC 4291 §2.5.5.1, deprecated
  ["::ffff:0:0:0/96", "ipv4_translated"], // RFC 2765 §2.1
  ["64:ff9b::/96", "nat64"], // RFC 6052 §2.1
  ["64:ff9b:1::/48", "nat64"], // RFC 8215
  ["100::/64", "reserved"], // discard, RFC 6666
  ["100:0:0:1::/64", "reserved"], // dummy prefix, RFC 9780
  ["2001::/32", "teredo"], // RFC 4380
  ["2001:2::/48", "benchmarking"], // RFC 5180
  ["2001::/23", "reserved"], // IETF protocol assignments, RFC 2928
  ["2001:db8::/32", "documentation"], // RFC 3849
  ["2002::/16", "sixtofour"], // RFC 3056
  ["3fff::/20", "documentation"], // RFC 9637
  ["5f00::/16", "reserved"], // segment routing identifiers, RFC 9602
  ["fc00::/7", "private"], // RFC 4193
  ["fe80::/10", "link_local"], // RFC 4291 §2.5.6
  ["fec0::/10", "reserved"], // site-local, deprecated by RFC 3879
  ["ff00::/8", "multicast"], // RFC 4291 §2.7
];

const TABLE: readonly (readonly [AddressBlock, AddressClass])[] = ROWS.map(([text, is]) => {
  const block = parseBlock(text);
  if (block === null) throw new RangeError(`not an address block: ${text}`);
  return [block, is];
});

/** The class of an address in text form; an IPv4-mapped address has the class of the IPv4 address in it. */
export function classifyAddress(text: string): AddressClass {
  const address = parseAddress(text);
  return address === null ? "invalid" : classOf(address);
}

/** The class of a parsed address. */
export function classOf(address: Address): AddressClass {
  for (const [block, is] of TABLE) if (inBlock(block, address)) return is;
  return isIsatap(address) ? "isatap" : "global";
}

/** Whether the lower half of a global address is an ISATAP interface identifier, with either value of its `u` bit: RFC 5214 §6.1. */
function isIsatap(address: Address): boolean {
  return (address[2] & ~0x0200_0000) === 0x5efe;
}

/**
 * The IPv4 address that a translator or tunnel would reach through `address`, `null` when it holds none. An IPv4-mapped address
 * is that address already. The local NAT64 prefix of RFC 8215 is not unwrapped: its operator chooses where the address sits.
 */
export function embeddedIPv4(address: Address, is: AddressClass): Address | null {
  switch (is) {
    case "ipv4_compatible":
    case "ipv4_translated":
      return mapped(address[3]);
    case "nat64":
      return address[1] === 0 ? mapped(address[3]) : null;
    case "sixtofour":
      return mapped((address[0] << 16) | (address[1] >>> 16));
    case "teredo":
      return mapped(~address[3]); // the client's address, inverted: RFC 4380 §4
    case "isatap":
      return mapped(address[3]);
    default:
      return null;
  }
}
