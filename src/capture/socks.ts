/**
 * The words of SOCKS5 (RFC 1928) that open a tunnel: a greeting, a request to connect, and the replies to both. Only CONNECT and only
 * without authentication: the port is loopback's. Pure.
 */
import { SocketAddress } from "node:net";
import { EgressError, type ErrorCode } from "../errors.ts";
import { parseAuthority } from "./target.ts";

/** First byte of each of the client's messages, and of none in HTTP or TLS. */
export const SOCKS5 = 0x05;
/** The version before, which knows no IPv6 and needs another dialogue. It is told apart only to be refused. */
export const SOCKS4 = 0x04;

/** No message of the client's is longer: a domain of 255 bytes with what surrounds it, or 255 methods. */
export const SOCKS_MESSAGE_BYTES_MAX = 4 + 1 + 255 + 2;

const NO_AUTHENTICATION = 0x00;
const CONNECT = 0x01;
const IPV4 = 0x01;
const DOMAIN = 0x03;
const IPV6 = 0x04;

/** Reply codes (RFC 1928 §6). */
const REPLY = {
  succeeded: 0x00,
  failure: 0x01,
  notAllowed: 0x02,
  networkUnreachable: 0x03,
  hostUnreachable: 0x04,
  refused: 0x05,
  expired: 0x06,
  commandUnsupported: 0x07,
  addressUnsupported: 0x08,
} as const;

/** A message is not whole yet. */
interface Unfinished {
  readonly kind: "partial";
}

/** The client is told `reply`, and the connection ends. */
export interface SocksRefusal {
  readonly kind: "refused";
  readonly reply: Buffer;
  readonly error: EgressError;
}

/** What the client's greeting is. `next` is the index of the first byte behind it. */
export type GreetingRead = Unfinished | { readonly kind: "greeting"; readonly next: number } | SocksRefusal;

/** What the client's request is. */
export type SocksRequestRead =
  | Unfinished
  | { readonly kind: "connect"; readonly host: string; readonly port: number; readonly next: number }
  | SocksRefusal;

const PARTIAL: Unfinished = { kind: "partial" };

/** The answer to a greeting that offers to go without authentication (RFC 1928 §3). */
export const METHOD_CHOSEN: Buffer = Buffer.from([SOCKS5, NO_AUTHENTICATION]);
/** "No acceptable methods". */
const NO_METHOD = Buffer.from([SOCKS5, 0xff]);
/** SOCKS4 "request rejected": a null byte, 91, and six bytes that mean nothing. */
const SOCKS4_REJECTED = Buffer.from([0, 91, 0, 0, 0, 0, 0, 0]);

/** Reads the first message of a client whose first byte is SOCKS5's or SOCKS4's. */
export function readGreeting(bytes: Buffer): GreetingRead {
  if (bytes.length === 0) return PARTIAL;
  if (bytes[0] === SOCKS4) {
    return refused("BAD_TARGET", "SOCKS4 is not spoken here; use socks5:// or socks5h://", SOCKS4_REJECTED);
  }
  if (bytes[0] !== SOCKS5) return refused("BAD_TARGET", "no greeting of SOCKS5", NO_METHOD);
  if (bytes.length < 2) return PARTIAL;
  const next = 2 + bytes[1]!;
  if (bytes.length < next) return PARTIAL;
  if (bytes.subarray(2, next).includes(NO_AUTHENTICATION)) return { kind: "greeting", next };
  return refused("BAD_TARGET", "the SOCKS client insists on authentication; give it no user name", NO_METHOD);
}

/** Reads the message behind the greeting. */
export function readSocksRequest(bytes: Buffer): SocksRequestRead {
  if (bytes.length < 5) return shortRequest(bytes);
  const [version, command, reserved, type, first] = bytes;
  if (version !== SOCKS5 || reserved !== 0) return malformed("malformed SOCKS5 request");
  if (command !== CONNECT) {
    const why = `SOCKS5 command ${command} (${command === 2 ? "BIND" : command === 3 ? "UDP ASSOCIATE" : "unknown"}): only CONNECT`;
    return refused("BAD_TARGET", why, socksReply(REPLY.commandUnsupported));
  }
  if (type !== IPV4 && type !== IPV6 && type !== DOMAIN) {
    return refused("BAD_TARGET", `SOCKS5 address type ${type}`, socksReply(REPLY.addressUnsupported));
  }
  const start = type === DOMAIN ? 5 : 4;
  const end = start + (type === IPV4 ? 4 : type === IPV6 ? 16 : first!);
  const next = end + 2;
  if (bytes.length < next) return PARTIAL;
  const host = hostText(type, bytes.subarray(start, end));
  // An address in brackets has a type of its own; as a name it is read in two ways.
  if (type === DOMAIN && host.startsWith("[")) return malformed("SOCKS5 request: an address as a name");
  const target = parseAuthority(`${host}:${bytes.readUInt16BE(end)}`, 0);
  if (target instanceof EgressError) return malformed(`SOCKS5 request: ${target.message}`);
  return { kind: "connect", ...target, next };
}

/** Less than any request has: refused as soon as it cannot become one. */
function shortRequest(bytes: Buffer): SocksRequestRead {
  return bytes.length > 0 && bytes[0] !== SOCKS5 ? malformed("malformed SOCKS5 request") : PARTIAL;
}

function hostText(type: number, address: Buffer): string {
  if (type === IPV4) return address.join(".");
  if (type === DOMAIN) return address.latin1Slice();
  const groups = Array.from({ length: 8 }, (_, i) => address.readUInt16BE(2 * i).toString(16));
  // One notation for each address (RFC 5952), so that it is found under it in the policy.
  return `[${new SocketAddress({ family: "ipv6", address: groups.join(":") }).address}]`;
}

function malformed(why: string): SocksRefusal {
  return refused("BAD_TARGET", why, socksReply(REPLY.failure));
}

function refused(code: ErrorCode, why: string, reply: Buffer): SocksRefusal {
  return { kind: "refused", reply, error: new EgressError(code, why) };
}

/** A reply with `code`. The bound address that belongs into it is nobody's business behind a proxy: 0.0.0.0:0. */
function socksReply(code: number): Buffer {
  return Buffer.from([SOCKS5, code, 0, IPV4, 0, 0, 0, 0, 0, 0]);
}

/** The reply behind which the tunnel begins. */
export const TUNNEL_OPEN_SOCKS: Buffer = socksReply(REPLY.succeeded);

const BY_CODE: Readonly<Partial<Record<ErrorCode, number>>> = {
  DENIED: REPLY.notAllowed,
  ADDRESS_DENIED: REPLY.notAllowed,
  DNS_FAILED: REPLY.hostUnreachable,
  DNS_TIMEOUT: REPLY.hostUnreachable,
  CONNECT_FAILED: REPLY.refused,
  CONNECT_TIMEOUT: REPLY.expired,
  DEADLINE_EXCEEDED: REPLY.expired,
};

/** What the system says when there is no way to the peer, rather than a peer that declines. */
const BY_CAUSE: Readonly<Record<string, number>> = {
  ENETUNREACH: REPLY.networkUnreachable,
  EHOSTUNREACH: REPLY.hostUnreachable,
};

/** The reply for a tunnel that could not be had. Everything that SOCKS5 has no word for is a "general failure". */
export function socksFailure(error: EgressError): Buffer {
  const cause = String((error.cause as { code?: unknown } | undefined)?.code ?? "");
  return socksReply(BY_CAUSE[cause] ?? BY_CODE[error.code] ?? REPLY.failure);
}
