/** SOCKS5 by its bytes (RFC 1928). */
import { describe, expect, test } from "vitest";
import {
  readGreeting,
  readSocksRequest,
  SOCKS_MESSAGE_BYTES_MAX,
  socksFailure,
  TUNNEL_OPEN_SOCKS,
} from "../../src/capture/socks.ts";
import { EgressError, ERROR_CODES, type ErrorCode } from "../../src/errors.ts";

const bytes = (...values: number[]): Buffer => Buffer.from(values);
const request = (type: number, address: Buffer, port = 443, command = 1): Buffer =>
  Buffer.concat([bytes(5, command, 0, type), address, bytes(port >> 8, port & 0xff)]);
const domain = (name: string): Buffer =>
  Buffer.concat([bytes(Buffer.byteLength(name, "latin1")), Buffer.from(name, "latin1")]);
const ipv6 = (hex: string): Buffer => Buffer.from(hex.replaceAll(":", ""), "hex");

describe("a greeting", () => {
  test.each([
    ["with the one method", bytes(5, 1, 0), 3],
    ["with others before it", bytes(5, 3, 2, 1, 0), 5],
    ["with the request right behind", bytes(5, 1, 0, 5, 1), 3],
  ])("%s is taken", (_what, greeting, next) => {
    expect(readGreeting(greeting)).toEqual({ kind: "greeting", next });
  });

  test("is waited for at every cut", () => {
    for (const cut of [0, 1, 2, 3]) {
      expect(readGreeting(bytes(5, 2, 0, 1).subarray(0, cut))).toEqual({ kind: "partial" });
    }
  });

  test.each([
    ["that insists on a password", bytes(5, 1, 2), [5, 0xff], "insists on authentication"],
    ["without methods", bytes(5, 0), [5, 0xff], "insists on authentication"],
    ["of another protocol", bytes(6, 1, 0), [5, 0xff], "no greeting of SOCKS5"],
    ["of SOCKS4", bytes(4, 1, 0, 80), [0, 91, 0, 0, 0, 0, 0, 0], "SOCKS4 is not spoken here; use socks5://"],
  ])("%s is refused in its own words", (_what, greeting, reply, why) => {
    const read = readGreeting(greeting);
    expect(read).toMatchObject({ kind: "refused", reply: bytes(...reply) });
    expect(read.kind === "refused" && [read.error.code, read.error.message]).toEqual([
      "BAD_TARGET",
      expect.stringContaining(why),
    ]);
  });
});

describe("a request", () => {
  test.each([
    ["an IPv4 address", request(1, bytes(192, 0, 2, 7)), "192.0.2.7"],
    ["an IPv6 address", request(4, ipv6("2001:0db8:0000:0000:0000:0000:0000:0001")), "2001:db8::1"],
    [
      "an IPv4 address in IPv6",
      request(4, ipv6("0000:0000:0000:0000:0000:ffff:7f00:0001")),
      "::ffff:127.0.0.1",
    ],
    ["a name", request(3, domain("Api.Example.TEST")), "api.example.test"],
    ["a name with the dot of the root", request(3, domain("api.test.")), "api.test"],
  ])("for %s is understood, and waited for at every cut", (_what, all, host) => {
    const behind = Buffer.concat([all, Buffer.from("GET")]);
    expect(readSocksRequest(behind)).toEqual({ kind: "connect", host, port: 443, next: all.length });
    for (let cut = 0; cut < all.length; cut++) {
      expect(readSocksRequest(all.subarray(0, cut))).toEqual({ kind: "partial" });
    }
    expect(all.length).toBeLessThanOrEqual(SOCKS_MESSAGE_BYTES_MAX);
  });

  test.each([
    ["BIND", request(1, bytes(1, 2, 3, 4), 80, 2), 7, "BIND"],
    ["UDP ASSOCIATE", request(1, bytes(1, 2, 3, 4), 80, 3), 7, "UDP ASSOCIATE"],
    ["an unknown command", request(1, bytes(1, 2, 3, 4), 80, 9), 7, "unknown"],
    ["an unknown kind of address", request(2, bytes(1, 2, 3, 4)), 8, "address type 2"],
    ["another version", bytes(4, 1, 0, 80, 1), 1, "malformed"],
    ["a reserved byte that is set", bytes(5, 1, 1, 1, 1), 1, "malformed"],
    ["port 0", request(1, bytes(1, 2, 3, 4), 0), 1, "port out of range"],
    ["an empty name", request(3, domain("")), 1, "malformed authority"],
    ["a name with a NUL", request(3, domain("a.test\0b")), 1, "malformed authority"],
    ["a name with a port", request(3, domain("a.test:80")), 1, "malformed authority"],
    ["a name with a user", request(3, domain("a@b.test")), 1, "malformed authority"],
    ["a name with an empty label", request(3, domain("a..test")), 1, "malformed authority"],
    ["an IPv6 address as a name", request(3, domain("::1")), 1, "malformed authority"],
    ["an address in brackets as a name", request(3, domain("[::1]")), 1, "an address as a name"],
    ["a name in other letters", request(3, domain("ä.test")), 1, "malformed authority"],
  ])("with %s is refused", (_what, all, code, why) => {
    const read = readSocksRequest(all);
    expect(read).toMatchObject({ kind: "refused", reply: bytes(5, code, 0, 1, 0, 0, 0, 0, 0, 0) });
    expect(read.kind === "refused" && read.error.message).toContain(why);
  });

  test("that cannot become one is refused at its first byte", () => {
    expect(readSocksRequest(bytes(0x16)).kind).toBe("refused");
  });
});

describe("a reply", () => {
  test("of success names no address", () => {
    expect(TUNNEL_OPEN_SOCKS).toEqual(bytes(5, 0, 0, 1, 0, 0, 0, 0, 0, 0));
  });

  test.each<[ErrorCode, string, number]>([
    ["DENIED", "", 2],
    ["ADDRESS_DENIED", "", 2],
    ["DNS_FAILED", "", 4],
    ["DNS_TIMEOUT", "", 4],
    ["CONNECT_FAILED", "ECONNREFUSED", 5],
    ["CONNECT_FAILED", "ENETUNREACH", 3],
    ["CONNECT_FAILED", "EHOSTUNREACH", 4],
    ["CONNECT_TIMEOUT", "", 6],
    ["DEADLINE_EXCEEDED", "", 6],
    ["RATE_LIMITED", "", 1],
    ["OVERLOADED", "", 1],
    ["INTERNAL", "", 1],
  ])("to %s %s is %i", (code, cause, reply) => {
    expect(socksFailure(new EgressError(code, "x", { code: cause }))[1]).toBe(reply);
  });

  test("exists for every code", () => {
    for (const code of Object.keys(ERROR_CODES) as ErrorCode[]) {
      const [version, reply, ...rest] = socksFailure(new EgressError(code, "x"));
      expect([version, rest]).toEqual([5, [0, 1, 0, 0, 0, 0, 0, 0]]);
      expect(reply).toBeGreaterThan(0);
      expect(reply).toBeLessThan(9);
    }
  });
});
