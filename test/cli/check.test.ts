/** `outrider check`. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { compiledText, compileOrThrow } from "../../src/config/compile.ts";
import { outrider } from "./terminal.ts";

const cwd = mkdtempSync(join(tmpdir(), "outrider-check-"));
afterAll(() => rmSync(cwd, { recursive: true, force: true }));

const POLICY = `version: 1
acl: { default: deny, mode: report }
listen: { unsafe_bind: "::1", port: 9 }
destinations:
  - name: payments
    hosts: [a.example, b.example, c.example, d.example, e.example, f.example]
    ports: [80, 8443]
    tls: { client_cert: file:/nowhere/pay.pem }
    timeout: 8s
    per_try_timeout: 2s
    retry: { max_retries: 1 }
    limits: { rate: 600/m, max_concurrency: 20 }
    routes: [{ match: { path: /v1 }, timeout: 3s }]
  - { name: up, hosts: [up.example], local_port: 9001, upstream: { host: "::2" }, tls: { originate: true } }
  - { name: old, hosts: [old.example], access: deny }
  - { name: plain, hosts: ["*.plain.example"] }
  - { name: seen, hosts: [seen.example], tls: { intercept: true }, http_version: http1 }
  - { name: ours, hosts: [ours.example], tls: { intercept: true, originate: false, client_cert: file:/nowhere/o.pem } }
  - { name: db, hosts: [db.example], protocol: tcp, local_port: 9002, ports: [5432], tls: { originate: true } }
`;

const put = (name: string, content: string | Uint8Array) => writeFileSync(join(cwd, name), content);

test("says what each destination does, and warns of certificates that are not here", async () => {
  put("policy.yaml", POLICY);
  const { code, out, err } = await outrider(["check", "policy.yaml"], { cwd });
  expect(code).toBe(0);
  expect(out.replace(/version [0-9a-f]{12}/, "version VERSION")).toBe(
    `policy.yaml: valid, version VERSION, listens on [::1]:9
  payments  a.example, b.example, c.example, d.example and 2 more (port 80, 8443): mTLS; timeout 8s; 2s per try; 1 retry on connect_failure, reset_before_response, refused_stream, 502-504, grpc_unavailable; at most 10/s; at most 20 at once; 1 route
  up        up.example: local port 9001; to [::2]:443; TLS
  old       old.example: denied
  plain     *.plain.example: no policy of its own
  seen      seen.example: opens TLS; HTTP/1.1
  ours      ours.example: opens TLS, shows a client certificate
  db        db.example (port 5432): TCP on local port 9002; to db.example:5432; TLS
  default   every other host: denied (mode report)
hint: calls to payments that are https already pass as tunnels that are not looked into: routes, retries on statuses, per_try_timeout, tls and what changes or answers calls have no effect on them; tls: { intercept: true } opens them
hint: TLS to seen, ours is opened: the application has to trust the CA that each sandbox makes, and a client that pins certificates refuses
`,
  );
  expect(err).toBe(
    "policy.yaml: payments: tls.client_cert: warning: file:/nowhere/pay.pem does not exist on this machine\npolicy.yaml: ours: tls.client_cert: warning: file:/nowhere/o.pem does not exist on this machine\n",
  );
});

test("a policy that surprises nobody gets no hint", async () => {
  put("plain.yaml", "version: 1\ndestinations: [{ name: a, hosts: [a.example], timeout: 8s }]\n");
  expect((await outrider(["check", "plain.yaml"], { cwd })).out).not.toContain("hint:");
});

test("checks a compiled policy too", async () => {
  put("policy.json", compiledText(compileOrThrow(POLICY, "policy.yaml").config));
  put("policy.yaml", POLICY);
  const source = await outrider(["check", "policy.yaml"], { cwd });
  const compiled = await outrider(["check", "policy.json"], { cwd });
  expect(compiled.out.replace("policy.json", "policy.yaml")).toBe(source.out);
});

test("finds the policy by OUTRIDER_CONFIG, else by its usual names", async () => {
  put("named.yaml", "version: 1");
  put("outrider.yml", "version: 1");
  expect((await outrider(["check"], { cwd, env: { OUTRIDER_CONFIG: "named.yaml" } })).out).toMatch(
    /^named\.yaml: valid/,
  );
  expect((await outrider(["check"], { cwd })).out).toMatch(/^outrider\.yml: valid/);
});

test("colours names only where colour is welcome", async () => {
  put("policy.yaml", POLICY);
  expect((await outrider(["check", "policy.yaml"], { cwd, colour: true })).out).toContain("\u001b[1mold");
  expect((await outrider(["check", "policy.yaml"], { cwd })).out).not.toContain("\u001b");
});

describe("a policy that cannot be used ends with code 1 and lines that name the file", () => {
  mkdirSync(join(cwd, "folder"));
  put("empty.yaml", "");
  put("broken.yaml", "version: 1\ndestinations: [");
  put("nul.yaml", "version: 1\0");
  put("large.yaml", `version: 1\n${"#".repeat(1024 * 1024)}`);
  put("binary.yaml", Uint8Array.of(0xff, 0xfe, 0x00));
  put("text.yaml", "just a sentence");
  put("stale.json", '{"format":0}');

  test.each([
    [
      "absent.yaml",
      "absent.yaml: there is no such file; name the policy with --config FILE or OUTRIDER_CONFIG\n",
    ],
    ["folder", "folder: is a directory; name the policy file in it\n"],
    ["empty.yaml", "empty.yaml:1:1: the file is empty; a policy begins with version: 1\n"],
    ["nul.yaml", "nul.yaml:1:11: the control character 0x00 has no place in YAML or JSON\n"],
    ["large.yaml", "large.yaml: larger than 1 MiB (1048576 bytes); split the policy by function\n"],
    ["binary.yaml", "binary.yaml: is no UTF-8 text, so it is no policy; write it in YAML or JSON\n"],
    ["text.yaml", 'text.yaml:1:1: the policy must be a mapping of keys to values, not "just a sentence"\n'],
    [
      "stale.json",
      "stale.json: was compiled by another version of Outrider (format 0, this one reads 3); compile the policy again\n",
    ],
  ])("%s", async (name, message) => {
    expect(await outrider(["check", name], { cwd })).toEqual({ code: 1, out: "", err: message });
  });

  test("broken.yaml", async () => {
    const { code, out, err } = await outrider(["check", "broken.yaml"], { cwd });
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(err).toMatch(/^broken\.yaml:2:16: not valid YAML: .*\n$/);
  });
});
