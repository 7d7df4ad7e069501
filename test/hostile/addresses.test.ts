/** Targets that lead where nobody may go: judged by what was dialled, which is nothing. */
import { isIP } from "node:net";
import { describe, expect, test } from "vitest";
import { parseAuthority } from "../../src/capture/target.ts";
import { EgressError } from "../../src/errors.ts";
import { admitAddress, compileAddressGuard } from "../../src/route/admit.ts";
import { hostKind } from "../../src/route/target-host.ts";
import { field } from "../kit/message.ts";
import { ok, scriptedOrigin } from "../kit/origin.ts";
import { get, startProxy } from "../kit/proxy.ts";
import { acl, destination } from "../route/destinations.ts";

const getFrom = (host: string, port = 80): string =>
  `GET http://${host}:${port}/latest/meta-data/ HTTP/1.1\r\nHost: ${host}:${port}\r\n\r\n`;

describe("S2: a name is never dialled when it resolves to", () => {
  test.each([
    [["169.254.169.254"]],
    [["fd00:ec2::254"]],
    [["169.254.170.2"]],
    [["::ffff:169.254.169.254"]],
    [["64:ff9b::a9fe:a9fe"]],
    [["0.0.0.0"]],
    [["100.100.100.200"]],
    // One forbidden answer among good ones is a rebinding attempt, not a choice.
    [["127.0.0.1", "169.254.169.254"]],
    [["169.254.169.254", "127.0.0.1"]],
  ])("%j", async (addresses) => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy({
      lookup: async () => addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 })),
    });
    const response = await proxy.ask(getFrom("innocent.test", origin.port));
    expect([response.status, field(response, "outrider-error")]).toEqual([403, "ADDRESS_DENIED"]);
    expect(response.body.toString()).not.toContain("169.254");
    expect(origin.connections).toHaveLength(0);
    expect(proxy.proxy.upstream.stats().open).toBe(0);
  });
});

test("S2: every new connection asks again: a name that moves to the metadata service is refused", async () => {
  await using origin = await scriptedOrigin([ok("first")]);
  const answers = ["127.0.0.1", "169.254.169.254"];
  let asked = 0;
  await using proxy = await startProxy({
    lookup: async () => [{ address: answers[asked++] ?? "169.254.169.254", family: 4 }],
  });
  expect((await proxy.ask(getFrom("moving.test", origin.port))).body.toString()).toBe("first");
  // What is pooled stays with the address that was admitted; without it the name is looked up anew.
  proxy.proxy.upstream.thawed(Number.POSITIVE_INFINITY);
  const second = await proxy.ask(getFrom("moving.test", origin.port));
  expect(field(second, "outrider-error")).toBe("ADDRESS_DENIED");
  expect(asked).toBe(2);
});

describe("S2: written out, without a look-up", () => {
  test.each([
    ["169.254.169.254", "ADDRESS_DENIED"],
    ["[::ffff:169.254.169.254]", "ADDRESS_DENIED"],
    ["[::ffff:a9fe:a9fe]", "ADDRESS_DENIED"],
    ["[64:ff9b::169.254.169.254]", "ADDRESS_DENIED"],
    ["[fd00:ec2::254]", "ADDRESS_DENIED"],
    ["169.254.169.254.", "ADDRESS_DENIED"],
    ["2852039166", "BAD_TARGET"],
    ["0xa9fea9fe", "BAD_TARGET"],
    ["0251.0376.0251.0376", "BAD_TARGET"],
    ["169.254.43518", "BAD_TARGET"],
    ["[169.254.169.254]", "BAD_TARGET"],
    ["[fe80::1%25eth0]", "BAD_TARGET"],
  ])("%s is refused", async (host, code) => {
    let lookedUp = 0;
    await using proxy = await startProxy({
      lookup: async () => {
        lookedUp += 1;
        return [{ address: "127.0.0.1", family: 4 }];
      },
    });
    expect(field(await proxy.ask(getFrom(host)), "outrider-error")).toBe(code);
    expect(lookedUp).toBe(0);
    expect(proxy.proxy.upstream.stats().open).toBe(0);
  });
});

