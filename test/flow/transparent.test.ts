/**
 * The port for redirected connections: whoever connects believes to speak to the server itself, so that only the server's name in
 * its first bytes tells where it wants to go. The redirecting is not needed here: `platform/transparent-namespace.test.ts` has it.
 */
import { once } from "node:events";
import { connect as connectHttp2, createServer as createHttp2Server } from "node:http2";
import type { AddressInfo } from "node:net";
import { type ConnectionOptions, type TLSSocket, connect as tlsConnect } from "node:tls";
import { describe, expect, test } from "vitest";
import type { DestinationFile, PolicyFile } from "../../src/config/schema.ts";
import { OPENSSL, OPENSSL_NAMELESS } from "../capture/hellos.ts";
import { certificate, certificateFile } from "../kit/certificates.ts";
import { eventually } from "../kit/eventually.ts";
import { field } from "../kit/message.ts";
import { type Origin, ok, type Step, scriptedOrigin, step } from "../kit/origin.ts";
import { startProxy, type TestProxy } from "../kit/proxy.ts";
import { type Client, rawClient } from "../kit/raw-client.ts";

type Policy = Omit<PolicyFile, "version">;

/** A proxy with a port for redirected connections; `api.test` is at `origin`, whatever port is asked for. */
const capturing = (
  origin: Pick<Origin, "port">,
  more: Partial<DestinationFile> = {},
  policy: Policy = {},
): Promise<TestProxy> =>
  startProxy({
    policy: {
      ...policy,
      listen: { transparent_port: 9999 },
      destinations: [
        {
          name: "api",
          hosts: ["api.test", "api.example.test"],
          upstream: { host: "127.0.0.1", port: origin.port },
          ...more,
        },
      ],
    },
  });

/** The second of the proxy's ports. */
const portOf = (proxy: TestProxy): number => [...proxy.proxy.listener.ports()][1]!;
const redirected = (proxy: TestProxy): Promise<Client> => rawClient(portOf(proxy));

/** A client of TLS that was redirected. */
async function secured(proxy: TestProxy, options: ConnectionOptions): Promise<TLSSocket> {
  const socket = tlsConnect({ port: portOf(proxy), host: "127.0.0.1", ...options });
  await once(socket, "secureConnect");
  return socket;
}

const echo = (): Step =>
  step(async ({ peer }) => {
    peer.socket.pipe(peer.socket);
    await peer.closed();
    return false;
  }, "connect");

