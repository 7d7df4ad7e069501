/** The DER writer, by the bytes that X.690 prescribes and by what OpenSSL reads in them. */
import { describe, expect, test } from "vitest";
import * as der from "../../src/identity/der.ts";
import { has, openssl } from "./openssl.ts";

const hex = (value: der.Der): string => der.bytesOf(value).toString("hex");

/** What it is, the value, and its encoding. */
const VALUES: readonly [what: string, value: der.Der, encoding: string][] = [
  ["true", der.boolean(true), "0101ff"],
  ["false", der.boolean(false), "010100"],
  ["0", der.smallInteger(0), "020100"],
  ["127", der.smallInteger(127), "02017f"],
  ["an integer below 128 in a byte", der.positiveInteger(Buffer.from([0x7f])), "02017f"],
  [
    "an integer whose top bit is set, with a zero in front",
    der.positiveInteger(Buffer.from([0x80])),
    "02020080",
  ],
  ["an integer without the zeros in front", der.positiveInteger(Buffer.from([0, 0, 1, 0])), "02020100"],
  ["an integer of zeros only", der.positiveInteger(Buffer.from([0, 0])), "020100"],
  ["an OID with arcs of several bytes", der.oid("1.2.840.113549.1.7.1"), "06092a864886f70d010701"],
  [
    "an OID with an arc above 16 bits",
    der.oid("2.16.840.1.113894.746875.1.1"),
    "060c6086480186f966adca7b0101",
  ],
  ["NULL", der.nothing(), "0500"],
  ["an octet string", der.octetString(Buffer.from("abc")), "0403616263"],
  ["an octet string that holds a value", der.octetStringOf(der.smallInteger(1)), "0403020101"],
  ["a bit string of whole bytes", der.bitString(Buffer.from([0xa5])), "030200a5"],
  ["the first named bit", der.namedBits(0), "03020780"],
  ["named bits, without trailing zeros", der.namedBits(5, 6), "03020106"],
  ["UTF-8 text", der.utf8String("é"), "0c02c3a9"],
  [
    "the last second of UTCTime",
    der.time(Date.UTC(2049, 11, 31, 23, 59, 59)),
    "170d3439313233313233353935395a",
  ],
  [
    "the first second of GeneralizedTime",
    der.time(Date.UTC(2050, 0, 1)),
    "180f32303530303130313030303030305a",
  ],
  [
    "a time to the second, cut",
    der.time(Date.UTC(2026, 0, 2, 3, 4, 5, 999)),
    "170d3236303130323033303430355a",
  ],
  ["an empty sequence", der.sequence(), "3000"],
  ["a sequence in its order", der.sequence(der.smallInteger(2), der.smallInteger(1)), "3006020102020101"],
  ["a set in the order of its bytes", der.set(der.smallInteger(2), der.smallInteger(1)), "3106020101020102"],
  ["an explicit tag", der.explicit(3, der.smallInteger(1)), "a303020101"],
  ["an implicit tag", der.implicit(2, Buffer.from("a")), "820161"],
  ["bytes that are DER already", der.sequence(der.encoded(Buffer.from("020105", "hex"))), "3003020105"],
];

describe("DER writes", () => {
  test.each(VALUES)("%s", (_what, value, encoding) => {
    expect(hex(value)).toBe(encoding);
  });

  test.each([
    [0, "0400"],
    [127, "047f"],
    [128, "048180"],
    [255, "0481ff"],
    [256, "04820100"],
    [65_535, "0482ffff"],
    [65_536, "0483010000"],
    [16_777_216, "048401000000"],
  ])("the length %d in its shortest form", (length, head) => {
    const encoding = der.bytesOf(der.octetString(Buffer.alloc(length)));
    expect(encoding.subarray(0, head.length / 2).toString("hex")).toBe(head);
    expect(encoding.length).toBe(head.length / 2 + length);
  });

  test.each([-1, 128, 1.5])("no small integer %d", (number) => {
    expect(() => der.smallInteger(number)).toThrow(`${number} is no small integer`);
  });
});

describe.skipIf(!has("openssl", "version"))("OpenSSL's command, where it is installed, reads", () => {
  const read = (value: der.Der): string => openssl(["asn1parse", "-inform", "DER"], der.bytesOf(value));

  test("an OID that it knows", () => {
    expect(read(der.oid("2.5.29.17"))).toContain("OBJECT            :X509v3 Subject Alternative Name");
  });

  test("values that are nested, with lengths of one, two and three bytes", () => {
    const inner = der.octetString(Buffer.alloc(70_000));
    const parsed = read(
      der.sequence(
        der.utf8String("name"),
        der.sequence(der.octetString(Buffer.alloc(200))),
        der.explicit(0, inner),
      ),
    );
    expect(parsed.split("\n").map((line) => line.replace(/\s+/g, " ").slice(0, 60))).toEqual([
      expect.stringContaining("cons: SEQUENCE"),
      expect.stringContaining("UTF8STRING :name"),
      expect.stringContaining("cons: SEQUENCE"),
      expect.stringContaining("l= 200 prim: OCTET STRING"),
      expect.stringContaining("cont [ 0 ]"),
      expect.stringContaining("l=70000 prim: OCTET STRING"),
      "",
    ]);
  });

  test("a large positive integer as what it is", () => {
    expect(read(der.positiveInteger(Buffer.from("f00000000000000000000000000000ff", "hex")))).toContain(
      "INTEGER           :F00000000000000000000000000000FF",
    );
  });

  test("times of both kinds", () => {
    expect(read(der.time(Date.UTC(2026, 10, 25, 7, 8, 9)))).toContain("UTCTIME           :261125070809Z");
    expect(read(der.time(Date.UTC(2051, 0, 1)))).toContain("GENERALIZEDTIME   :20510101000000Z");
  });
});
