/** `outrider explain`: the same answers as the data path, in words. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { compiledText, compileOrThrow } from "../../src/config/compile.ts";
import { outrider } from "./terminal.ts";

const cwd = mkdtempSync(join(tmpdir(), "outrider-explain-"));
afterAll(() => rmSync(cwd, { recursive: true, force: true }));

const POLICY = `version: 1
on_proxy_failure: closed
acl: { default: deny, mode: enforce, allow_addresses: ["127.0.0.1:8080"] }
telemetry: { propagate: [xray] }
defaults: { timeout: 9s }
destinations:
  - name: pay
    hosts: [api.pay.example, "*.pay.example"]
    tls: { client_cert: file:/certs/pay.pem }
    retry: { max_retries: 2, on: [429, "502-504"] }
    routes:
      - match: { path: /v1/charges, methods: [POST] }
        retry: { max_retries: 0 }
  - { name: old, hosts: [old.example], access: deny }
  - { name: local, hosts: [up.example], local_port: 9001, upstream: { host: 10.0.0.9, port: 8443 } }
  - { name: loopback, hosts: ["127.0.0.1"] }
  - name: seen
    hosts: [seen.example]
    http_version: http2
    tls: { intercept: true, client_cert: file:/certs/seen.pem }
    routes: [{ match: { path: /v1, methods: [POST] }, timeout: 3s }]
  - { name: plain-seen, hosts: [half.example], tls: { intercept: true } }
  - { name: db, hosts: [db.example], protocol: tcp, local_port: 15432, ports: [5432], tls: { originate: true } }
  - { name: cache, hosts: [10.0.0.7], protocol: tcp, local_port: 16379, upstream: { host: 10.0.0.7, port: 6379 } }
`;
writeFileSync(join(cwd, "outrider.yaml"), POLICY);
writeFileSync(join(cwd, "report.yaml"), POLICY.replace("mode: enforce", "mode: report"));
writeFileSync(join(cwd, "compiled.json"), compiledText(compileOrThrow(POLICY, "p").config));

/** The facts and values that are printed, by their label. */
async function explained(...argv: string[]): Promise<Map<string, string>> {
  const { code, out, err } = await outrider(["explain", ...argv], { cwd });
  expect({ code, err }).toEqual({ code: 0, err: "" });
  const lines = out.split("\n").slice(2);
  return new Map(
    lines.flatMap((line) => (/^ *([a-z_. ]*?[a-z]) {2,}(.*)$/.exec(line) ? [[RegExp.$1, RegExp.$2]] : [])),
  );
}

