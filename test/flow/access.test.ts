/** The rules of the acl on the wire: what they refuse reaches nobody, and what cannot be seen in a tunnel is not guessed. */
import { readFileSync } from "node:fs";
import { connect as tlsConnect } from "node:tls";
import { describe, expect, test } from "vitest";
import { compile } from "../../src/config/compile.ts";
import type { PolicyFile } from "../../src/config/schema.ts";
import { certificate, certificateFile } from "../kit/certificates.ts";
import { field } from "../kit/message.ts";
import { type Origin, ok, scriptedOrigin, step } from "../kit/origin.ts";
import { get, post, startProxy, type TestProxy } from "../kit/proxy.ts";
import { Client } from "../kit/raw-client.ts";

type Policy = Omit<PolicyFile, "version">;

/** Denied unless a rule allows it. */
const denying = (rules: NonNullable<PolicyFile["acl"]>["rules"], more: Policy = {}): Policy => ({
  ...more,
  acl: { default: "deny", rules },
});

const connectTo = (authority: string): string =>
  `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`;
const inside = (authority: string, path: string): string =>
  `GET ${path} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`;

/** What the proxy answered, as status and code. */
const verdict = (response: Awaited<ReturnType<TestProxy["ask"]>>) => [
  response.status,
  field(response, "outrider-error"),
];
const DENIED = [403, "DENIED"];

const requestsOf = (origin: Origin) => origin.requests.map(({ startLine }) => startLine);

describe("a call in clear text", () => {
  const charges = denying([
    { name: "charges", action: "allow", hosts: ["127.0.0.1"], methods: ["GET"], paths: ["/v1/charges"] },
  ]);

  test("passes where method and path are allowed, and reaches nobody elsewhere", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy({ policy: charges });
    expect((await proxy.get(origin, "/v1/charges/7?x=1")).status).toBe(200);
    for (const refused of [
      get(origin, "/v1/keys"),
      get(origin, "/v1/charges/%2e%2e/keys"),
      get(origin, "/v1/charges/..;/keys"),
      post(origin, "x", "", "/v1/charges"),
    ]) {
      expect(verdict(await proxy.ask(refused))).toEqual(DENIED);
    }
    expect(requestsOf(origin)).toEqual(["GET /v1/charges/7?x=1 HTTP/1.1"]);
    expect(origin.connections).toHaveLength(1);
  });

  test("is not told which rule refused it", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy({
      policy: { acl: { rules: [{ name: "no-secret-name", action: "deny" }] } },
    });
    const response = await proxy.get(origin);
    expect(verdict(response)).toEqual(DENIED);
    expect(`${response.head}${response.body}`).not.toContain("no-secret-name");
  });

  test("keeps its connection when it is refused", async () => {
    await using origin = await scriptedOrigin([ok("fine")]);
    await using proxy = await startProxy({ policy: charges });
    using client = await proxy.client();
    expect(verdict(await client.ask(get(origin, "/no")))).toEqual(DENIED);
    expect((await client.ask(get(origin, "/v1/charges"))).body.toString()).toBe("fine");
  });

  test("comes before the word of its destination", async () => {
    await using origin = await scriptedOrigin([ok("open")]);
    await using proxy = await startProxy({
      policy: {
        acl: { rules: [{ name: "health", action: "allow", paths: ["/health"] }] },
        destinations: [{ name: "closed", hosts: ["127.0.0.1"], access: "deny" }],
      },
    });
    expect((await proxy.get(origin, "/health")).body.toString()).toBe("open");
    expect(verdict(await proxy.get(origin, "/other"))).toEqual(DENIED);
  });

  test.each(["report", "observe"] as const)("passes under acl.mode: %s", async (mode) => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy({
      policy: { acl: { mode, rules: [{ name: "nothing", action: "deny" }] } },
    });
    expect((await proxy.get(origin)).status).toBe(200);
    const { wouldDeny, denied } = proxy.proxy.telemetry.metrics().destinations[0]!;
    expect([denied, wouldDeny]).toEqual([0, mode === "report" ? 1 : 0]);
  });

  test("cannot be allowed to go where the guard on addresses forbids", async () => {
    await using proxy = await startProxy({
      policy: denying([{ name: "all", action: "allow" }]),
      lookup: async () => [{ address: "169.254.169.254", family: 4 }],
    });
    const response = await proxy.ask("GET http://innocent.test/ HTTP/1.1\r\nHost: innocent.test\r\n\r\n");
    expect(verdict(response)).toEqual([403, "ADDRESS_DENIED"]);
  });
});

