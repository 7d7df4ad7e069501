import { describe, expect, test } from "vitest";
import { type AddressClass, classifyAddress } from "../../src/route/address-class.ts";
import { admitAddress, compileAddressGuard } from "../../src/route/admit.ts";
import { acl, destination } from "./destinations.ts";

describe("the class of an address", () => {
  test.each<[string, AddressClass]>([
    ["0.0.0.1", "this_network"],
    ["0.255.255.255", "this_network"],
    ["1.0.0.0", "global"],
    ["172.15.255.255", "global"],
    ["172.31.255.255", "private"],
    ["172.32.0.0", "global"],
    ["169.253.255.255", "global"],
    ["169.255.0.0", "global"],
    ["192.0.0.1", "reserved"],
    ["192.0.1.0", "global"],
    ["192.0.2.1", "documentation"],
    ["198.17.255.255", "global"],
    ["198.19.255.255", "benchmarking"],
    ["223.255.255.255", "global"],
    ["224.0.0.1", "multicast"],
    ["239.255.255.255", "multicast"],
    ["240.0.0.0", "reserved"],
    ["::2", "ipv4_compatible"],
    ["::ffff:0:7f00:1", "ipv4_translated"],
    ["64:ff9b:1:2::7f00:1", "nat64"],
    ["100::1", "reserved"],
    ["100:0:0:2::1", "global"],
    ["2001:1::1", "reserved"],
    ["2001:200::1", "global"],
    ["2001:db8::1", "documentation"],
    ["3fff:fff::1", "documentation"],
    ["5f00::1", "reserved"],
    ["fbff::1", "global"],
    ["fd00:ec1::1", "private"],
    ["fd00:ec2::23", "metadata"],
    ["fdff::1", "private"],
    ["fe7f::1", "global"],
    ["febf::1", "link_local"],
    ["fec0::1", "reserved"],
    ["2001:470:1::5efe:10.0.0.1", "isatap"],
    ["2001:470:1::200:5efe:10.0.0.1", "isatap"],
    ["2001:470:1::100:5efe:10.0.0.1", "global"],
    ["2001:470:1::5eff:10.0.0.1", "global"],
    ["fe80::5efe:10.0.0.1", "link_local"],
    ["fe80::a9fe:a9fe", "metadata"],
    ["fe80::a9fe:a9ff", "link_local"],
    ["ff00::", "multicast"],
    ["not an address", "invalid"],
    ["__proto__", "invalid"],
  ])("%s is %s", (address, is) => {
    expect(classifyAddress(address)).toBe(is);
  });
});

/*
 * The rows of TestClassifyAddr in stripe/smokescreen (pkg/smokescreen/smokescreen_test.go), MIT licence, © Stripe, Inc., with
 * the verdict of that proxy beside the class and the verdict here. The guard below has that test's allow ranges; it differs in two
 * points. There are no user-configured deny ranges here (the acl denies by name), so those two rows end as `global`; and the
 * proxy's own ports are guarded on loopback, where it listens, so 192.168.1.100:4750 is an address of the allowed range.
 */