test("S2: the proxy's own ports are never dialled, not even where loopback is allowed", async () => {
  await using proxy = await startProxy();
  const response = await proxy.ask(getFrom("127.0.0.1", proxy.port));
  expect([response.status, field(response, "outrider-error")]).toEqual([403, "ADDRESS_DENIED"]);
});

test("S2: a tunnel is judged by the same rules", async () => {
  await using proxy = await startProxy({ lookup: async () => [{ address: "169.254.169.254", family: 4 }] });
  for (const host of ["innocent.test", "169.254.169.254"]) {
    const response = await proxy.ask(`CONNECT ${host}:443 HTTP/1.1\r\nHost: ${host}:443\r\n\r\n`);
    expect([response.status, field(response, "outrider-error")]).toEqual([403, "ADDRESS_DENIED"]);
  }
});

test("S2: the refusal is no fault of the connection, which serves the next call", async () => {
  await using origin = await scriptedOrigin([ok("fine")]);
  await using proxy = await startProxy();
  using client = await proxy.client();
  expect((await client.ask(getFrom("169.254.169.254"))).status).toBe(403);
  expect((await client.ask(get(origin))).body.toString()).toBe("fine");
});

/** What the data path makes of an authority by its text alone: a refusal, a name to be resolved, or an address to be dialled. */
function fateOf(authority: string): string {
  const target = parseAuthority(authority, 80);
  if (target instanceof EgressError) return "no target";
  if (hostKind(target.host) === "ambiguous") return "no target";
  if (isIP(target.host) === 0) return "a name";
  return admitAddress(GUARD, target.host, target.port, ANY)?.rule ?? "dialled";
}

const ANY = destination("any", []);
/** What the policy admits when it says nothing of addresses, but for the private ranges, which it denies. */
const GUARD = compileAddressGuard(acl(), [ANY], () => new Set([4140]));

