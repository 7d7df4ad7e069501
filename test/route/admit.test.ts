import { describe, expect, test } from "vitest";
import { admitAddress, admitTarget, compileAddressGuard } from "../../src/route/admit.ts";
import { acl, destination } from "./destinations.ts";

describe("the acl judges a target", () => {
  const implicit = destination("default", []);
  const named = destination("payments", ["pay.example"]);
  const closed = destination("tracker", ["ads.example"], { access: "deny" });

  test.each([
    [
      "a named destination, default deny",
      acl({ default: "deny" }),
      named,
      true,
      "destinations.payments.access: allow",
      "none",
    ],
    [
      "a named destination that is closed",
      acl(),
      closed,
      false,
      "destinations.tracker.access: deny",
      "refuse",
    ],
    ["the implicit one, default allow", acl(), implicit, true, "acl.default: allow", "none"],
    [
      "the implicit one, default deny",
      acl({ default: "deny" }),
      implicit,
      false,
      "acl.default: deny",
      "refuse",
    ],
    ["report", acl({ default: "deny", mode: "report" }), implicit, false, "acl.default: deny", "report"],
    ["observe", acl({ default: "deny", mode: "observe" }), implicit, false, "acl.default: deny", "none"],
  ] as const)("%s", (_, rules, target, allowed, rule, effect) => {
    expect(admitTarget(rules, target)).toEqual({ allowed, rule, effect });
  });
});

