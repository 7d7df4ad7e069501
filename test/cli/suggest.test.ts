/** `outrider suggest`: the policy that it writes admits what was observed, and nothing beside it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { AllowList, CHILDREN_MAX, TARGETS_MAX } from "../../src/cli/allow-list.ts";
import { observedCall } from "../../src/cli/observed-call.ts";
import { pathTemplate } from "../../src/cli/path-template.ts";
import { compileOrThrow } from "../../src/config/compile.ts";
import { admitCall, compileAccess, rulesFor } from "../../src/route/access.ts";
import { admitTarget } from "../../src/route/admit.ts";
import { compileMatcher, matchDestination } from "../../src/route/match.ts";
import { outrider, type Ran } from "./terminal.ts";

const cwd = mkdtempSync(join(tmpdir(), "outrider-suggest-"));
afterAll(() => rmSync(cwd, { recursive: true, force: true }));

type Observation = readonly [method: string, host: string, port: number, path: string];

const tunnel = (host: string, port: number): Observation => ["CONNECT", host, port, `${host}:${port}`];

/** A line of the access log. */
const line = ([method, host, port, path]: Observation, more: object = {}): string =>
  JSON.stringify({
    level: "info",
    time: "2026-11-25T08:00:00.000Z",
    event: "call",
    destination: "default",
    method,
    scheme: "http",
    host,
    port,
    path,
    status: 200,
    ...more,
  });

let files = 0;
async function suggest(lines: readonly string[], ...argv: string[]): Promise<Ran> {
  const name = `log-${++files}`;
  writeFileSync(join(cwd, name), `${lines.join("\n")}\n`);
  return outrider(["suggest", name, ...argv], { cwd });
}

/** Whether the policy in `text` allows a call. */
function allowedBy(text: string): (call: Observation) => boolean {
  const { config } = compileOrThrow(text, "learned.yaml");
  const access = compileAccess(config.acl, "");
  const matcher = compileMatcher(config.destinations);
  return ([method, host, port, path]) => {
    const word = admitTarget(config.acl, matchDestination(matcher, host, port));
    return admitCall(rulesFor(access, host, port), word, method, path).allowed;
  };
}

const OBSERVED: readonly Observation[] = [
  ["GET", "api.pay.example", 443, "/v1/charges/ch_3J9d0abcd?expand=1"],
  ["GET", "api.pay.example", 443, "/v1/charges"],
  ["POST", "api.pay.example", 443, "/v1/charges"],
  ["GET", "api.pay.example", 443, "/v1/customers/17/cards"],
  ["DELETE", "api.pay.example", 8443, "/v2/keys/0123456789abcdef"],
  ["GET", "files.example", 80, "/public/a.css"],
  ["PUT", "files.example", 81, "/upload"],
  ["GET", "twin.example", 80, "/public/a.css"],
  ["POST", "lambda.example", 443, "/2015-03-31/functions/orders/invocations"],
  ["GET", "2001:db8::7", 80, "/"],
  tunnel("db.example", 5432),
  tunnel("s3.example", 443),
  tunnel("kms.example", 443),
];

