/** Real handshakes with servers that are not who they say, through the whole proxy. */
import type { TlsOptions } from "node:tls";
import { describe, expect, test } from "vitest";
import { type CertificateName, certificate, certificateFile } from "../kit/certificates.ts";
import { field } from "../kit/message.ts";
import { type Origin, ok, scriptedOrigin } from "../kit/origin.ts";
import { startProxy, type TestProxy } from "../kit/proxy.ts";

/** A proxy that trusts the tests' authority and finds every name on this machine. */
function trustingProxy(): Promise<TestProxy> {
  return startProxy({
    policy: {
      destinations: [{ name: "anything", hosts: ["*"], tls: { ca: certificateFile("ca") } }],
    },
    lookup: async () => [{ address: "127.0.0.1", family: 4 }],
  });
}

const originWith = (name: CertificateName, options: TlsOptions = {}): Promise<Origin> =>
  scriptedOrigin([ok("secret")], { tls: { ...certificate(name), ...options } });

const getFrom = (host: string, { port }: Origin): string =>
  `GET https://${host}:${port}/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer canary\r\n\r\n`;

describe("S9: a call over TLS succeeds with", () => {
  test.each<[string, CertificateName]>([
    ["api.test", "server"],
    ["127.0.0.1", "server"],
    ["a.wild.test", "server"],
    ["api.test", "rsa-2048"],
  ])("%s and the certificate %s", async (host, name) => {
    await using origin = await originWith(name);
    await using proxy = await trustingProxy();
    const answer = await proxy.ask(getFrom(host, origin));
    expect(answer.body.toString()).toBe("secret");
  });
});

describe("S9: a call over TLS is refused, and not a byte of it sent, with", () => {
  test.each<[string, CertificateName]>([
    ["api.test", "untrusted"],
    ["api.test", "wrong-host"],
    ["api.test", "cn-only"],
    ["api.test", "partial-wildcard"],
    ["api.test", "tld-wildcard"],
    ["a.b.wild.test", "server"],
    ["wild.test", "server"],
    ["127.0.0.1", "wrong-host"],
    ["api.test", "client-usage"],
    ["api.test", "expired"],
    ["api.test", "not-yet-valid"],
    ["api.test", "rsa-1024"],
  ])("%s and the certificate %s", async (host, name) => {
    // An origin has to lower its own guard to serve an RSA key of 1024 bits.
    const weak = name === "rsa-1024" ? { ciphers: "DEFAULT@SECLEVEL=0" } : {};
    await using origin = await originWith(name, weak);
    await using proxy = await trustingProxy();
    const answer = await proxy.ask(getFrom(host, origin));
    expect([answer.status, field(answer, "outrider-error")]).toEqual([502, "CERTIFICATE_REJECTED"]);
    expect(answer.body.toString()).not.toContain("127.0.0.1");
    expect(origin.received).toBe("");
  });
});

test("S9: TLS 1.1 is not spoken", async () => {
  const old = { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" } as const;
  await using origin = await originWith("server", old);
  await using proxy = await trustingProxy();
  const answer = await proxy.ask(getFrom("api.test", origin));
  expect(field(answer, "outrider-error")).toBe("TLS_FAILED");
  expect(origin.received).toBe("");
});

test("S9: a session that was verified under one name is not resumed under another", async () => {
  await using origin = await originWith("server");
  await using proxy = await trustingProxy();
  // TLS 1.2 and 1.3 tickets both come with the first answer.
  expect((await proxy.ask(getFrom("api.test", origin))).status).toBe(200);
  const answer = await proxy.ask(getFrom("other.test", origin));
  expect(field(answer, "outrider-error")).toBe("CERTIFICATE_REJECTED");
  expect(origin.requests).toHaveLength(1);
});

test("S9: connections are not shared between names, nor between identities", async () => {
  await using origin = await originWith("server", {
    requestCert: true,
    ca: certificate("ca").cert,
    rejectUnauthorized: false,
  });
  const upstream = { host: "127.0.0.1", port: origin.port };
  const ca = certificateFile("ca");
  await using proxy = await startProxy({
    policy: {
      destinations: [
        { name: "plain", hosts: ["api.test"], ports: [1001], upstream, tls: { ca } },
        {
          name: "mutual",
          hosts: ["api.test"],
          ports: [1002],
          upstream,
          tls: { ca, client_cert: certificateFile("client") },
        },
        { name: "other-name", hosts: ["a.wild.test"], upstream, tls: { ca } },
      ],
    },
  });
  const targets = ["api.test:1001", "api.test:1002", "a.wild.test:1001", "api.test:1001"];
  for (const target of targets) {
    const answer = await proxy.ask(`GET http://${target}/ HTTP/1.1\r\nHost: x\r\n\r\n`);
    expect(answer.status).toBe(200);
  }
  // The last call finds the first one's connection; no other pair shares one.
  expect(origin.requests.map(({ connection }) => connection)).toEqual([1, 2, 3, 1]);
});

test("S9: verification cannot be turned off by the environment", async () => {
  await using origin = await originWith("untrusted");
  await using proxy = await trustingProxy();
  const before = process.env.NODE_TLS_REJECT_UNAUTHORIZED;
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
  try {
    const answer = await proxy.ask(getFrom("api.test", origin));
    expect(field(answer, "outrider-error")).toBe("CERTIFICATE_REJECTED");
  } finally {
    if (before === undefined) delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
    else process.env.NODE_TLS_REJECT_UNAUTHORIZED = before;
  }
  expect(origin.received).toBe("");
});