const get = (host: string, path = "/"): string => `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;

async function denials(proxy: TestProxy): Promise<number> {
  const { text } = await proxy.proxy.telemetry.prometheus();
  return [...text.matchAll(/^outrider_denied_total\{.*\} (\d+)$/gm)].reduce(
    (sum, row) => sum + Number(row[1]),
    0,
  );
}

describe("TLS that was redirected", () => {
  test("passes unread to the server that it names, hello and all", async () => {
    await using origin = await scriptedOrigin([ok("from the server")], { tls: certificate("server") });
    await using proxy = await capturing(origin);
    const socket = await secured(proxy, { servername: "api.test", ca: certificate("ca").cert });
    expect(socket.authorized).toBe(true);
    socket.write(get("api.test"));
    const [answer] = await once(socket, "data");
    expect(String(answer)).toContain("from the server");
    expect(proxy.proxy.listener.open().tunnels).toBe(1);
    socket.destroy();
  });

  test("reaches the server byte for byte, however it is cut", async () => {
    await using origin = await scriptedOrigin([echo()]);
    await using proxy = await capturing(origin);
    for (const size of [1, 7, 100]) {
      using client = await redirected(proxy);
      for (let at = 0; at < OPENSSL.length; at += size) await client.write(OPENSSL.subarray(at, at + size));
      expect((await client.take(OPENSSL.length)).equals(OPENSSL)).toBe(true);
      await client.write("more");
      expect((await client.take(4)).toString()).toBe("more");
    }
  });

  test("is opened where the policy says so, and its requests are governed", async () => {
    await using origin = await scriptedOrigin([ok("governed")], { tls: certificate("server") });
    const tls = { intercept: true, ca: certificateFile("ca") };
    await using proxy = await capturing(origin, { tls }, { telemetry: { propagate: ["tracecontext"] } });
    const ca = proxy.authority!.certificatePem;
    const socket = await secured(proxy, { servername: "api.test", ca, ALPNProtocols: ["http/1.1"] });
    socket.write(get("api.test"));
    const [answer] = await once(socket, "data");
    expect(String(answer)).toContain("governed");
    expect(field(origin.requests[0]!, "traceparent")).toMatch(/^00-/);
    socket.destroy();
  });

  test("to a host that the policy denies is reset, and recorded", async () => {
    await using origin = await scriptedOrigin([echo()]);
    await using proxy = await capturing(origin, { access: "deny" });
    using client = await redirected(proxy);
    await client.write(OPENSSL);
    expect(await client.gone()).toBe("reset");
    let count = 0;
    await eventually("the record", () => {
      void denials(proxy).then((now) => (count = now));
      return count === 1;
    });
    expect(origin.connections).toHaveLength(0);
  });

  test.each([
    ["that names no server", OPENSSL_NAMELESS],
    ["that is malformed", Buffer.from([0x16, 3, 1, 0, 0])],
    ["that is none", Buffer.from([0x16, 2, 1, 0, 0])],
  ])("%s is reset and goes nowhere", async (_what, hello) => {
    await using origin = await scriptedOrigin([echo()]);
    await using proxy = await capturing(origin);
    using client = await redirected(proxy);
    await client.write(hello);
    expect(await client.gone()).toBe("reset");
    expect(client.received).toBe("");
    expect(origin.connections).toHaveLength(0);
  });
});

describe("plain HTTP that was redirected", () => {
  test("goes where its Host says, at the port that it says", async () => {
    await using origin = await scriptedOrigin([ok("a"), ok("b")]);
    await using proxy = await capturing(origin);
    using client = await redirected(proxy);
    expect((await client.ask(get("api.test", "/x?y"))).body.toString()).toBe("a");
    expect((await client.ask(get(`127.0.0.1:${origin.port}`))).body.toString()).toBe("b");
    expect(origin.requests.map(({ startLine }) => startLine)).toEqual([
      "GET /x?y HTTP/1.1",
      "GET / HTTP/1.1",
    ]);
    expect(origin.requests.map((request) => field(request, "host"))).toEqual([
      "api.test",
      `127.0.0.1:${origin.port}`,
    ]);
  });

  test("obeys the policy", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await capturing(origin, { access: "deny" });
    using client = await redirected(proxy);
    const refused = await client.ask(get("api.test"));
    expect([refused.status, field(refused, "outrider-error")]).toEqual([403, "DENIED"]);
    expect(origin.connections).toHaveLength(0);
  });

  test.each([
    ["without Host", "GET / HTTP/1.1\r\n\r\n"],
    ["of HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n"],
    ["with an empty Host", "GET / HTTP/1.1\r\nHost: \r\n\r\n"],
    ["in absolute form", "GET http://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n"],
    ["for a tunnel", "CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n\r\n"],
    ["that is none", "SSH-2.0-OpenSSH_9.2\r\n\r\n"],
  ])("a request %s goes nowhere", async (_what, bytes) => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await capturing(origin);
    using client = await redirected(proxy);
    expect((await client.ask(bytes)).status).toBe(400);
    expect(origin.connections).toHaveLength(0);
  });

  test("cannot come back to the proxy's own ports", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await capturing(origin);
    for (const port of [proxy.port, portOf(proxy)]) {
      using client = await redirected(proxy);
      const refused = await client.ask(get(`127.0.0.1:${port}`));
      expect([refused.status, field(refused, "outrider-error")]).toEqual([403, "ADDRESS_DENIED"]);
    }
  });
});

test("HTTP/2 with prior knowledge that was redirected goes where each request says", async () => {
  const server = createHttp2Server((request, response) => response.end(`${request.authority}${request.url}`));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await using proxy = await capturing({ port }, { http_version: "http2" });
  const session = connectHttp2(`http://127.0.0.1:${portOf(proxy)}`);
  for (const [authority, path] of [
    ["api.test", "/1"],
    ["api.example.test", "/2"],
  ] as const) {
    const stream = session.request({ ":authority": authority, ":path": path });
    let text = "";
    for await (const chunk of stream) text += chunk;
    expect(text).toBe(`${authority}${path}`);
  }
  session.destroy();
  server.close();
});