describe("the learned policy", () => {
  test("admits every call that was observed", async () => {
    const { code, out, err } = await suggest(OBSERVED.map((one) => line(one)));
    expect({ code, err }).toEqual({ code: 0, err: "" });
    const allowed = allowedBy(out);
    expect(OBSERVED.filter((one) => !allowed(one))).toEqual([]);
  });

  test("denies every call that differs in its method, host or port", async () => {
    const { out } = await suggest(OBSERVED.map((one) => line(one)));
    const allowed = allowedBy(out);
    const seen = new Set(
      OBSERVED.map(([method, host, port, path]) => `${method} ${host}:${port}${path.split("?")[0]}`),
    );
    const all = OBSERVED.flatMap(([, , , path]) =>
      ["GET", "PUT", "POST", "DELETE", "CONNECT"].flatMap((method) =>
        [
          "api.pay.example",
          "files.example",
          "twin.example",
          "db.example",
          "s3.example",
          "pay.example",
        ].flatMap((host) =>
          [80, 81, 443, 5432, 8443].map(
            (port): Observation => (method === "CONNECT" ? tunnel(host, port) : [method, host, port, path]),
          ),
        ),
      ),
    );
    const other = all.filter(([method, host, port, path]) => {
      // A path below an allowed one is allowed: rules have prefixes.
      const segments = path.split("?")[0]!.split("/");
      const above = segments.map((_, i) => segments.slice(0, i + 1).join("/") || "/");
      return method === "CONNECT"
        ? !seen.has(`CONNECT ${host}:${port}${host}:${port}`)
        : !above.some((prefix) => seen.has(`${method} ${host}:${port}${prefix}`));
    });
    expect(other.length).toBeGreaterThan(100);
    const templates = ["/v1/customers", "/v2/keys"];
    expect(
      other.filter((one) => allowed(one) && !templates.some((prefix) => one[3].startsWith(prefix))),
    ).toEqual([]);
    expect(allowed(["GET", "api.pay.example", 443, "/v1/charges/../keys"])).toBe(false);
    expect(allowed(["GET", "api.pay.example", 443, "/v1/chargesx"])).toBe(false);
    expect(allowed(["PUT", "api.pay.example", 443, "/v1/customers/17"])).toBe(false);
  });

  test("is the smallest: what differs in nothing but host or port shares a rule", async () => {
    const { out } = await suggest([
      ...["a.example", "b.example"].map((host) => line(tunnel(host, 443))),
      ...[80, 8080].map((port) => line(["GET", "c.example", port, "/x"])),
    ]);
    const { rules } = compileOrThrow(out, "learned.yaml").config.acl;
    const rule = { action: "allow", identities: [] };
    expect(rules).toHaveLength(2);
    expect(rules).toContainEqual({
      ...rule,
      name: "c-example",
      hosts: ["c.example"],
      ports: [80, 8080],
      methods: ["GET"],
      paths: ["/x"],
    });
    expect(rules).toContainEqual({
      ...rule,
      name: "tunnels-443",
      hosts: ["a.example", "b.example"],
      ports: [443],
      methods: ["CONNECT"],
      paths: [],
    });
  });

  test("is the same whatever the order of the lines", async () => {
    const lines = OBSERVED.map((one) => line(one));
    const rulesOf = (text: string) =>
      new Set(
        compileOrThrow(text, "x").config.acl.rules.map((rule) => JSON.stringify({ ...rule, name: "" })),
      );
    const [forth, back] = await Promise.all([suggest(lines), suggest(lines.toReversed())]);
    expect(rulesOf(back.out)).toEqual(rulesOf(forth.out));
  });

  test.each([
    [[], "report"],
    [["--mode", "enforce"], "enforce"],
  ])("with %j has mode: %s", async (argv, mode) => {
    const { out } = await suggest([line(tunnel("a.example", 443))], ...argv);
    expect(compileOrThrow(out, "x").config.acl).toMatchObject({ default: "deny", mode });
  });

  test("lists the hosts by when they were first seen, and the paths as they were called", async () => {
    const at = (minute: string) => ({ time: `2026-11-25T08:${minute}:00.000Z` });
    const { out } = await suggest([
      line(["GET", "late.example", 80, "/users/17/cards"], at("30")),
      line(["GET", "late.example", 80, "/users/18"], at("20")),
      line(tunnel("early.example", 443), at("10")),
    ]);
    expect(out.split("\n").filter((text) => text.startsWith("#   "))).toEqual([
      "#   2026-11-25T08:10:00.000Z  early.example:443  1 call",
      "#   2026-11-25T08:20:00.000Z  late.example:80  2 calls",
    ]);
    expect(out).toContain('- "/users" # /users/{id}/cards  /users/{id}\n');
  });
});

