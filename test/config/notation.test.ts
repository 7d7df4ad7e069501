/** Single texts of the policy file: what each is refused for, and what the message says to write instead. */
import { describe, expect, test } from "vitest";
import {
  addressBlockProblem,
  fileReferenceProblem,
  headerNameProblem,
  headerValueProblem,
  hostPatternProblem,
  hostProblem,
  identityProblem,
  methodProblem,
  nameProblem,
  pathPrefixProblem,
  rewritableHeaderProblem,
  stickyProblem,
} from "../../src/config/notation.ts";
import type { Acl } from "../../src/config/types.ts";
import { UNWRITABLE_FIELDS } from "../../src/policy/rewrite-fields.ts";
import { compileAddressGuard } from "../../src/route/admit.ts";

describe("hosts", () => {
  test.each([
    "api.example.com",
    "API.Example.com",
    "localhost",
    "_dmarc.example.com",
    "xn--kse-qla.example",
    "10.1.2.3",
    "::1",
    "fd00:ec2::254",
    "*",
    "*.example.com",
    "*.com",
    "__proto__",
    "constructor",
  ])("%s is a host pattern", (text) => {
    expect(hostPatternProblem(text)).toBeNull();
  });

  test.each([
    ["https://api.example.com", 'write "api.example.com"'],
    ["https://api.example.com:8443/v1?x#y", 'write "api.example.com" and put the port in ports: [8443]'],
    ["user:secret@api.example.com", 'write "api.example.com"'],
    ["api.example.com:8443", 'write "api.example.com" and put the port in ports: [8443]'],
    ["api.example.com/v1", 'write "api.example.com"'],
    ["api.example.com.", 'write "api.example.com"'],
    ["*.example.com:443", 'write "*.example.com" and put the port in ports: [443]'],
    ["[::1]:80", 'write "::1" and put the port in ports: [80]'],
    ["[::1]", 'write "::1"'],
    ["0:0:0:0:0:0:0:1", 'write "::1"'],
    ["FE80::1", 'write "fe80::1"'],
    ["fe80::1%eth0", "zone"],
    ["käse.example", 'write "xn--kse-qla.example"'],
    ["*.käse.example", 'write "*.xn--kse-qla.example"'],
    ["*foo.example", 'write "*.example.com" or "*" alone'],
    ["a.*.example", "first label"],
    ["*.*.example", "first label"],
    ["**", "first label"],
    ["*.10.0.0.1", 'write "10.0.0.1"'],
    ["127.1", "ends in a number"],
    ["2130706433", "ends in a number"],
    ["0x7f.1", "ends in a number"],
    ["010.0.0.1", "ends in a number"],
    ["a..b", "no host name"],
    ["", "no host name"],
    ["*.", "no host name"],
    ["http://", "names no host"],
    ["a b", "no host name"],
    [`${"a".repeat(64)}.example`, "no host name"],
    [`${"a.".repeat(130)}example`, "longer than 253"],
  ])("%j is refused: %s", (text, message) => {
    expect(hostPatternProblem(text)).toContain(message);
  });

  test("an exact host is no pattern", () => {
    expect(hostProblem("*.example.com")).not.toBeNull();
    expect(hostProblem("api.example.com")).toBeNull();
  });
});

describe("address blocks", () => {
  const accepted = [
    "10.0.0.0/8",
    "10.1.2.3",
    "10.1.2.3:443",
    "10.0.0.0/8:443",
    "127.0.0.1/32",
    "0.0.0.0/0",
    "::1",
    "fd00::/8",
    "fd00::/8:443",
    "[fd00::1]:443",
    "[fd00::]/8:443",
    "[fd00::]/8",
  ];

  test.each(accepted)("%s is one", (text) => {
    expect(addressBlockProblem(text)).toBeNull();
  });

  test("the guard on addresses understands whatever passes here", () => {
    const acl: Acl = {
      default: "allow",
      mode: "enforce",
      privateRanges: "deny",
      allowAddresses: accepted,
      rules: [],
    };
    expect(compileAddressGuard(acl, [], () => new Set()).everywhere).toHaveLength(accepted.length);
  });

  test.each([
    ["10.0.0.0/33", "at most 32 bits"],
    ["fd00::/129", "at most 128 bits"],
    ["10.1.2.3:0", "port"],
    ["10.1.2.3:65536", "port"],
    ["10.1.2", "no address block"],
    ["10.0.0.0/", "no address block"],
    ["10.0.0.0/8:", "no address block"],
    ["[10.0.0.1]:443", "no address block"],
    ["fe80::1%eth0", "no address block"],
    ["localhost", "no address block"],
    ["*", "no address block"],
    ["", "no address block"],
  ])("%j is refused: %s", (text, message) => {
    expect(addressBlockProblem(text)).toContain(message);
  });
});

