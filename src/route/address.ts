/**
 * IP addresses and blocks of them as numbers. Pure text work: nothing is resolved, and what an address is good for is said in
 * `address-class.ts`.
 */
import { isIP } from "node:net";

/**
 * 128 bits in four unsigned 32-bit words. An IPv4 address stands as the IPv6 address that it is mapped to (`::ffff:a.b.c.d`,
 * RFC 4291 §2.5.5.2), so that the two notations of one address cannot be judged differently.
 */
export type Address = readonly [number, number, number, number];

const IPV4_MAPPED = 0xffff;

/** The address in `text`; a zone (`%eth0`, RFC 4007 §11) is left out. `null` when it is none. */
export function parseAddress(text: string): Address | null {
  const zone = text.indexOf("%");
  const bare = zone < 0 ? text : text.slice(0, zone);
  const family = isIP(bare);
  if (family === 4) return mapped(quadWord(bare));
  return family === 6 ? parseIPv6(bare) : null;
}

/** The IPv4 address `word` (big-endian) as an `Address`. */
export function mapped(word: number): Address {
  return [0, 0, IPV4_MAPPED, word >>> 0];
}

/** Whether it is an IPv4 address, written either way. */
export function isIPv4Address(address: Address): boolean {
  return address[0] === 0 && address[1] === 0 && address[2] === IPV4_MAPPED;
}

/** One text for each address: a dotted quad, or eight groups of hexadecimal digits. */
export function textOf(address: Address): string {
  if (isIPv4Address(address)) {
    const word = address[3];
    return [word >>> 24, (word >>> 16) & 255, (word >>> 8) & 255, word & 255].join(".");
  }
  return address.map((word) => `${(word >>> 16).toString(16)}:${(word & 0xffff).toString(16)}`).join(":");
}

function quadWord(quad: string): number {
  return quad.split(".").reduce((word, octet) => word * 256 + Number(octet), 0);
}

/** `text` has passed `isIP`. */
function parseIPv6(text: string): Address {
  const tail = text.lastIndexOf(":") + 1;
  if (!text.includes(".", tail)) return wordsOf(text);
  const word = quadWord(text.slice(tail));
  return wordsOf(`${text.slice(0, tail)}${(word >>> 16).toString(16)}:${(word & 0xffff).toString(16)}`);
}

function wordsOf(text: string): Address {
  const [left = "", right] = text.split("::");
  const head = groups(left);
  const rest = right === undefined ? [] : groups(right);
  const all = [...head, ...Array<number>(8 - head.length - rest.length).fill(0), ...rest];
  const word = (at: number) => all[at]! * 0x10000 + all[at + 1]!;
  return [word(0), word(2), word(4), word(6)];
}

function groups(text: string): number[] {
  return text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16));
}

/** A CIDR block: all addresses that agree with `base` in the first `bits` bits of 128. */
export interface AddressBlock {
  readonly base: Address;
  readonly bits: number;
  /** An IPv6 block as wide as `::/0` takes in the mapped addresses too; it was not meant for IPv4, so it does not match there. */
  readonly ipv4: boolean;
}

/** `10.0.0.0/8`, `fd00::/8`, or a bare address as the block of only itself. `null` when it is neither. */
export function parseBlock(text: string): AddressBlock | null {
  const slash = text.indexOf("/");
  const base = text.includes("%") ? null : parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (base === null) return null;
  const ipv4 = isIPv4Address(base);
  if (slash < 0) return { base, bits: 128, ipv4 };
  const digits = text.slice(slash + 1);
  const written = /^\d{1,3}$/.test(digits) ? Number(digits) : Number.NaN;
  const dotted = isIP(text.slice(0, slash)) === 4;
  if (!(written <= (dotted ? 32 : 128))) return null;
  return { base, bits: dotted ? written + 96 : written, ipv4 };
}

/** Whether `address` lies in `block`. */
export function inBlock(block: AddressBlock, address: Address): boolean {
  if (!block.ipv4 && isIPv4Address(address)) return false;
  for (let at = 0, left = block.bits; left > 0; at++, left -= 32) {
    const difference = block.base[at]! ^ address[at]!;
    if (left >= 32 ? difference !== 0 : difference >>> (32 - left) !== 0) return false;
  }
  return true;
}