describe("what a line has to be", () => {
  const seen = (text: string) => observedCall(text)?.host ?? null;
  const good = line(tunnel("a.example", 443));

  test.each([
    ["bare", good],
    ["behind a time", `2026-11-25T08:00:00Z\tINFO\t${good}`],
    ["in a text of a platform's line", JSON.stringify({ message: good, level: "INFO" })],
    ["in an object of a platform's line", `{"type":"extension","record":${good}}`],
  ])("%s: read", (_, text) => {
    expect(seen(text)).toBe("a.example");
  });

  test.each([
    ["a summary", good.replace('"call"', '"summary"')],
    ["no JSON", "GET / 200"],
    ["half a line", good.slice(0, 40)],
    ["no object", "[1]"],
    ["a host that two programs read differently", line(tunnel("0x7f.1", 443))],
    ["a host with a quote", line(tunnel('a"b', 443))],
    ["a port that is none", line(["GET", "a.example", 0, "/"])],
    ["a method with a line end", line(["GET\n- x", "a.example", 80, "/"])],
    ["a target that was refused as none", line(tunnel("a.example", 443), { error: "BAD_TARGET" })],
    ["an address that is guarded", line(tunnel("a.example", 443), { error: "ADDRESS_DENIED" })],
  ])("%s: passed over", (_, text) => {
    expect(seen(text)).toBeNull();
  });

  test("nothing that a path says gets out of its place", async () => {
    const evil = [
      "/a\n    - name: x\n      action: allow",
      '/b"]',
      "/c # x",
      "/d\u2028e",
      "/__proto__",
      "/ok/\u0000",
    ];
    const { out } = await suggest(evil.map((path) => line(["GET", "a.example", 80, path])));
    const { rules } = compileOrThrow(out, "x").config.acl;
    expect(rules.map(({ name, hosts }) => [name, hosts])).toEqual([["a-example", ["a.example"]]]);
    expect(rules[0]!.paths).toEqual(["/"]);
  });

  test("calls whose path is read in several ways are left out, and counted", async () => {
    const { out, err } = await suggest([
      line(["GET", "a.example", 80, "/v1/x"]),
      line(["GET", "a.example", 80, "/v1/../admin"]),
    ]);
    expect(err).toContain("1 call left out whose path a server may read as another one");
    expect(allowedBy(out)(["GET", "a.example", 80, "/admin"])).toBe(false);
  });

  test("calls that the policy had refused are learned from only when asked for", async () => {
    const lines = [
      line(tunnel("a.example", 443)),
      line(tunnel("b.example", 443), { acl: "denied", error: "DENIED" }),
    ];
    const without = await suggest(lines);
    expect(without.err).toContain(
      "1 call that the policy had refused left out; --denied learns from them too",
    );
    expect(without.out).not.toContain("b.example");
    const withDenied = await suggest(lines, "--denied");
    expect(withDenied.out).toContain("b.example");
    const noted = await suggest([line(tunnel("c.example", 443), { acl: "would_deny" })]);
    expect(noted.out).toContain("c.example");
  });
});