describe("files, names, headers, methods and paths", () => {
  const table = [
    [fileReferenceProblem, "file:/var/task/a.pem", null],
    [fileReferenceProblem, "file:///var/task/a.pem", 'write "file:/var/task/a.pem"'],
    [fileReferenceProblem, "/var/task/a.pem", 'write "file:/var/task/a.pem"'],
    [fileReferenceProblem, "certs/a.pem", "absolute path"],
    [fileReferenceProblem, "file:certs/a.pem", "absolute path"],
    [fileReferenceProblem, "https://example.com/a.pem", "absolute path"],
    [fileReferenceProblem, "-----BEGIN PRIVATE KEY-----", "do not stand in the policy"],
    [nameProblem, "payments-v2.eu", null],
    [nameProblem, "__proto__", null],
    [nameProblem, "constructor", null],
    [nameProblem, "default", "choose another"],
    [nameProblem, "a b", "letters, digits"],
    [nameProblem, "-a", "letters, digits"],
    [nameProblem, "", "letters, digits"],
    [nameProblem, "a".repeat(65), "letters, digits"],
    [headerNameProblem, "Idempotency-Key", null],
    [headerNameProblem, "x:", "no header name"],
    [headerNameProblem, "", "no header name"],
    [methodProblem, "GET", null],
    [methodProblem, "M-SEARCH", null],
    [methodProblem, "get", 'write "GET"'],
    [methodProblem, "GE T", "no method"],
    [pathPrefixProblem, "/", null],
    [pathPrefixProblem, "/v1/charges", null],
    [pathPrefixProblem, "/v%201", null],
    [pathPrefixProblem, "v1", 'write "/v1"'],
    [pathPrefixProblem, "https://api.example.com/v1", 'write "/v1"'],
    [pathPrefixProblem, "/v1/*", 'write "/v1"'],
    [pathPrefixProblem, "/*", 'write "/"'],
    [pathPrefixProblem, "/v1?x=1", "leave out"],
    [pathPrefixProblem, "/käse", "percent-encoded"],
    [pathPrefixProblem, "", "begins with a slash"],
  ] as const;

  test.each(table)("%o says of %j: %s", (check, text, message) => {
    if (message === null) expect(check(text)).toBeNull();
    else expect(check(text)).toContain(message);
  });
});

describe("what stages are told", () => {
  test.each([
    [rewritableHeaderProblem, "X-Env", null],
    [rewritableHeaderProblem, "Host", "the connection's own"],
    [rewritableHeaderProblem, "Content-Length", "the connection's own"],
    [rewritableHeaderProblem, "transfer-encoding", "the connection's own"],
    [rewritableHeaderProblem, "a b", "no header name"],
    [headerValueProblem, "", null],
    [headerValueProblem, "text/plain; charset=utf-8", null],
    [headerValueProblem, "a\r\nb: c", "visible ASCII"],
    [headerValueProblem, " a", "visible ASCII"],
    [headerValueProblem, "a".repeat(1025), "at most 1024"],
    [stickyProblem, "trace", null],
    [stickyProblem, "sandbox", null],
    [stickyProblem, "none", null],
    [stickyProblem, "header:x-tenant", null],
    [stickyProblem, "header:", "no header name"],
    [stickyProblem, "x-tenant", "header: and a name"],
    [identityProblem, "orders-api", null],
    [identityProblem, "orders-*", null],
    [identityProblem, "*-api", null],
    [identityProblem, "*", null],
    [identityProblem, "a*b", "no name of a function"],
    [identityProblem, "", "no name of a function"],
  ])("%s says of %j: %s", (problem, text, message) => {
    expect(problem(text)).toEqual(message === null ? null : expect.stringContaining(message));
  });
});

test("no header that the rewrite stage would leave alone can be named for it", () => {
  const taken = [...UNWRITABLE_FIELDS].filter((name) => rewritableHeaderProblem(name) === null);
  expect(taken).toEqual([]);
  expect(UNWRITABLE_FIELDS.size).toBeGreaterThan(10);
});
