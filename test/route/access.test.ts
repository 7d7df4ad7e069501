import { describe, expect, test } from "vitest";
import type { AccessRule, Acl } from "../../src/config/types.ts";
import { admitCall, admitsSome, compileAccess, rulesFor } from "../../src/route/access.ts";
import { admitTarget } from "../../src/route/admit.ts";
import { acl, destination } from "./destinations.ts";

const rule = (name: string, action: AccessRule["action"], parts: Partial<AccessRule> = {}): AccessRule => ({
  name,
  action,
  hosts: [],
  ports: [],
  methods: [],
  paths: [],
  identities: [],
  ...parts,
});

const implicit = destination("default", []);
const closed = destination("tracker", ["ads.example"], { access: "deny" });

/** `GET https://host:port/path` with defaults; CONNECT has no path. */
type Call = readonly [method: string, host: string, port: number, path: string];

function judged(rules: Acl, [method, host, port, path]: Call, identity = "", target = implicit) {
  const found = rulesFor(compileAccess(rules, identity), host, port);
  return admitCall(found, admitTarget(rules, target), method, path);
}

describe("the rules of the acl", () => {
  const rules = acl({
    default: "deny",
    rules: [
      rule("no-delete", "deny", { hosts: ["*.pay.example"], methods: ["DELETE"] }),
      rule("charges", "allow", {
        hosts: ["api.pay.example"],
        ports: [443],
        methods: ["GET", "POST"],
        paths: ["/v1/charges", "/v1/refunds"],
      }),
      rule("no-admin", "deny", { paths: ["/admin"] }),
      rule("anything-of-files", "allow", { hosts: ["files.example", "2001:db8::7"] }),
      rule("files-again", "deny", { hosts: ["files.example"] }),
      rule("tunnels", "allow", { hosts: ["db.example"], ports: [5432], methods: ["CONNECT"] }),
      rule("ads", "allow", { hosts: ["ads.example"], methods: ["GET"] }),
    ],
  });

  test.each<[string, Call, string]>([
    ["all lists match", ["POST", "api.pay.example", 443, "/v1/charges/7?x=1"], "acl.rules.charges"],
    ["the second path", ["GET", "api.pay.example", 443, "/v1/refunds"], "acl.rules.charges"],
    ["another method", ["PUT", "api.pay.example", 443, "/v1/charges"], "acl.default: deny"],
    ["another port", ["GET", "api.pay.example", 8443, "/v1/charges"], "acl.default: deny"],
    ["another path", ["GET", "api.pay.example", 443, "/v1/chargesx"], "acl.default: deny"],
    ["the first that matches decides", ["DELETE", "api.pay.example", 443, "/v1"], "acl.rules.no-delete"],
    ["a suffix is not its parent", ["DELETE", "pay.example", 443, "/v1"], "acl.default: deny"],
    ["case and root dot do not matter", ["GET", "API.Pay.example.", 443, "/v1/charges"], "acl.rules.charges"],
    ["no host list means any", ["GET", "files.example", 443, "/admin/x"], "acl.rules.no-admin"],
    ["no lists but hosts", ["PATCH", "files.example", 81, "/x"], "acl.rules.anything-of-files"],
    ["an address in another notation", ["GET", "2001:DB8:0::0007", 80, "/"], "acl.rules.anything-of-files"],
    ["methods are case-sensitive", ["get", "ads.example", 80, "/"], "acl.default: deny"],
    ["nothing matches", ["GET", "other.example", 443, "/"], "acl.default: deny"],
  ])("%s", (_, call, decided) => {
    expect(judged(rules, call).rule).toBe(decided);
  });

  test("come before the word of a destination", () => {
    expect(judged(rules, ["GET", "ads.example", 80, "/"], "", closed)).toEqual({
      allowed: true,
      rule: "acl.rules.ads",
      effect: "none",
    });
    expect(judged(rules, ["POST", "ads.example", 80, "/"], "", closed).rule).toBe(
      "destinations.tracker.access: deny",
    );
  });

  test.each([
    ["enforce", "refuse"],
    ["report", "report"],
    ["observe", "none"],
  ] as const)("under %s a refusal is: %s", (mode, effect) => {
    const admission = judged({ ...rules, mode }, ["DELETE", "api.pay.example", 443, "/"]);
    expect(admission).toEqual({ allowed: false, rule: "acl.rules.no-delete", effect });
  });

  test.each([
    ["/public/../admin/x", "acl.rules.no-admin"],
    ["/public/%2e%2e/admin", "acl.rules.no-admin"],
    ["/%61dmin", "acl.rules.no-admin"],
    ["//admin", "acl.rules.no-admin"],
    ["/admin;jsessionid=1/x", "acl.rules.no-admin"],
    ["/x\\..\\admin", "acl.rules.no-admin"],
    ["/%2525252561dmin", "acl.rules.no-admin"],
  ])("a refusal is not walked around by %s", (path, decided) => {
    expect(judged(rules, ["GET", "files.example", 80, path]).rule).toBe(decided);
  });

  test.each([
    "/v1/charges/../keys",
    "/v1/charges/%2e%2e/keys",
    "/v1/charges/..%2fkeys",
    "/v1/charges/..;/keys",
    "/v1/charges/%252e%252e/keys",
    "/v1/charges\\..\\keys",
    "/v1/charges/%2525252e",
  ])("an allowance is not stretched by %s", (path) => {
    expect(judged(rules, ["GET", "api.pay.example", 443, path]).allowed).toBe(false);
  });

  test("an allowance holds for escapes that stay under it", () => {
    expect(judged(rules, ["GET", "api.pay.example", 443, "/v1/charges/a%2Fb%20c"]).allowed).toBe(true);
    const escaped = acl({
      default: "deny",
      rules: [rule("spaced", "allow", { paths: ["/a%20b"] })],
    });
    expect(judged(escaped, ["GET", "x.example", 80, "/a%20b/c"]).allowed).toBe(true);
    expect(judged(escaped, ["GET", "x.example", 80, "/a%20c"]).allowed).toBe(false);
    const dotted = acl({ default: "deny", rules: [rule("dotted", "allow", { paths: ["/v1/.."] })] });
    expect(judged(dotted, ["GET", "x.example", 80, "/anything"]).allowed).toBe(false);
  });
});

