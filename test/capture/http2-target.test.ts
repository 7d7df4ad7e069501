import { describe, expect, test } from "vitest";
import { http2TargetOf } from "../../src/capture/http2-target.ts";
import type { ListenerRole } from "../../src/capture/target.ts";
import { EgressError } from "../../src/errors.ts";

const LOCAL: ListenerRole = { kind: "local", destination: "d", scheme: "https", host: "up.test", port: 8443 };
const PLAIN: ListenerRole = { kind: "tunnel", scheme: "http", host: "a.test", port: 8080 };
const OPENED: ListenerRole = { kind: "tunnel", scheme: "https", host: "a.test", port: 443 };
const PROXY: ListenerRole = { kind: "proxy" };
const TRANSPARENT: ListenerRole = { kind: "transparent" };
const TCP: ListenerRole = { kind: "tcp", destination: "db", host: "db.test", port: 5432 };

/** Pseudo-headers that ask for `http://a.test:8080/x`, with changes; `null` leaves one out. */
function list(changes: Record<string, string | null> = {}, host: string | null = null) {
  const pseudo = new Map([
    [":method", "GET"],
    [":scheme", "http"],
    [":authority", "a.test:8080"],
    [":path", "/x"],
  ]);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) pseudo.delete(name);
    else pseudo.set(name, value);
  }
  return { pseudo, host };
}

const codeOf = (found: unknown): string => (found instanceof EgressError ? found.code : "none");

describe("the target of an HTTP/2 request", () => {
  test.each([
    ["a tunnel of plain HTTP", PLAIN, list(), "http://a.test:8080/x"],
    [
      "a tunnel that was opened",
      OPENED,
      list({ ":scheme": "https", ":authority": "a.test" }),
      "https://a.test:443/x",
    ],
    [
      "the same with the port spelt out",
      OPENED,
      list({ ":scheme": "https", ":authority": "A.test:443" }),
      "https://a.test:443/x",
    ],
    [
      "Host instead of :authority",
      PLAIN,
      list({ ":authority": null }, "a.test:8080"),
      "http://a.test:8080/x",
    ],
    ["Host that says the same", PLAIN, list({}, "A.TEST.:8080"), "http://a.test:8080/x"],
    ["a local port, whatever is named", LOCAL, list(), "https://up.test:8443/x"],
    ["the proxy's port", PROXY, list(), "http://a.test:8080/x"],
    ["a redirected connection", TRANSPARENT, list(), "http://a.test:8080/x"],
    [
      "OPTIONS for the whole server",
      PLAIN,
      list({ ":method": "OPTIONS", ":path": "*" }),
      "http://a.test:8080*",
    ],
    ["an upper-case scheme", PLAIN, list({ ":scheme": "HTTP" }), "http://a.test:8080/x"],
    ["an IPv6 address", PROXY, list({ ":authority": "[::1]:80" }), "http://::1:80/x"],
  ])("is read: %s", (_what, role, asked, expected) => {
    const found = http2TargetOf(asked, role, 100);
    if (found instanceof EgressError) throw found;
    expect(`${found.scheme}://${found.host}:${found.port}${found.path}`).toBe(expected);
    expect(found.method).toBe(asked.pseudo.get(":method"));
  });

  test.each([
    ["no method", list({ ":method": null }), "BAD_REQUEST"],
    ["an unknown method", list({ ":method": "BREW" }), "BAD_REQUEST"],
    ["a method in lower case", list({ ":method": "get" }), "BAD_REQUEST"],
    ["a method with a request line in it", list({ ":method": "GET / HTTP/1.1" }), "BAD_REQUEST"],
    ["the preface's method", list({ ":method": "PRI" }), "BAD_REQUEST"],
    ["a status", list({ ":status": "200" }), "BAD_REQUEST"],
    ["CONNECT", list({ ":method": "CONNECT" }), "BAD_TARGET"],
    ["extended CONNECT", list({ ":method": "CONNECT", ":protocol": "websocket" }), "BAD_TARGET"],
    ["a protocol without CONNECT", list({ ":protocol": "websocket" }), "BAD_TARGET"],
    ["no scheme", list({ ":scheme": null }), "BAD_TARGET"],
    ["another scheme", list({ ":scheme": "ftp" }), "BAD_TARGET"],
    ["a scheme that is a URL", list({ ":scheme": "http://evil.test/?" }), "BAD_TARGET"],
    ["no path", list({ ":path": null }), "BAD_TARGET"],
    ["an empty path", list({ ":path": "" }), "BAD_TARGET"],
    ["a path without a slash", list({ ":path": "x" }), "BAD_TARGET"],
    ["an absolute path", list({ ":path": "http://evil.test/" }), "BAD_TARGET"],
    ["an asterisk without OPTIONS", list({ ":path": "*" }), "BAD_TARGET"],
    ["a blank in the path", list({ ":path": "/a b" }), "BAD_TARGET"],
    ["a request line in the path", list({ ":path": "/ HTTP/1.1\r\nx: y" }), "BAD_TARGET"],
    ["a fragment", list({ ":path": "/a#b" }), "BAD_TARGET"],
    ["bytes over 0x7e in the path", list({ ":path": "/\xe4" }), "BAD_TARGET"],
    ["a long path", list({ ":path": `/${"a".repeat(100)}` }), "TARGET_TOO_LONG"],
    ["no authority and no host", list({ ":authority": null }), "BAD_TARGET"],
    ["an empty authority", list({ ":authority": "" }), "BAD_TARGET"],
    ["user info", list({ ":authority": "u@a.test:8080" }), "BAD_TARGET"],
    ["a path in the authority", list({ ":authority": "a.test/x" }), "BAD_TARGET"],
    ["a port out of range", list({ ":authority": "a.test:0" }), "BAD_TARGET"],
    ["another host than :authority", list({}, "b.test:8080"), "BAD_TARGET"],
    ["another port than :authority", list({}, "a.test"), "BAD_TARGET"],
    ["an invalid host beside :authority", list({}, "a.test:8080/"), "BAD_TARGET"],
    ["another host than the tunnel's", list({ ":authority": "b.test:8080" }), "MISDIRECTED"],
    ["another port than the tunnel's", list({ ":authority": "a.test:80" }), "MISDIRECTED"],
    ["another scheme than the tunnel's", list({ ":scheme": "https" }), "MISDIRECTED"],
  ])("is refused: %s", (_what, asked, code) => {
    expect(codeOf(http2TargetOf(asked, PLAIN, 100))).toBe(code);
  });

  test("is refused where no HTTP is spoken", () => {
    expect(codeOf(http2TargetOf(list(), TCP, 100))).toBe("BAD_TARGET");
  });

  test("is checked at a local port too, though its host does not count", () => {
    expect(codeOf(http2TargetOf(list({ ":authority": "a b" }), LOCAL, 100))).toBe("BAD_TARGET");
    expect(codeOf(http2TargetOf(list({}, "b.test"), LOCAL, 100))).toBe("BAD_TARGET");
  });
});
