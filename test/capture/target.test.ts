import { describe, expect, test } from "vitest";
import { type ListenerRole, parseAuthority, type Target, targetOf } from "../../src/capture/target.ts";
import { EgressError, type ErrorCode } from "../../src/errors.ts";
import { parseRequestHead } from "../../src/http1/request-head.ts";
import { LIMITS } from "../http1/limits.ts";

const PROXY: ListenerRole = { kind: "proxy" };
const LOCAL: ListenerRole = {
  kind: "local",
  destination: "payments",
  scheme: "https",
  host: "api.pay.example",
  port: 8443,
};

function read(line: string, role: ListenerRole, host = "Host: h\r\n"): Target | EgressError {
  const head = parseRequestHead(`${line} HTTP/1.1\r\n${host}`, LIMITS);
  if (head instanceof EgressError) throw head;
  return targetOf(head, role);
}

function codeOf(found: Target | EgressError): ErrorCode | Target {
  return found instanceof EgressError ? found.code : found;
}

describe("the proxy's port:", () => {
  test.each([
    ["GET http://a/b?c", "http", "a", 80, "/b?c"],
    ["GET http://a", "http", "a", 80, "/"],
    ["GET http://a?b", "http", "a", 80, "/?b"],
    ["GET HTTP://A.Example./", "http", "a.example", 80, "/"],
    ["GET https://a/", "https", "a", 443, "/"],
    ["GET https://a:80/", "https", "a", 80, "/"],
    ["GET http://a:443/", "http", "a", 443, "/"],
    ["GET http://a:65535/", "http", "a", 65535, "/"],
    ["GET http://a:00080/", "http", "a", 80, "/"],
    ["GET http://[::1]/", "http", "::1", 80, "/"],
    ["GET http://[2001:DB8::1]:8080/x", "http", "2001:db8::1", 8080, "/x"],
    ["GET http://[::ffff:10.0.0.1]/", "http", "::ffff:10.0.0.1", 80, "/"],
    ["GET http://_srv.a_b.example/", "http", "_srv.a_b.example", 80, "/"],
    // Raw, because signatures cover it: nothing is decoded or normalised.
    ["GET http://a//b/../%2e%2e/;c=d?e=http://f/", "http", "a", 80, "//b/../%2e%2e/;c=d?e=http://f/"],
    ["GET http://a/@b:c", "http", "a", 80, "/@b:c"],
    ["OPTIONS http://a", "http", "a", 80, "*"],
    ["OPTIONS http://a/", "http", "a", 80, "/"],
    ["CONNECT a:443", "http", "a", 443, "a:443"],
    ["CONNECT [::1]:443", "http", "::1", 443, "[::1]:443"],
  ])("%s", (line, scheme, host, port, path) => {
    expect(read(line, PROXY)).toEqual({ scheme, host, port, path });
  });

  test.each([
    "GET /",
    "GET *",
    "OPTIONS *",
    "GET a",
    "GET a:80",
    "GET ftp://a/",
    "GET ws://a/",
    "GET http:/a/",
    "GET http:a",
    "GET //a/",
    "GET http://",
    "GET http:///b",
    "GET http://:80/",
    "GET http://a:/",
    "GET http://a:0/",
    "GET http://a:65536/",
    "GET http://a:99999/",
    "GET http://a:100000/",
    "GET http://a:-1/",
    "GET http://a:8%200/",
    "GET http://a:80:80/",
    "GET http://user@a/",
    "GET http://user:pass@a/",
    "GET http://a@b/",
    "GET http://a\\@b/",
    "GET http://a\\b/",
    "GET http://a%2eb/",
    "GET http://%61/",
    "GET http://a%00/",
    "GET http://a,b/",
    "GET http://a;b/",
    "GET http://a'b/",
    "GET http://-a/",
    "GET http://.a/",
    "GET http://./",
    "GET http://a..b/",
    "GET http://a../",
    "GET http://[::1/",
    "GET http://::1/",
    "GET http://[::1]x/",
    "GET http://[::1%25lo]/",
    "GET http://[127.0.0.1]/",
    "GET http://[a]/",
    "GET http://[v1.a]/",
    "GET http://[abcd]/",
    "GET http://[::1]:/",
    `GET http://${"a".repeat(254)}/`,
    "CONNECT a",
    "CONNECT a:",
    "CONNECT a:0",
    "CONNECT a:65536",
    "CONNECT a:99999",
    "CONNECT :443",
    "CONNECT http://a:443/",
    "CONNECT a:443/",
    "CONNECT user@a:443",
    "CONNECT /",
    "CONNECT *",
  ])("%s is refused", (line) => {
    expect(codeOf(read(line, PROXY))).toBe("BAD_TARGET");
  });

  test("CONNECT has no body", () => {
    expect(codeOf(read("CONNECT a:443", PROXY, "Host: a:443\r\nContent-Length: 1\r\n"))).toBe("BAD_TARGET");
    expect(codeOf(read("CONNECT a:443", PROXY, "Host: a:443\r\nContent-Length: 0\r\n"))).toMatchObject({
      port: 443,
    });
  });
});

