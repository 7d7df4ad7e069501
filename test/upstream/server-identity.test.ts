import { describe, expect, test } from "vitest";
import { identityProblem, type ServerCertificate } from "../../src/upstream/server-identity.ts";

const SERVER = "1.3.6.1.5.5.7.3.1";
const CLIENT = "1.3.6.1.5.5.7.3.2";
const names = (subjectaltname: string): ServerCertificate => ({ subjectaltname, ext_key_usage: [SERVER] });

describe("S9: a certificate stands for a host name when", () => {
  test.each([
    ["api.test", "DNS:api.test"],
    ["api.test", "DNS:API.Test"],
    ["api.test", "DNS:other.test, DNS:api.test"],
    ["api.test", "IP Address:127.0.0.1, DNS:api.test"],
    ["a.wild.test", "DNS:*.wild.test"],
    ["xn--bcher-kva.wild.test", "DNS:*.wild.test"],
  ])("%s: %s", (name, subjectaltname) => {
    expect(identityProblem(name, false, names(subjectaltname))).toBeNull();
  });
});

describe("S9: it does not stand for a host name when", () => {
  test.each([
    ["api.test", "DNS:other.test"],
    ["api.test", "DNS:api.test.evil"],
    ["api.test", "DNS:xapi.test"],
    ["api.test", "DNS:"],
    // A wildcard is a whole left-most label, stands for exactly one, and never above a name of two labels (RFC 9525 §6.3).
    ["api.test", "DNS:*.test"],
    ["api.test", "DNS:*"],
    ["api.test", "DNS:a*.test"],
    ["api.test", "DNS:*i.test"],
    ["api.test", "DNS:a*i.test"],
    ["a.b.wild.test", "DNS:*.wild.test"],
    ["wild.test", "DNS:*.wild.test"],
    [".wild.test", "DNS:*.wild.test"],
    ["a.wild.test", "DNS:a.*.test"],
    ["a.wild.test", "DNS:*.*.test"],
    ["a.wild.test", "DNS:**.wild.test"],
    ["xn--a.wild.test", "DNS:xn--*.wild.test"],
    // Other kinds of names are not host names.
    ["api.test", "URI:https://api.test/"],
    ["api.test", "email:api.test"],
    ["api.test", "othername:<unsupported>, URI:DNS:api.test"],
    // A name that had to be quoted is one name, whatever it holds (CVE-2021-44532).
    ["api.test", 'DNS:"evil.test, DNS:api.test"'],
    ["api.test", 'URI:"x\\", DNS:api.test"'],
    ["127.0.0.1", "DNS:127.0.0.1x"],
  ])("%s: %s", (name, subjectaltname) => {
    expect(identityProblem(name, false, names(subjectaltname))).toBe("certificate is for other names");
  });
});

describe("S9: addresses", () => {
  test.each([
    ["127.0.0.1", "IP Address:127.0.0.1", true],
    ["::1", "IP Address:0:0:0:0:0:0:0:1", true],
    ["2001:db8::1", "IP Address:2001:DB8:0:0:0:0:0:1", true],
    ["127.0.0.1", "IP Address:127.0.0.2", false],
    ["127.0.0.1", "DNS:127.0.0.1", false],
    ["127.0.0.1", "DNS:*.0.0.1", false],
    ["::1", "IP Address:0:0:0:0:0:0:0:2", false],
    ["::ffff:127.0.0.1", "IP Address:127.0.0.1", false],
  ])("%s by %s: %s", (address, subjectaltname, stands) => {
    expect(identityProblem(address, true, names(subjectaltname)) === null).toBe(stands);
  });
});

describe("S9: besides the name", () => {
  const good = names("DNS:api.test");

  test("no subject alternative name, no identity: the common name is not read", () => {
    const certificate = { ...good, subjectaltname: undefined, subject: { CN: "api.test" } };
    expect(identityProblem("api.test", false, certificate)).toBe(
      "certificate has no subject alternative name",
    );
  });

  test.each([
    [1024, "RSA key shorter than 2048 bits"],
    [2047, "RSA key shorter than 2048 bits"],
    [2048, null],
    [undefined, "RSA key shorter than 2048 bits"],
  ])("an RSA key of %s bits", (bits, problem) => {
    expect(identityProblem("api.test", false, { ...good, modulus: "AB", bits })).toBe(problem);
  });

  test("an elliptic key has fewer bits and is fine", () => {
    expect(identityProblem("api.test", false, { ...good, bits: 256 })).toBeNull();
  });

  test.each([
    [[SERVER], null],
    [[CLIENT, SERVER], null],
    [["2.5.29.37.0"], null],
    [undefined, null],
    [[CLIENT], "certificate is not for servers (extended key usage)"],
    [[], "certificate is not for servers (extended key usage)"],
  ])("extended key usage %j", (usages, problem) => {
    expect(identityProblem("api.test", false, { ...good, ext_key_usage: usages })).toBe(problem);
  });
});