describe("a tunnel that is not looked into", () => {
  const connect = (host: string, port: number): Call => ["CONNECT", host, port, `${host}:${port}`];

  test.each<[string, AccessRule[], boolean]>([
    ["is decided by a rule without methods and paths", [rule("a", "allow")], true],
    ["is not matched by a rule with paths", [rule("a", "allow", { paths: ["/"] })], false],
    ["is not matched by a rule with methods", [rule("a", "allow", { methods: ["GET"] })], false],
    ["is matched where CONNECT is one of them", [rule("a", "allow", { methods: ["GET", "CONNECT"] })], true],
    [
      "goes on to the next rule",
      [rule("a", "deny", { paths: ["/admin"] }), rule("b", "allow", { ports: [443] })],
      true,
    ],
  ])("%s", (_, rules, allowed) => {
    expect(judged(acl({ default: "deny", rules }), connect("a.example", 443)).allowed).toBe(allowed);
  });

  test.each<[string, Partial<Acl>, AccessRule[], boolean]>([
    ["no rule, allowed", {}, [], true],
    ["no rule, denied", { default: "deny" }, [], false],
    ["no rule, denied, but only reported", { default: "deny", mode: "report" }, [], true],
    ["some paths are allowed", { default: "deny" }, [rule("a", "allow", { paths: ["/v1"] })], true],
    ["some paths are denied", {}, [rule("a", "deny", { paths: ["/v1"] })], true],
    ["all is denied", {}, [rule("a", "deny")], false],
    [
      "some paths, then all is denied",
      {},
      [rule("a", "allow", { methods: ["GET"] }), rule("b", "deny")],
      true,
    ],
    ["denied before some paths", {}, [rule("b", "deny"), rule("a", "allow", { methods: ["GET"] })], false],
    ["the rule is for another port", { default: "deny" }, [rule("a", "allow", { ports: [80] })], false],
  ])("may hold something that passes: %s", (_, changes, rules, admits) => {
    const policy = acl({ ...changes, rules });
    const found = rulesFor(compileAccess(policy, ""), "a.example", 443);
    expect(admitsSome(found, admitTarget(policy, implicit))).toBe(admits);
  });
});

describe("a rule for some functions", () => {
  test.each([
    ["orders-api", "orders-api", true],
    ["orders-api", "orders-api-2", false],
    ["orders-*", "orders-api", true],
    ["orders-*", "my-orders-api", false],
    ["*-prod", "orders-prod", true],
    ["*-prod", "prod-orders", false],
    ["*orders*", "my-orders-api", true],
    ["*orders*", "payments", false],
    ["*", "anything", true],
    ["*", "", true],
    ["orders-*", "", false],
    ["*orders*", "", false],
    ["Orders-api", "orders-api", false],
  ])("%s is for %j: %s", (pattern, identity, applies) => {
    const rules = acl({ default: "deny", rules: [rule("a", "allow", { identities: [pattern] })] });
    expect(judged(rules, ["GET", "a.example", 80, "/"], identity).allowed).toBe(applies);
  });
});

test("names of Object.prototype are hosts like any other (S25)", () => {
  const rules = acl({
    default: "deny",
    rules: [rule("odd", "allow", { hosts: ["__proto__", "*.constructor"] })],
  });
  expect(judged(rules, ["GET", "__proto__", 80, "/"]).allowed).toBe(true);
  expect(judged(rules, ["GET", "x.constructor", 80, "/"]).allowed).toBe(true);
  expect(judged(rules, ["GET", "tostring", 80, "/"]).allowed).toBe(false);
});
