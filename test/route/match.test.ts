import { describe, expect, test } from "vitest";
import { compileMatcher, matchDestination, matchRoute } from "../../src/route/match.ts";
import { destination, route } from "./destinations.ts";

const fallback = destination("default", []);

describe("the destination of a target", () => {
  const matcher = compileMatcher([
    destination("everything on 8080", ["*"], { ports: [8080] }),
    destination("suffix", ["*.example.com"]),
    destination("long suffix", ["*.pay.example.com"]),
    destination("exact", ["api.pay.example.com"]),
    destination("exact on 8443", ["api.pay.example.com"], { ports: [8443] }),
    destination("admin on 9000", ["admin.example.com"], { ports: [9000] }),
    destination("address", ["192.0.2.7", "2001:db8::7"]),
    fallback,
  ]);

  test.each([
    ["api.pay.example.com", 443, "exact", "an exact host wins over every suffix"],
    ["api.pay.example.com", 8443, "exact on 8443", "who names the port wins over who takes any"],
    ["eu.pay.example.com", 443, "long suffix", "the longest suffix wins, whatever the order of the file"],
    ["a.b.c.pay.example.com", 443, "long suffix", "a suffix takes sub-domains at any depth"],
    ["pay.example.com", 443, "suffix", "a suffix does not take the name itself"],
    ["example.com", 443, "default", "nor does any other pattern take the parent"],
    ["notexample.com", 443, "default", "a suffix begins at a label"],
    ["xpay.example.com", 443, "suffix", "so does the longer one"],
    ["admin.example.com", 9000, "admin on 9000", "a port that fits"],
    ["admin.example.com", 443, "suffix", "a destination without this port is passed over"],
    ["other.example", 8080, "everything on 8080", "the asterisk takes what no name takes"],
    ["other.example", 443, "default", "what nothing takes is the implicit destination's"],
    ["API.Pay.Example.COM", 443, "exact", "case does not matter"],
    ["api.pay.example.com.", 443, "exact", "nor does the dot of the DNS root"],
    ["192.0.2.7", 80, "address", "an IPv4 address is an exact host"],
    ["2001:db8::7", 80, "address", "so is an IPv6 address"],
  ])("%s:%i belongs to %s: %s", (host, port, name) => {
    expect(matchDestination(matcher, host, port).name).toBe(name);
  });

  test("an address has no parent domain", () => {
    const odd = compileMatcher([destination("odd", ["*.0.0.1"]), fallback]);
    expect(matchDestination(odd, "127.0.0.1", 80)).toBe(fallback);
    expect(matchDestination(odd, "x.0.0.1", 80).name).toBe("odd");
  });

  test("of two destinations for one host the first of the file wins", () => {
    const twice = compileMatcher([
      destination("first", ["a.example"]),
      destination("second", ["a.example"]),
      fallback,
    ]);
    expect(matchDestination(twice, "a.example", 80).name).toBe("first");
  });

  test("names of Object.prototype are names like any other (S25)", () => {
    const names = ["__proto__", "constructor", "tostring", "hasownproperty"];
    for (const name of names) expect(matchDestination(matcher, name, 443)).toBe(fallback);
    const named = compileMatcher([destination("odd", ["__proto__", "*.constructor"]), fallback]);
    expect(matchDestination(named, "__proto__", 443).name).toBe("odd");
    expect(matchDestination(named, "x.constructor", 443).name).toBe("odd");
    expect(matchDestination(named, "constructor", 443)).toBe(fallback);
  });

  test("a polluted Object.prototype does not invent destinations (S25)", () => {
    const prototype = Object.prototype as unknown as Record<string, unknown>;
    prototype["evil.example"] = [destination("evil", [])];
    try {
      expect(matchDestination(matcher, "evil.example", 443)).toBe(fallback);
    } finally {
      delete prototype["evil.example"];
    }
  });

  test("a list that does not end with the implicit destination is refused", () => {
    expect(() => compileMatcher([])).toThrow(RangeError);
    expect(() => compileMatcher([destination("only", ["a.example"])])).toThrow(/compile the policy again/);
  });
});

describe("the route of a call", () => {
  const charges = route("/v1/charges", ["POST"]);
  const v1 = route("/v1");
  const folder = route("/files/");
  const reads = route("", ["GET"]);
  const payments = destination("payments", ["pay.example"], { routes: [charges, v1, folder, reads] });

  test.each([
    ["POST", "/v1/charges", "path and method fit", charges],
    ["POST", "/v1/charges/7?x=1", "a prefix covers the segments below it", charges],
    ["POST", "/v1/chargesX", "but not half a segment", v1],
    ["GET", "/v1/charges", "another method goes on to the next route", v1],
    ["PUT", "/v1?x=/v2", "the query begins where the path ends", v1],
    ["PUT", "/v10", "/v10 is not below /v1", null],
    ["PUT", "/V1", "paths have case", null],
    ["PUT", "/files/a", "a prefix with a slash covers what is below it", folder],
    ["PUT", "/files", "and not the name without the slash", null],
    ["GET", "/anything", "an empty prefix takes every path", reads],
    ["get", "/anything", "methods have case (RFC 9110 §9.1)", null],
    ["DELETE", "/", "no route: the destination's own policy", null],
    ["GET", "*", "the asterisk form of OPTIONS is a path like any other here", reads],
  ])("%s %s: %s", (method, path, _why, expected) => {
    expect(matchRoute(payments, method, path)).toBe(expected);
  });
});