describe("a call", () => {
  test("is shown with its destination, its route and its way", async () => {
    const facts = await explained("http://API.pay.example/v1/charges/7?x=1", "-X", "POST");
    expect(Object.fromEntries(facts)).toMatchObject({
      policy: expect.stringMatching(/^outrider\.yaml, version [0-9a-f]{12}$/),
      destination: "pay",
      route: "routes[0] (POST /v1/charges)",
      access: "allowed by destinations.pay.access: allow",
      "goes to": expect.stringMatching(
        /^api\.pay\.example:443 over TLS with the client certificate file:\/certs\/pay\.pem; /,
      ),
    });
  });

  test("is shown with every value and the level it comes from", async () => {
    const values = await explained("http://x.pay.example/v1/charges", "--request", "POST");
    expect(values.get("timeout")).toMatch(/^defaults +9s$/);
    expect(values.get("retry.max_retries")).toMatch(/^route +0$/);
    expect(values.get("retry.on")).toMatch(/^destination +429, 502-504$/);
    expect(values.get("retry.backoff.base")).toMatch(/^built-in +50ms$/);
    expect(values.get("propagate")).toMatch(/^telemetry +xray$/);
  });

  test("to another port than 80 is wrapped in TLS there", async () => {
    expect((await explained("http://api.pay.example:8443/")).get("goes to")).toMatch(
      /^api\.pay\.example:8443 over TLS /,
    );
  });

  test("of another method belongs to no route", async () => {
    const facts = await explained("http://api.pay.example/v1/charges");
    expect(facts.get("route")).toBe("none matches");
    expect(facts.get("retry.max_retries")).toMatch(/^destination +2$/);
  });

  test.each([
    ["http://other.example/", "default", "refused by acl.default: deny (acl.mode: enforce)"],
    ["http://pay.example/", "default", "refused by acl.default: deny (acl.mode: enforce)"],
    ["http://old.example/", "old", "refused by destinations.old.access: deny (acl.mode: enforce)"],
    [
      "http://user:secret@old.example:80/",
      "old",
      "refused by destinations.old.access: deny (acl.mode: enforce)",
    ],
    ["http://127.1/", "default", "refused: 127.1 can be read as another address than it shows"],
  ])("to %s belongs to %s and is %s", async (url, destination, access) => {
    const facts = await explained(url);
    expect(facts.get("destination")).toBe(destination);
    expect(facts.get("access")).toBe(access);
  });

  test("that is only reported says so", async () => {
    const facts = await explained("http://old.example/", "--config", "report.yaml");
    expect(facts.get("access")).toBe(
      "passes, noted as refused by destinations.old.access: deny (acl.mode: report)",
    );
  });

  test("over https is shown as the tunnel that it is", async () => {
    const facts = await explained("https://api.pay.example/v1/charges", "-X", "POST");
    expect(facts.get("route")).toBe("none matches");
    expect(facts.get("goes to")).toMatch(/^api\.pay\.example:443; /);
    expect(facts.get("note")).toContain("passes as a tunnel");
  });

  test("says which HTTP is spoken to the upstream", async () => {
    expect((await explained("http://api.pay.example/")).get("speaks")).toMatch(/^HTTP\/1\.1 or HTTP\/2, as /);
    expect((await explained("http://seen.example/")).get("speaks")).toBe(
      "HTTP/2, whatever the application speaks",
    );
    expect((await explained("https://api.pay.example/")).has("speaks")).toBe(false);
  });

  test("over https that is opened is shown like a plain one, with its route and its certificate", async () => {
    const facts = await explained("https://seen.example/v1/x", "-X", "POST");
    expect(facts.get("route")).toBe("routes[0] (POST /v1)");
    expect(facts.get("timeout")).toMatch(/^route +3s$/);
    expect(facts.get("goes to")).toMatch(
      /^seen\.example:443 over TLS with the client certificate file:\/certs\/seen\.pem; /,
    );
    expect(facts.get("note")).toMatch(/^https: the TLS is opened .* does not trust the CA refuses$/);
  });

  test("over https that is opened keeps its port", async () => {
    expect((await explained("https://half.example:80/")).get("goes to")).toMatch(
      /^half\.example:80 over TLS; /,
    );
  });

  test("in plain HTTP to a destination that only opens TLS stays plain", async () => {
    const facts = await explained("http://half.example/");
    expect(facts.get("goes to")).toMatch(/^half\.example:80, plain; /);
    expect(facts.has("note")).toBe(false);
  });

  test.each([
    [
      "tcp://localhost:15432",
      "db",
      "db.example:5432 over TLS; its addresses are judged when they are dialled",
    ],
    ["tcp://127.0.0.1:16379", "cache", "10.0.0.7:6379, plain; the address is allowed"],
    [
      "http://localhost:15432/",
      "db",
      "db.example:5432 over TLS; its addresses are judged when they are dialled",
    ],
  ])("to %s passes unread to %s", async (url, name, target) => {
    const facts = await explained(url);
    expect(facts.get("destination")).toMatch(new RegExp(`^${name} \\(by its local port`));
    expect(facts.get("goes to")).toBe(target);
    expect(facts.get("note")).toMatch(/^protocol: tcp: bytes pass unread; /);
    expect(facts.has("speaks")).toBe(false);
  });

  test("to a tcp port that no destination has is shown as the tunnel that it could only be", async () => {
    const facts = await explained("tcp://other.example:5432");
    expect(facts.get("note")).toContain("no destination with protocol: tcp has this local_port");
    expect((await explained("tcp://localhost:9001")).get("note")).toContain(
      "no destination with protocol: tcp",
    );
  });

  test("to a local port belongs to its destination", async () => {
    for (const host of ["127.0.0.1", "localhost"]) {
      const facts = await explained(`http://${host}:9001/x`);
      expect(facts.get("destination")).toBe("local (by its local port 9001)");
      expect(facts.get("goes to")).toBe("10.0.0.9:8443, plain; the address is allowed");
    }
  });

  test.each([
    ["http://127.0.0.1:8080/", "127.0.0.1:8080, plain; the address is allowed"],
    [
      "http://127.0.0.1:8081/",
      "127.0.0.1:8081, plain; the address is refused by address.loopback (see allow_addresses)",
    ],
    [
      "http://127.0.0.1:4140/",
      "127.0.0.1:4140, plain; the address is refused by address.own_port (see allow_addresses)",
    ],
    [
      "http://169.254.169.254/latest/",
      "169.254.169.254:80, plain; the address is refused by address.metadata (see allow_addresses)",
    ],
    ["http://[::1]/", "[::1]:80, plain; the address is refused by address.loopback (see allow_addresses)"],
  ])("to the address %s goes to %s", async (url, target) => {
    expect((await explained(url)).get("goes to")).toBe(target);
  });
});

test("a compiled policy explains the values, not where they come from", async () => {
  const values = await explained("http://api.pay.example/", "--config", "compiled.json");
  expect(values.get("destination")).toBe("pay");
  expect(values.get("timeout")).toBe("9s");
  expect(
    (await outrider(["explain", "http://api.pay.example/", "--config", "compiled.json"], { cwd })).out,
  ).toContain("known to its source only");
});

test.each(["api.pay.example", "ftp://api.pay.example/", "http://", "tcp://localhost", "/v1", ""])(
  "%j is no URL of a call",
  async (url) => {
    const { code, out, err } = await outrider(["explain", url], { cwd });
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toContain("is no URL of a call; write one such as https://api.example.com/v1/orders");
  },
);
