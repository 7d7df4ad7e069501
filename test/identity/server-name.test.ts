/** Which names a certificate may be made for. */
import { describe, expect, test } from "vitest";
import { serverName } from "../../src/identity/server-name.ts";

describe("a certificate can be made for", () => {
  test.each([
    "a.example",
    "localhost",
    "xn--bcher-kva.example",
    "_srv.a-b.example",
    "1.a.example",
    `${"a".repeat(63)}.example`,
    `${"a.".repeat(126)}a`,
  ])("the name %s", (text) => {
    expect(serverName(text)).toEqual({ kind: "dns", text });
  });

  test.each([
    ["127.0.0.2", "7f000002"],
    ["255.255.255.255", "ffffffff"],
    ["::", "00000000000000000000000000000000"],
    ["::1", "00000000000000000000000000000001"],
    ["2001:db8::", "20010db8000000000000000000000000"],
    ["2001:db8::8:1", "20010db8000000000000000000080001"],
    ["1:2:3:4:5:6:7:8", "00010002000300040005000600070008"],
    ["::ffff:192.0.2.1", "00000000000000000000ffffc0000201"],
    ["64:ff9b::1.2.3.4", "0064ff9b000000000000000001020304"],
  ])("the address %s", (text, octets) => {
    expect(serverName(text)).toEqual({ kind: "address", text, octets: Buffer.from(octets, "hex") });
  });
});

describe("no certificate is made for", () => {
  test.each([
    "",
    ".",
    "*",
    "*.example",
    "a.*.example",
    "a*.example",
    "A.example",
    "a.example.",
    ".a.example",
    "a..example",
    "-a.example",
    "a-.example",
    "a b.example",
    "a.example\n",
    "a.example\0.evil.example",
    "a,b.example",
    "bücher.example",
    "[::1]",
    "fe80::1%eth0",
    "a.example:443",
    "__proto__\u0000",
    `${"a".repeat(64)}.example`,
    `${"a.".repeat(126)}aa`,
  ])("%j", (text) => {
    expect(() => serverName(text)).toThrow(RangeError);
  });
});
