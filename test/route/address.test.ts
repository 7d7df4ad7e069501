import { describe, expect, test } from "vitest";
import { type Address, inBlock, parseAddress, parseBlock } from "../../src/route/address.ts";

describe("the address in a text", () => {
  test.each<[string, Address]>([
    ["1.2.3.4", [0, 0, 0xffff, 0x01020304]],
    ["255.255.255.255", [0, 0, 0xffff, 0xffffffff]],
    ["::ffff:1.2.3.4", [0, 0, 0xffff, 0x01020304]],
    ["::ffff:102:304", [0, 0, 0xffff, 0x01020304]],
    ["::", [0, 0, 0, 0]],
    ["::1", [0, 0, 0, 1]],
    ["1::", [0x10000, 0, 0, 0]],
    ["2001:db8::8:800:200c:417a", [0x20010db8, 0, 0x00080800, 0x200c417a]],
    ["1:2:3:4:5:6:7:8", [0x10002, 0x30004, 0x50006, 0x70008]],
    ["1:2:3:4:5:6:7::", [0x10002, 0x30004, 0x50006, 0x70000]],
    ["64:ff9b::192.0.2.1", [0x64ff9b, 0, 0, 0xc0000201]],
    ["FE80::1%eth0", [0xfe800000, 0, 0, 1]],
  ])("%s", (text, words) => {
    expect(parseAddress(text)).toEqual(words);
  });

  test.each([
    "",
    "localhost",
    "1.2.3",
    "01.2.3.4",
    "0x7f.0.0.1",
    "1.2.3.4/8",
    "::1::",
    "12345::",
    "[::1]",
    "1.2.3.4 ",
  ])("%j is none", (text) => {
    expect(parseAddress(text)).toBeNull();
  });
});

describe("a block of addresses", () => {
  test.each([
    ["10.0.0.0/8", "10.255.255.255", true],
    ["10.0.0.0/8", "11.0.0.0", false],
    ["10.0.0.0/8", "::ffff:10.1.2.3", true],
    ["10.1.2.3", "10.1.2.3", true],
    ["10.1.2.3", "10.1.2.2", false],
    ["0.0.0.0/0", "203.0.113.9", true],
    ["0.0.0.0/0", "2001:db8::1", false],
    ["100.64.0.0/10", "100.127.255.255", true],
    ["100.64.0.0/10", "100.128.0.0", false],
    ["255.255.255.255/32", "255.255.255.255", true],
    ["fd00::/8", "fdff::1", true],
    ["fd00::/8", "fe00::1", false],
    ["2001:db8::/33", "2001:db8:7fff::1", true],
    ["2001:db8::/33", "2001:db8:8000::1", false],
    ["::1", "::1", true],
    ["::1", "::", false],
    ["::/0", "2001:db8::1", true],
    ["::/0", "127.0.0.1", false],
    ["::ffff:0:0/96", "127.0.0.1", true],
  ])("%s holds %s: %s", (block, address, holds) => {
    expect(inBlock(parseBlock(block)!, parseAddress(address)!)).toBe(holds);
  });

  test.each([
    "10.0.0.0/33",
    "::/129",
    "10.0.0.0/",
    "10.0.0.0/-1",
    "10.0.0.0/8.0",
    "10.0.0/8",
    "x/8",
    "",
    "fe80::1%eth0",
    "/8",
  ])("%j is none", (text) => {
    expect(parseBlock(text)).toBeNull();
  });
});
