import { describe, expect, test } from "vitest";
import type { Destination } from "../../src/config/types.ts";
import { EgressRequest, type HttpVersion, type RequestParts, type Scheme } from "../../src/exchange.ts";
import { dialTarget, overTls, poolKey, type Reach, spokenTo } from "../../src/upstream/reach.ts";
import type { TlsClient } from "../../src/upstream/tls.ts";

const client = { id: "own" } as TlsClient;

const reach = (changes: Partial<Reach> = {}): Reach => ({
  address: null,
  originate: false,
  tunnelOverTls: false,
  httpVersion: "auto",
  tls: () => client,
  policy: { dnsTimeoutMs: 1, connectTimeoutMs: 2, tlsTimeoutMs: 3, idleTimeoutMs: 4 },
  vet: () => null,
  ...changes,
});

const request = (parts: Partial<RequestParts> = {}): EgressRequest =>
  new EgressRequest({
    method: "GET",
    scheme: "https",
    host: "a",
    port: 443,
    path: "/",
    fields: "",
    ...parts,
  });

describe("what a call is spoken in", () => {
  test.each<[Destination["httpVersion"], HttpVersion, Scheme, string, string]>([
    ["auto", 1, "https", "", "http1"],
    ["auto", 1, "http", "", "http1"],
    ["auto", 2, "https", "", "negotiated"],
    ["auto", 2, "http", "", "http2"],
    ["http1", 1, "https", "", "http1"],
    ["http1", 2, "https", "", "http1"],
    ["http1", 2, "http", "", "http1"],
    ["http2", 1, "https", "", "http2"],
    ["http2", 1, "http", "", "http2"],
    ["http2", 2, "https", "", "http2"],
    ["http2", 1, "http", "websocket", "http1"],
    ["auto", 2, "https", "websocket", "http1"],
  ])(
    "with http_version %s, from an application of HTTP/%i, to %s, upgrade %j: %s",
    (version, httpVersion, scheme, upgrade, spoken) => {
      expect(spokenTo(version, { httpVersion, scheme, upgrade })).toBe(spoken);
    },
  );
});

describe("where a call is dialled", () => {
  test("at its own host, over TLS for https", () => {
    expect(dialTarget(reach(), request(), ["h2"])).toMatchObject({
      host: "a",
      port: 443,
      name: "a",
      tls: client,
      alpn: ["h2"],
    });
  });

  test("at the destination's upstream, under its own name", () => {
    const target = dialTarget(reach({ address: { host: "b", port: 1 } }), request({ scheme: "http" }), []);
    expect(target).toMatchObject({ host: "b", port: 1, name: "a", tls: null });
  });

  test.each([
    [8080, 8080],
    [0, 443],
  ])("where a stage says, at port %i: %i, whatever the destination says", (port, dialled) => {
    const elsewhere = request().with({ address: { host: "c", port } });
    const target = dialTarget(reach({ address: { host: "b", port: 1 } }), elsewhere, []);
    expect(target).toMatchObject({ host: "c", port: dialled, name: "a" });
  });

  test.each([
    ["of a destination without TLS", false, "db", null],
    ["of a destination's own port, over TLS of our own", true, "db", client],
    ["that was asked for by name, as the application's own business", true, "", null],
  ])("in a tunnel %s", (_, tunnelOverTls, destination, tls) => {
    const tunnel = request({ method: "CONNECT", scheme: "http", destination });
    expect(dialTarget(reach({ tunnelOverTls }), tunnel, []).tls).toBe(tls);
  });
});

describe("TLS that the destination originates", () => {
  test.each<[string, Partial<RequestParts>, string, number]>([
    ["takes port 80 to 443", { scheme: "http", port: 80 }, "https", 443],
    ["leaves other ports", { scheme: "http", port: 8080 }, "https", 8080],
    ["leaves what is TLS already", { scheme: "https", port: 80 }, "https", 80],
    ["leaves a tunnel", { scheme: "http", port: 80, method: "CONNECT" }, "http", 80],
  ])("%s", (_, parts, scheme, port) => {
    expect(overTls(request(parts))).toMatchObject({ scheme, port });
  });
});

test("connections are shared by calls to the same peer under the same name with the same identity, and by no others", () => {
  const keys = [
    poolKey(reach(), request()),
    poolKey(reach(), request({ host: "b" })),
    poolKey(reach(), request({ port: 444 })),
    poolKey(reach(), request({ scheme: "http" })),
    poolKey(reach({ address: { host: "b", port: 443 } }), request()),
    poolKey(reach({ tls: () => ({ id: "other" }) as TlsClient }), request()),
  ];
  expect(new Set(keys).size).toBe(keys.length);
  expect(poolKey(reach(), request({ path: "/other", method: "POST" }))).toBe(keys[0]);
});
