/** Plain calls of the application that leave in TLS, with a client certificate that it knows nothing of. */

import type { TLSSocket } from "node:tls";
import { describe, expect, test } from "vitest";
import { certificate, certificateFile } from "../kit/certificates.ts";
import { field } from "../kit/message.ts";
import { type Origin, ok, scriptedOrigin, step } from "../kit/origin.ts";
import { get, startProxy, type TestProxy } from "../kit/proxy.ts";

/** Demands a client certificate of the tests' authority and says who showed one, by which name it was asked. */
const demandingOrigin = (
  minVersion: "TLSv1.2" | "TLSv1.3" = "TLSv1.2",
  maxVersion = minVersion,
): Promise<Origin> =>
  scriptedOrigin(
    [
      step(async ({ peer }) => {
        const socket = peer.socket as TLSSocket;
        const body = `${socket.getPeerCertificate().subject.CN} asks ${socket.servername} in ${socket.getProtocol()}`;
        await peer.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
        return true;
      }),
    ],
    {
      tls: {
        ...certificate("server"),
        ca: certificate("ca").cert,
        requestCert: true,
        minVersion,
        maxVersion,
      },
    },
  );

function proxyWith(origin: Origin, tls: Record<string, string>): Promise<TestProxy> {
  return startProxy({
    policy: {
      destinations: [
        { name: "api", hosts: ["api.test"], upstream: { host: "127.0.0.1", port: origin.port }, tls },
      ],
    },
  });
}

const CALL = "GET http://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n";

describe("a destination with a client certificate", () => {
  test.each(["TLSv1.2", "TLSv1.3"] as const)(
    "shows it in %s, and is called by its own name",
    async (version) => {
      await using origin = await demandingOrigin(version);
      const tls = { ca: certificateFile("ca"), client_cert: certificateFile("client") };
      await using proxy = await proxyWith(origin, tls);
      const response = await proxy.ask(CALL);
      expect(response.body.toString()).toBe(`the function asks api.test in ${version}`);
      expect(field(origin.requests[0]!, "host")).toBe("api.test");
    },
  );

  test("keeps its connection for the next call, and resumes its session for the next connection", async () => {
    await using origin = await demandingOrigin("TLSv1.3");
    const tls = { ca: certificateFile("ca"), client_cert: certificateFile("client") };
    await using proxy = await proxyWith(origin, tls);
    using client = await proxy.client();
    await client.ask(CALL);
    await client.ask(CALL);
    expect(origin.connections).toHaveLength(1);
    proxy.proxy.upstream.thawed(Number.POSITIVE_INFINITY);
    expect((await client.ask(CALL)).status).toBe(200);
    expect(origin.connections).toHaveLength(2);
    expect((origin.connections[1]!.socket as TLSSocket).isSessionReused()).toBe(true);
  });

  test("can name the server otherwise", async () => {
    await using origin = await demandingOrigin("TLSv1.3");
    const tls = {
      ca: certificateFile("ca"),
      client_cert: certificateFile("client"),
      server_name: "x.wild.test",
    };
    await using proxy = await proxyWith(origin, tls);
    expect((await proxy.ask(CALL)).body.toString()).toContain("asks x.wild.test");
  });
});

describe.each(["TLSv1.2", "TLSv1.3"] as const)("an origin that demands a certificate in %s", (version) => {
  test("and gets none: the handshake failed, whenever that was told", async () => {
    await using origin = await demandingOrigin(version);
    await using proxy = await proxyWith(origin, { ca: certificateFile("ca") });
    const response = await proxy.ask(CALL);
    expect([response.status, field(response, "outrider-error")]).toEqual([502, "TLS_FAILED"]);
    expect(origin.requests).toHaveLength(0);
  });

  test("and gets a stranger's: no call is served", async () => {
    await using origin = await demandingOrigin(version);
    const tls = { ca: certificateFile("ca"), client_cert: certificateFile("other-client") };
    await using proxy = await proxyWith(origin, tls);
    const response = await proxy.ask(CALL);
    // A Node server looks at the certificate behind the handshake of TLS 1.3 and leaves without a word.
    expect(response.status).toBe(502);
    expect(field(response, "outrider-error")).toBe(version === "TLSv1.2" ? "TLS_FAILED" : "UPSTREAM_RESET");
    expect(origin.requests).toHaveLength(0);
  });
});

test("min_version is the least that is spoken", async () => {
  await using origin = await demandingOrigin("TLSv1.2");
  const tls = { ca: certificateFile("ca"), client_cert: certificateFile("client"), min_version: "TLSv1.3" };
  await using proxy = await proxyWith(origin, tls);
  expect(field(await proxy.ask(CALL), "outrider-error")).toBe("TLS_FAILED");
});

test("an https target in absolute form is called in TLS", async () => {
  await using origin = await scriptedOrigin([ok("secure")], { tls: certificate("server") });
  await using proxy = await startProxy({
    policy: { destinations: [{ name: "api", hosts: ["127.0.0.1"], tls: { ca: certificateFile("ca") } }] },
  });
  const response = await proxy.ask(get(origin).replace("http:", "https:"));
  expect(response.body.toString()).toBe("secure");
  expect(field(origin.requests[0]!, "host")).toBe(origin.authority);
});

test("a body of some megabytes passes through TLS unharmed", async () => {
  const body = Array.from({ length: 300_000 }, (_, i) => i.toString(36)).join("");
  await using origin = await scriptedOrigin([ok(body)], { tls: certificate("server") });
  await using proxy = await startProxy({
    policy: { destinations: [{ name: "api", hosts: ["127.0.0.1"], tls: { ca: certificateFile("ca") } }] },
  });
  expect((await proxy.get(origin)).body.toString() === body).toBe(true);
});