describe("with a policy that is there", () => {
  const policyFor = (identities: string): string => `version: 1
destinations: [{ name: files, hosts: [files.example] }]
acl:
  default: deny
  rules:
    - name: api-pay-example
      action: allow
      hosts: [api.pay.example]
      ports: [443]
      methods: [GET]
      paths: [/v1]
      identities: ${identities}
`;
  writeFileSync(join(cwd, "policy.yaml"), policyFor("[]"));
  writeFileSync(join(cwd, "orders.yaml"), policyFor('["orders-*"]'));
  const all = OBSERVED.map((one) => line(one));

  test("only what it does not allow is shown, to be added to its rules", async () => {
    const { code, out } = await suggest(all, "--policy", "policy.yaml");
    expect(code).toBe(0);
    expect(out).toMatch(/^# Missing in "policy\.yaml": 8 calls /);
    expect(out).not.toContain("files.example");
    const allowed = allowedBy(policyFor("[]") + out.slice(out.indexOf("    - name")));
    expect(OBSERVED.filter((one) => !allowed(one))).toEqual([]);
  });

  test("it is judged as the function that is named, and names that it has are not used again", async () => {
    const missingFor = async (identity: string) =>
      (await suggest([line(OBSERVED[0]!)], "--policy", "orders.yaml", "--identity", identity)).out;
    expect(await missingFor("orders-api")).toBe("# Nothing is missing.\n");
    expect(await missingFor("other")).toContain("- name: api-pay-example-2\n");
  });

  test("nothing is missing where it allows everything", async () => {
    const { code, out } = await suggest([line(["GET", "files.example", 80, "/"])], "--policy", "policy.yaml");
    expect({ code, out }).toEqual({ code: 0, out: "# Nothing is missing.\n" });
  });
});

describe("a path", () => {
  test.each([
    ["/", "/", "/"],
    ["/?a=1", "/", "/"],
    ["/v1/users", "/v1/users", "/v1/users"],
    ["/v1/users/", "/v1/users/", "/v1/users/"],
    ["/v1/users/17", "/v1/users", "/v1/users/{id}"],
    ["/v1/users/17/cards?x", "/v1/users", "/v1/users/{id}/cards"],
    ["/o/6f9619ff-8b86-d011-b42d-00c04fc964ff", "/o", "/o/{id}"],
    ["/o/deadbeef", "/o/deadbeef", "/o/deadbeef"],
    ["/o/deadbee1", "/o", "/o/{id}"],
    ["/o/2026-11-25/x", "/o", "/o/{id}/x"],
    ["/2/tweets/99", "/2/tweets", "/2/tweets/{id}"],
    ["/2015-03-31/functions", "/2015-03-31/functions", "/2015-03-31/functions"],
    ["/c/cus_9s6XKzkNRiz8i3", "/c", "/c/{id}"],
    ["/c/i-0abc1234", "/c", "/c/{id}"],
    ["/c/AbCdEfGhIjKlMnOpQrS1", "/c", "/c/{id}"],
    ["/c/create-payment-intent", "/c/create-payment-intent", "/c/create-payment-intent"],
    ["/u/a%40b.example", "/u", "/u/{id}"],
    ["/u/a@b.example/x", "/u", "/u/{id}/x"],
    ["/t/REDACTED/x", "/t", "/t/{id}/x"],
    ["/long/name-that-was-cu...", "/long", "/long/{id}"],
    ["/a/../b", "/a", "/a/{id}/b"],
    ["//a", "/", "/{id}/a"],
    [
      "/.well-known/openid-configuration",
      "/.well-known/openid-configuration",
      "/.well-known/openid-configuration",
    ],
  ])("%s is allowed as %s", (path, prefix, template) => {
    expect(pathTemplate(path)).toEqual({ prefix, template });
  });
});

describe("the bounds", () => {
  const seen = ([method, host, port, path]: Observation) => observedCall(line([method, host, port, path]))!;

  test("too many paths below one are taken for identifiers", () => {
    const list = new AllowList();
    for (let i = 0; i <= CHILDREN_MAX; i++)
      list.add(seen(["GET", "a.example", 80, `/users/name-${"x".repeat(i)}`]));
    list.add(seen(["POST", "a.example", 80, "/other/x"]));
    expect(list.rules().map(({ methods, paths }) => [methods, paths])).toEqual([
      [["GET"], ["/users"]],
      [["POST"], ["/other/x"]],
    ]);
  });

  test("endless paths end in the whole target, and stay few on the way", () => {
    const list = new AllowList();
    for (let i = 0; i < 5000; i++) {
      const name = i.toString(26).replace(/[0-9]/g, (digit) => "qrstuvwxyz"[Number(digit)]!);
      list.add(seen(["GET", "a.example", 80, `/${[...name].join("/")}`]));
    }
    const rules = list.rules();
    expect(rules.reduce((sum, { paths }) => sum + paths.length, 0)).toBeLessThan(100);
  });

  test("targets beyond the bound are counted", () => {
    const list = new AllowList();
    for (let i = 0; i < TARGETS_MAX + 5; i++) list.add(seen(tunnel(`h${i}.example`, 443)));
    expect(list.targets).toHaveLength(TARGETS_MAX);
    expect(list.leftOut).toBe(5);
    // One rule takes 256 hosts.
    expect(list.rules().map(({ hosts }) => hosts.length)).toEqual([256, 256, 256, 232]);
  });

  test("a line without end is passed over, and the next one read", async () => {
    const endless = `{"x":"${"x".repeat(600_000)}${line(tunnel("hidden.example", 443))}`;
    const { out } = await suggest([endless, line(tunnel("a.example", 443))]);
    expect(out).toContain("a.example");
    expect(out).not.toContain("hidden.example");
  });
});

describe("the command", () => {
  test("reads its standard input when no file is named", async () => {
    const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
    const child = spawn(process.execPath, [main, "suggest"], { stdio: ["pipe", "pipe", "inherit"] });
    let out = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
    child.stdin.end(`${line(tunnel("a.example", 443))}\n${line(tunnel("b.example", 443))}`);
    expect(await once(child, "close")).toEqual([0, null]);
    expect(allowedBy(out)(tunnel("b.example", 443))).toBe(true);
  });

  test.each([
    [["suggest", "missing"], 1, /^outrider: missing: cannot be read: ENOENT\n$/],
    [["suggest", "empty"], 1, /^outrider: no line of empty tells of a call; /],
    [["suggest", "empty", "--mode", "strict"], 2, /--mode strict: write observe, report or enforce/],
    [["suggest", "empty", "--policy", "p", "--mode", "report"], 2, /--mode is for a new policy/],
    [["suggest", "empty", "--polcy", "p"], 2, /Unknown option '--polcy'/],
  ])("%j ends with %i and says why", async (argv, code, said) => {
    writeFileSync(join(cwd, "empty"), "nothing\n");
    const ran = await outrider(argv, { cwd });
    expect(ran.code).toBe(code);
    expect(ran.err).toMatch(said);
  });
});