describe("the guard judges each address that is about to be dialled (S2)", () => {
  const plain = destination("plain", ["plain.example"]);
  const inside = destination("inside", ["inside.example"], {
    allowAddresses: ["127.0.0.1:8080", "10.1.0.0/16", "[::1]:9000", "fd12::/16:443", "[fd34::]/16:443"],
  });
  const destinations = [plain, inside];
  const ownPorts = () => new Set([4140]);
  const strict = compileAddressGuard(acl(), destinations, ownPorts);
  const lax = compileAddressGuard(acl({ privateRanges: "allow" }), destinations, ownPorts);
  const wide = compileAddressGuard(acl({ allowAddresses: ["0.0.0.0/0", "::/0"] }), destinations, ownPorts);
  const exact = compileAddressGuard(
    acl({ allowAddresses: ["169.254.169.254:80", "fd00:ec2::254"] }),
    [],
    ownPorts,
  );
  const translated = compileAddressGuard(
    acl({ allowAddresses: ["64:ff9b::/96", "2002::/16"] }),
    [],
    ownPorts,
  );

  test.each([
    ["a global address", strict, "203.0.114.1", 443, plain, null],
    ["the metadata service", strict, "169.254.169.254", 80, plain, "address.metadata"],
    ["the metadata service, mapped", strict, "::ffff:169.254.169.254", 80, plain, "address.metadata"],
    ["the metadata service over IPv6", strict, "fd00:ec2::254", 80, plain, "address.metadata"],
    ["a container's credentials", strict, "169.254.170.2", 80, plain, "address.metadata"],
    ["Azure's wire server", strict, "168.63.129.16", 80, plain, "address.metadata"],
    ["Alibaba's metadata service", strict, "100.100.100.200", 80, plain, "address.metadata"],
    ["the runtime's API", strict, "169.254.100.1", 9001, plain, "address.link_local"],
    ["loopback", strict, "127.8.8.8", 80, plain, "address.loopback"],
    ["loopback, mapped", strict, "::ffff:7f00:1", 80, plain, "address.loopback"],
    ["IPv6 loopback", strict, "::1", 80, plain, "address.loopback"],
    ["this host by 0.0.0.0", strict, "0.0.0.0", 80, plain, "address.unspecified"],
    ["a private range", strict, "10.0.0.1", 443, plain, "address.private"],
    ["a private range, opened", lax, "10.0.0.1", 443, plain, null],
    ["CGNAT, opened with the private ranges", lax, "100.64.0.1", 443, plain, null],
    ["a unique local address, opened", lax, "fd12:3456::1", 443, plain, null],
    ["loopback is no private range", lax, "127.0.0.1", 443, plain, "address.loopback"],
    ["metadata inside an opened private range", lax, "fd00:ec2::254", 80, plain, "address.metadata"],
    ["metadata inside opened CGNAT", lax, "100.100.100.200", 80, plain, "address.metadata"],
    ["no address at all", strict, "localhost", 80, plain, "address.invalid"],
    ["an odd notation", strict, "0x7f.1", 80, plain, "address.invalid"],
    ["link-local with a zone", strict, "fe80::1%eth0", 80, plain, "address.link_local"],

    ["an exception with a port", strict, "127.0.0.1", 8080, inside, null],
    ["the same address at another port", strict, "127.0.0.1", 8081, inside, "address.loopback"],
    ["another destination's exception", strict, "127.0.0.1", 8080, plain, "address.loopback"],
    ["an exception without a port", strict, "10.1.200.3", 5432, inside, null],
    ["outside the exception", strict, "10.2.0.1", 5432, inside, "address.private"],
    ["an IPv6 exception in brackets", strict, "::1", 9000, inside, null],
    ["an IPv6 block with a port", strict, "fd12::9", 443, inside, null],
    ["an IPv6 block with a port, the other port", strict, "fd12::9", 80, inside, "address.private"],
    ["an IPv6 block in brackets with a port", strict, "fd34::9", 443, inside, null],

    ["a wide exception opens loopback", wide, "127.0.0.1", 80, plain, null],
    ["but not the proxy's own port", wide, "127.0.0.1", 4140, plain, "address.own_port"],
    ["nor the own port through another loopback address", wide, "127.9.9.9", 4140, plain, "address.own_port"],
    ["nor through ::1", wide, "::1", 4140, plain, "address.own_port"],
    ["nor through the unspecified address", wide, "0.0.0.0", 4140, plain, "address.own_port"],
    ["nor through a mapped address", wide, "::ffff:127.0.0.1", 4140, plain, "address.own_port"],
    ["nor through NAT64", wide, "64:ff9b::7f00:1", 4140, plain, "address.own_port"],
    ["nor a metadata service", wide, "169.254.169.254", 80, plain, "address.metadata"],
    ["nor a metadata service over IPv6", wide, "fd00:ec2::254", 80, plain, "address.metadata"],
    ["nor a metadata service through NAT64", wide, "64:ff9b::a9fe:a9fe", 80, plain, "address.metadata"],
    ["nor one through 6to4", wide, "2002:a9fe:a9fe::1", 80, plain, "address.metadata"],
    ["nor one through Teredo", wide, "2001:0:4136:e378:8000:63bf:5601:5601", 80, plain, "address.metadata"],
    ["nor one in an IPv4-compatible address", wide, "::a9fe:a9fe", 80, plain, "address.metadata"],
    ["nor one in a translated address", wide, "::ffff:0:a9fe:a9fe", 80, plain, "address.metadata"],
    ["the same port at a global address is somebody else's", strict, "203.0.114.1", 4140, plain, null],

    ["the exact address opens a metadata service", exact, "169.254.169.254", 80, plain, null],
    ["at its port only", exact, "169.254.169.254", 8080, plain, "address.metadata"],
    ["each by its own", exact, "169.254.170.2", 80, plain, "address.metadata"],
    ["over IPv6 too", exact, "fd00:ec2::254", 80, plain, null],

    [
      "NAT64 to a global address, without an exception",
      strict,
      "64:ff9b::808:808",
      443,
      plain,
      "address.nat64",
    ],
    ["NAT64 to a global address, opened", translated, "64:ff9b::808:808", 443, plain, null],
    ["NAT64 to a private address, opened", translated, "64:ff9b::a00:1", 443, plain, "address.private"],
    ["6to4 to loopback, opened", translated, "2002:7f00:1::1", 443, plain, "address.loopback"],
  ] as const)("%s", (_, guard, address, port, target, rule) => {
    expect(admitAddress(guard, address, port, target)).toEqual(rule === null ? null : { rule });
  });

  test("ports that the proxy binds later are its own from then on", () => {
    const bound = new Set<number>();
    const guard = compileAddressGuard(acl({ allowAddresses: ["127.0.0.0/8"] }), [], () => bound);
    expect(admitAddress(guard, "127.0.0.1", 4141, plain)).toBeNull();
    bound.add(4141);
    expect(admitAddress(guard, "127.0.0.1", 4141, plain)).toEqual({ rule: "address.own_port" });
  });

  test.each([
    "10.0.0.0/40",
    "example.com",
    "10.0.0.1:0",
    "10.0.0.1:65536",
    "::1:80:",
    "10.0.0.0/8:",
    "[::1",
    "127.1",
  ])("an exception that is no block is refused by name: %s", (text) => {
    const compile = () => compileAddressGuard(acl({ allowAddresses: [text] }), [], ownPorts);
    expect(compile).toThrow(`allow_addresses: "${text}" is no address block`);
  });
});