describe("a tunnel that is not looked into", () => {
  const echo = step(async ({ peer }) => {
    peer.socket.pipe(peer.socket);
    return false;
  }, "connect");

  test("passes by a rule of host and port", async () => {
    await using origin = await scriptedOrigin([echo]);
    await using proxy = await startProxy({
      policy: denying([
        { name: "no-admin", action: "deny", paths: ["/admin"] },
        { name: "db", action: "allow", hosts: ["127.0.0.1"], ports: [origin.port] },
      ]),
    });
    using client = await proxy.client();
    expect((await client.ask(connectTo(origin.authority))).status).toBe(200);
    await client.write("\0raw");
    expect((await client.take(4)).toString()).toBe("\0raw");
  });

  test("to port 443 is refused where only methods and paths are allowed", async () => {
    await using proxy = await startProxy({
      policy: denying([
        { name: "some", action: "allow", hosts: ["a.test"], methods: ["GET"], paths: ["/v1"] },
      ]),
      lookup: () => Promise.reject(new Error("never asked")),
    });
    expect(verdict(await proxy.ask(connectTo("a.test:443")))).toEqual(DENIED);
  });

  test("that was promised, to see what it holds, is broken off when it holds no HTTP", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy({
      policy: denying([{ name: "some", action: "allow", methods: ["GET"], paths: ["/v1"] }]),
    });
    using client = await proxy.client();
    expect((await client.ask(connectTo(origin.authority))).status).toBe(200);
    await client.write("\0raw");
    expect(await client.gone()).toBe("reset");
    expect(origin.connections).toHaveLength(0);
  });

  test("that was promised and holds HTTP is judged request by request", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy({
      policy: denying([{ name: "some", action: "allow", methods: ["GET"], paths: ["/v1"] }]),
    });
    using client = await proxy.client();
    expect((await client.ask(connectTo(origin.authority))).status).toBe(200);
    expect((await client.ask(inside(origin.authority, "/v1/x"))).status).toBe(200);
    expect(verdict(await client.ask(inside(origin.authority, "/v2")))).toEqual(DENIED);
    expect(requestsOf(origin)).toEqual(["GET /v1/x HTTP/1.1"]);
  });

  test("is refused at once when no rule can allow what it may hold", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy({
      policy: denying([{ name: "elsewhere", action: "allow", hosts: ["other.test"] }]),
    });
    expect(verdict(await proxy.ask(connectTo(origin.authority)))).toEqual(DENIED);
  });

  test("may be all that is allowed", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy({
      policy: denying([{ name: "tunnels", action: "allow", methods: ["CONNECT"] }]),
    });
    expect(verdict(await proxy.get(origin))).toEqual(DENIED);
    using client = await proxy.client();
    expect((await client.ask(connectTo(origin.authority))).status).toBe(200);
    expect(verdict(await client.ask(inside(origin.authority, "/")))).toEqual(DENIED);
    expect(origin.connections).toHaveLength(0);
  });
});

test("in TLS that is opened every request is judged by its method and path", async () => {
  await using origin = await scriptedOrigin([ok("seen")], { tls: certificate("server") });
  await using proxy = await startProxy({
    policy: denying(
      [{ name: "v1", action: "allow", hosts: ["api.test"], methods: ["GET"], paths: ["/v1"] }],
      {
        destinations: [
          {
            name: "api",
            hosts: ["api.test"],
            access: "deny",
            tls: { intercept: true, originate: false, ca: certificateFile("ca") },
          },
        ],
      },
    ),
    lookup: async () => [{ address: "127.0.0.1", family: 4 }],
  });
  const authority = `api.test:${origin.port}`;
  using tunnel = await proxy.client();
  expect((await tunnel.ask(connectTo(authority))).status).toBe(200);
  const socket = tlsConnect({
    socket: tunnel.socket,
    servername: "api.test",
    ca: proxy.authority!.certificatePem,
  });
  using client = new Client(socket);
  expect((await client.ask(inside(authority, "/v1"))).body.toString()).toBe("seen");
  expect(verdict(await client.ask(inside(authority, "/v2")))).toEqual(DENIED);
  expect(requestsOf(origin)).toEqual(["GET /v1 HTTP/1.1"]);
});

test("every policy that docs/access.md shows can be used", () => {
  const page = readFileSync("docs/access.md", "utf8");
  const policies = [...page.matchAll(/```yaml\n(version: 1\n[\s\S]*?)```/g)].map(([, text]) => text!);
  expect(policies).toHaveLength(2);
  for (const text of policies) expect(compile(text, "docs/access.md")).toMatchObject({ ok: true });
});
