import { describe, expect, test } from "vitest";
import { canonicalHost, hostKind } from "../../src/route/target-host.ts";

describe("what a host is by its text", () => {
  test.each([
    ["api.example.com", "name"],
    ["API.example.com.", "name"],
    ["localhost", "name"],
    ["under_score.example", "name"],
    ["xn--bcher-kva.example", "name"],
    ["1.2.3.4.example", "name"],
    ["4chan.example4", "name"],
    ["0x7f.example", "name"],
    ["__proto__", "name"],
    [`${"a".repeat(63)}.example`, "name"],
    ["127.0.0.1", "ipv4"],
    ["255.255.255.255", "ipv4"],
    ["::1", "ipv6"],
    ["::ffff:127.0.0.1", "ipv6"],
    ["2001:db8:0:0:0:0:0:1", "ipv6"],
  ])("%s is a %s", (host, kind) => {
    expect(hostKind(host)).toBe(kind);
  });

  test.each([
    ["0x7f.1", "hexadecimal octet, two parts"],
    ["017700000001", "octal, one part"],
    ["2130706433", "decimal, one part"],
    ["127.1", "two parts"],
    ["127.0.1", "three parts"],
    ["0177.0.0.1", "octal octet"],
    ["127.0.0.01", "leading zero"],
    ["127.0.0.1.", "trailing dot"],
    ["0x7f000001", "hexadecimal, one part"],
    ["0X7F.0.0.0x1", "hexadecimal octets, upper case"],
    ["0x", "a bare prefix is a zero for the WHATWG parser"],
    ["1.2.3.256", "octet out of range"],
    ["1.2.3.4.5", "five parts"],
    ["example.42", "a name whose last label is a number"],
  ])("%s is ambiguous: %s", (host) => {
    expect(hostKind(host)).toBe("ambiguous");
  });

  test.each([
    ["", "empty"],
    [".", "only the root"],
    ["a..b", "an empty label"],
    [".a", "begins with a dot"],
    ["a b", "a space"],
    ["a%2eb", "percent-encoded"],
    ["fe80::1%25eth0", "an encoded zone"],
    ["fe80::1%eth0", "a zone"],
    ["[::1]", "brackets"],
    ["a:80", "a port"],
    ["user@host", "userinfo"],
    ["a\\b", "a backslash"],
    ["a\u0000", "a control character"],
    ["127。0。0。1", "ideographic full stops, which IDNA maps to dots"],
    ["１２７.0.0.1", "full-width digits, which IDNA maps to digits"],
    ["bücher.example", "not in A-label form"],
    [`${"a".repeat(64)}.example`, "a label of 64"],
    [Array(64).fill("abc").join("."), "255 characters"],
  ])("%j is invalid: %s", (host) => {
    expect(hostKind(host)).toBe("invalid");
  });

  test("hosts compare in lower case without the dot of the root", () => {
    expect(canonicalHost("API.Example.")).toBe("api.example");
    expect(canonicalHost("api.example")).toBe("api.example");
  });

  test("addresses compare by what they are, not by how they are written", () => {
    expect(canonicalHost("2001:DB8::7")).toBe(canonicalHost("2001:db8:0:0:0:0:0:7"));
    expect(canonicalHost("::1")).not.toBe(canonicalHost("::2"));
    expect(canonicalHost("::ffff:192.0.2.255")).toBe("192.0.2.255");
    expect(canonicalHost("::ffff:c000:2ff")).toBe("192.0.2.255");
    expect(canonicalHost("no:address")).toBe("no:address");
  });
});