describe("a destination's local port:", () => {
  test.each([
    ["GET /", "/"],
    ["GET //evil.example/", "//evil.example/"],
    ["GET /http://evil.example/", "/http://evil.example/"],
    ["OPTIONS *", "*"],
  ])("%s goes to the destination, whatever Host says", (line, path) => {
    const target = { scheme: "https", host: "api.pay.example", port: 8443, path };
    expect(read(line, LOCAL, "Host: evil.example\r\n")).toEqual(target);
  });

  test.each(["GET http://a/", "GET *", "GET a", "CONNECT a:443"])("%s is refused", (line) => {
    expect(codeOf(read(line, LOCAL))).toBe("BAD_TARGET");
  });
});

describe("Host:", () => {
  test.each([
    "",
    "Host: a b\r\n",
    "Host: a, b\r\n",
    "Host: user@a\r\n",
    "Host: a/b\r\n",
    "Host: a:0\r\n",
    "Host: \xa0a\r\n",
    "Host: [::1\r\n",
    "Host: http://a\r\n",
  ])("%j is refused even beside an absolute target", (host) => {
    expect(codeOf(read("GET http://a/", PROXY, host))).toBe("BAD_TARGET");
    expect(codeOf(read("GET /", LOCAL, host))).toBe("BAD_TARGET");
  });

  test.each(["http://a/b/", "http://a?b/", "http://a/"])(
    "%s does not excuse a Host that is its beginning",
    (target) => {
      const host = target.slice("http://".length, -1);
      const expected = host === "a" ? { host: "a" } : "BAD_TARGET";
      const found = codeOf(read(`GET ${target}`, PROXY, `Host: ${host}\r\n`));
      if (expected === "BAD_TARGET") expect(found).toBe(expected);
      else expect(found).toMatchObject(expected);
    },
  );

  test.each(["Host: other:1\r\n", "Host:\r\n", "Host: [::1]:8080\r\n"])(
    "%j is replaced by the target's authority (RFC 9112 §3.2.2)",
    (host) => {
      expect(codeOf(read("GET http://a:81/", PROXY, host))).toMatchObject({ host: "a", port: 81 });
    },
  );

  test("HTTP/1.0 may leave it out", () => {
    const head = parseRequestHead("GET http://a/ HTTP/1.0\r\n", LIMITS);
    if (head instanceof EgressError) throw head;
    expect(targetOf(head, PROXY)).toMatchObject({ host: "a" });
  });
});

test("an authority's port is obligatory where there is no default", () => {
  expect(parseAuthority("a:1", 0)).toEqual({ host: "a", port: 1 });
  expect(parseAuthority("a", 0)).toBeInstanceOf(EgressError);
  expect(parseAuthority("__proto__", 80)).toEqual({ host: "__proto__", port: 80 });
});