const SMOKESCREEN_ROWS: readonly (readonly [string, number, string, AddressClass, admitted: boolean])[] = [
  ["8.8.8.8", 1, "ipAllowDefault", "global", true],
  ["8.8.9.8", 1, "ipAllowUserConfigured", "global", true],
  ["10.0.0.1", 1, "ipDenyPrivateRange", "private", false],
  ["10.0.0.1", 321, "ipAllowUserConfigured", "private", true],
  ["10.0.1.1", 1, "ipAllowUserConfigured", "private", true],
  ["172.16.0.1", 1, "ipDenyPrivateRange", "private", false],
  ["172.16.1.1", 1, "ipAllowUserConfigured", "private", true],
  ["192.168.0.1", 1, "ipDenyPrivateRange", "private", false],
  ["192.168.1.1", 1, "ipAllowUserConfigured", "private", true],
  ["100.64.0.1", 1, "ipDenyCGNAT", "cgnat", false],
  ["100.64.0.100", 1, "ipDenyCGNAT", "cgnat", false],
  ["100.127.255.254", 1, "ipDenyCGNAT", "cgnat", false],
  ["100.63.255.254", 1, "ipAllowDefault", "global", true],
  ["100.128.0.1", 1, "ipAllowDefault", "global", true],
  ["8.8.8.8", 321, "ipDenyUserConfigured", "global", true],
  ["1.1.1.1", 1, "ipDenyUserConfigured", "global", true],
  ["127.0.0.1", 1, "ipDenyNotGlobalUnicast", "loopback", false],
  ["127.255.255.255", 1, "ipDenyNotGlobalUnicast", "loopback", false],
  ["::1", 1, "ipDenyNotGlobalUnicast", "loopback", false],
  ["127.0.1.1", 1, "ipAllowUserConfigured", "loopback", true],
  ["169.254.169.254", 1, "ipDenyNotGlobalUnicast", "metadata", false],
  ["255.255.255.255", 1, "ipDenyNotGlobalUnicast", "broadcast", false],
  ["ff02:0:0:0:0:0:0:2", 1, "ipDenyNotGlobalUnicast", "multicast", false],
  ["64:ff9b::ac1c:5", 1, "ipDenyIPv6Embedding", "nat64", false],
  ["64:ff9b::c000:201", 1, "ipDenyIPv6Embedding", "nat64", false],
  ["64:ff9b::a00:1", 1, "ipDenyIPv6Embedding", "nat64", false],
  ["64:ff9b::808:808", 1, "ipDenyIPv6Embedding", "nat64", false],
  ["64:ff9b::ffff:ffff", 1, "ipDenyIPv6Embedding", "nat64", false],
  ["2002:c000:201::1", 1, "ipDenyIPv6Embedding", "sixtofour", false],
  ["2002:a00:1::1", 1, "ipDenyIPv6Embedding", "sixtofour", false],
  ["2002:808:808::1", 1, "ipDenyIPv6Embedding", "sixtofour", false],
  ["2001:0:4136:e378:8000:63bf:3fff:fdd2", 1, "ipDenyIPv6Embedding", "teredo", false],
  ["2001:0:1234:5678:9abc:def0:1234:5678", 1, "ipDenyIPv6Embedding", "teredo", false],
  ["2001:4860:4860::8888", 1, "ipAllowDefault", "global", true],
  ["2606:4700:4700::1111", 1, "ipAllowDefault", "global", true],
  ["64:ff9c::1", 1, "ipAllowDefault", "global", true],
  ["127.0.0.1", 4750, "ipDenySelfConnection", "loopback", false],
  ["192.168.1.100", 4750, "ipDenySelfConnection", "private", true],
  ["::1", 4750, "ipDenySelfConnection", "loopback", false],
  ["127.0.0.1", 8080, "ipDenyNotGlobalUnicast", "loopback", false],
  ["8.8.8.8", 4750, "ipAllowDefault", "global", true],
];

describe("the rows of smokescreen's classification", () => {
  const allowAddresses = ["10.0.0.1:321", "10.0.1.0/24", "172.16.1.0/24", "192.168.1.0/24", "127.0.1.0/24"];
  const target = destination("any", ["any.example"]);
  const guard = compileAddressGuard(acl({ allowAddresses }), [target], () => new Set([4750]));

  test("all 41 are here", () => {
    expect(SMOKESCREEN_ROWS).toHaveLength(41);
  });

  test.each(SMOKESCREEN_ROWS)(
    "%s port %i, %s there, is %s here and admitted: %s",
    (address, port, _, is, admitted) => {
      expect(classifyAddress(address)).toBe(is);
      expect(admitAddress(guard, address, port, target) === null).toBe(admitted);
    },
  );
});