/** Every notation of an address that some program reads, and what becomes of it here. */
const NOTATIONS: readonly (readonly [fate: string, authorities: readonly string[]])[] = [
  // Metadata and credential services.
  [
    "address.metadata",
    [
      "169.254.169.254", // AWS, Google Cloud, Azure, Oracle, DigitalOcean, OpenStack
      "169.254.170.2", // Amazon ECS task credentials
      "169.254.170.23", // Amazon EKS Pod Identity
      "[fd00:ec2::254]", // AWS over IPv6
      "[fd00:ec2::23]", // EKS Pod Identity over IPv6
      "[fd00:0ec2:0:0:0:0:0:0254]",
      "[FD00:EC2::0.0.2.84]",
      "[fd20:ce::254]", // Google Cloud over IPv6
      "[fe80::a9fe:a9fe]", // OpenStack over IPv6
      "100.100.100.200", // Alibaba Cloud
      "168.63.129.16", // Azure's wire server
      "168.63.129.16:32526", // its second port
      "192.0.0.192", // Oracle Cloud
      "169.254.169.254.", // the dot of the DNS root
      "169.254.169.254:80",
      "169.254.169.254:00080",
      "[::ffff:169.254.169.254]",
      "[::ffff:a9fe:a9fe]",
      "[::FFFF:A9FE:A9FE]",
      "[0:0:0:0:0:ffff:a9fe:a9fe]",
      "[0000:0000:0000:0000:0000:ffff:169.254.169.254]",
      "[::ffff:168.63.129.16]",
      "[::ffff:6464:64c8]",
    ],
  ],
  // This host.
  [
    "address.loopback",
    [
      "127.0.0.1",
      "127.0.0.1:8080",
      "127.0.0.1.",
      "127.1.2.3",
      "127.255.255.254",
      "[::1]",
      "[0:0:0:0:0:0:0:1]",
      "[0000::0001]",
      "[::0.0.0.1]",
      "[::ffff:127.0.0.1]",
      "[::ffff:7f00:1]",
      "[::ffff:7f00:0001]:81",
    ],
  ],
  [
    "address.own_port",
    ["127.0.0.1:4140", "[::1]:4140", "0.0.0.0:4140", "[::]:4140", "[::ffff:7f00:1]:4140", "127.9.9.9:4140"],
  ],
  ["address.unspecified", ["0.0.0.0", "[::]", "[0:0:0:0:0:0:0:0]", "[::0.0.0.0]", "[::ffff:0.0.0.0]"]],
  ["address.this_network", ["0.0.0.1", "0.255.255.255", "[::ffff:0.1.2.3]"]],
  // The network around it.
  [
    "address.link_local",
    [
      "169.254.0.1",
      "169.254.169.253", // the VPC's resolver
      "169.254.169.123", // the VPC's time server
      "169.254.255.255",
      "[fe80::1]",
      "[febf::1]",
      "[::ffff:169.254.1.1]",
      "[fe80::5efe:127.0.0.1]", // ISATAP's own link-local form
    ],
  ],
  [
    "address.private",
    [
      "10.0.0.1",
      "10.255.255.255",
      "172.16.0.1",
      "172.31.255.255",
      "192.168.0.1",
      "192.168.255.255",
      "[fc00::1]",
      "[fdff:ffff::1]",
      "[fd00:ec1::254]", // beside AWS's block
      "[::ffff:10.0.0.1]",
      "[::ffff:c0a8:1]",
    ],
  ],
  ["address.cgnat", ["100.64.0.1", "100.100.100.201", "100.127.255.255", "[::ffff:100.64.0.1]"]],
  ["address.broadcast", ["255.255.255.255", "[::ffff:255.255.255.255]"]],
  ["address.multicast", ["224.0.0.1", "239.255.255.250", "[ff02::1]", "[ff0e::1]", "[::ffff:224.0.0.1]"]],
  // Nobody's addresses.
  [
    "address.reserved",
    ["240.0.0.1", "192.0.0.1", "192.88.99.1", "[100::1]", "[2001:1::1]", "[fec0::1]", "[5f00::1]"],
  ],
  ["address.documentation", ["192.0.2.1", "198.51.100.1", "203.0.113.1", "[2001:db8::1]", "[3fff::1]"]],
  ["address.benchmarking", ["198.18.0.1", "198.19.255.255", "[2001:2::1]"]],
  // Addresses with another one inside, whatever that is.
  [
    "address.nat64",
    [
      "[64:ff9b::a9fe:a9fe]",
      "[64:ff9b::169.254.169.254]",
      "[64:ff9b::7f00:1]",
      "[64:ff9b::10.0.0.1]",
      "[64:ff9b::8.8.8.8]",
      "[64:ff9b:1::169.254.169.254]", // the local prefix, RFC 8215
      "[64:ff9b:1:fffe::127.0.0.1]",
      "[64:ff9b:1:a9fe:a9:fe00::]", // in it, the address in the middle (RFC 6052 §2.2)
    ],
  ],
  ["address.sixtofour", ["[2002:a9fe:a9fe::1]", "[2002:7f00:1::]", "[2002:0a00:1::1]", "[2002:808:808::1]"]],
  ["address.teredo", ["[2001:0:4136:e378:8000:63bf:5601:5601]", "[2001::1]", "[2001:0:7f00:1::80ff:fffe]"]],
  ["address.isatap", ["[2001:470:1::5efe:169.254.169.254]", "[2001:470:1::200:5efe:127.0.0.1]"]],
  ["address.ipv4_compatible", ["[::169.254.169.254]", "[::a9fe:a9fe]", "[::127.0.0.1]", "[::2]"]],
  ["address.ipv4_translated", ["[::ffff:0:169.254.169.254]", "[::ffff:0:7f00:1]"]],
  // What inet_aton(3), browsers or somebody's parser reads as an address, and others as a name: nobody's target.
  [
    "no target",
    [
      "2852039166", // 169.254.169.254, decimal
      "2130706433", // 127.0.0.1
      "4294967297", // beyond 32 bits
      "017700000001", // octal
      "0xa9fea9fe", // hexadecimal
      "0XA9FEA9FE",
      "0x7f000001.",
      "0251.0376.0251.0376", // octal parts
      "00000251.254.169.254",
      "0xa9.0xfe.0xa9.0xfe", // hexadecimal parts
      "0xa9.254.0251.254", // mixed parts
      "169.254.43518", // three parts
      "169.16689662", // two parts
      "127.1",
      "127.0.1",
      "0",
      "0x0",
      "0x",
      "127.0.0.01",
      "127.0.0.1..",
      ".127.0.0.1",
      "127..0.0.1",
      "127.0.0.256",
      "127.0.0.1.5",
      "1.2.3.4.5.6",
      "127.0.0.0x1",
      "127.0.0.1%00",
      "127.0.0.1%2f",
      "%31%32%37.0.0.1",
      "127%2e0%2e0%2e1",
      "127.0.0.1 ",
      "127.0.0.1\t",
      "127.0.0.1\0.good.example",
      "127.0.0.1#.good.example",
      "127.0.0.1\\.good.example",
      "good.example@127.0.0.1",
      "127.0.0.1@good.example",
      "127.0.0.1,8.8.8.8",
      "127.0.0.1:80:80",
      "127.0.0.1:0",
      "127.0.0.1:65536",
      "127.0.0.1:-1",
      "127.0.0.1:+80",
      "127.0.0.1:0x50",
      "127.0.0.1:",
      "\uff11\uff12\uff17.\uff10.\uff10.\uff11", // full-width digits, which IDNA maps to digits
      "\u2460\u2461\u2466.0.0.1", // circled digits
      "127\u30020\u30020\u30021", // ideographic full stops
      "127.0.0.1\u00ad", // a soft hyphen, which IDNA drops
      "[127.0.0.1]",
      "[::1",
      "::1",
      "[::1]]",
      "[[::1]]",
      "[::1%25lo]",
      "[fe80::1%25eth0]",
      "[fe80::1%eth0]",
      "[::ffff:0x7f.0.0.1]",
      "[::ffff:0177.0.0.1]",
      "[::ffff:127.1]",
      "[::127.0.0.1.]",
      "[v1.::1]",
      "[0:0:0:0:0:0:0:0:1]",
      "[00000::1]",
      "[:::1]",
      "[]",
    ],
  ],
  // A name is judged when it is resolved, and as often as it is.
  [
    "a name",
    [
      "localhost",
      "localhost.",
      "LOCALHOST:80",
      "metadata.google.internal",
      "127.0.0.1.nip.example",
      "0x7f.1.example",
      "a9fea9fe",
      "127-0-0-1.example",
    ],
  ],
  // And the edges of all these blocks are open: a guard that refuses everything shows nothing.
  [
    "dialled",
    [
      "8.8.8.8",
      "8.8.8.8:4140",
      "[::ffff:8.8.8.8]",
      "9.255.255.255",
      "11.0.0.0",
      "100.63.255.255",
      "100.128.0.0",
      "126.255.255.255",
      "128.0.0.0",
      "168.63.129.15",
      "169.253.255.255",
      "169.255.0.0",
      "172.15.255.255",
      "172.32.0.0",
      "192.0.1.0",
      "192.167.255.255",
      "192.169.0.0",
      "198.17.255.255",
      "198.20.0.0",
      "223.255.255.255",
      "[64:ff9a:ffff::1]",
      "[64:ff9b:0:0:1::1]",
      "[64:ff9b:2::1]",
      "[2001:200::1]",
      "[2003::1]",
      "[2606:4700:4700::1111]",
      "[2001:4860:4860::8888]",
    ],
  ],
];

describe("S2, S3: the table of notations", () => {
  test("has at least 120 rows, and none twice", () => {
    const all = NOTATIONS.flatMap(([, authorities]) => authorities);
    expect(all.length).toBeGreaterThanOrEqual(120);
    expect(new Set(all).size).toBe(all.length);
  });

  test.each(NOTATIONS.flatMap(([fate, authorities]) => authorities.map((one) => [one, fate] as const)))(
    "%j: %s",
    (authority, fate) => {
      expect(fateOf(authority)).toBe(fate);
    },
  );
});

test("S2: what a name resolves to is judged like what is written", async () => {
  const addresses = NOTATIONS.filter(([fate]) => fate.startsWith("address.")).flatMap(([, authorities]) =>
    authorities.map((one) => one.replace(/^\[(.*)\].*$/, "$1").replace(/(\.\d+)(?:\.|:\d+)$/, "$1")),
  );
  expect(addresses.filter((address) => isIP(address) === 0)).toEqual([]);
  for (const address of addresses) {
    expect(admitAddress(GUARD, address, 4140, ANY), address).not.toBeNull();
  }
});
