/** A destination's own port: for programs that know no proxy and speak plain HTTP to what they take for the server. */
import { describe, expect, test } from "vitest";
import type { DestinationFile } from "../../src/config/schema.ts";
import { certificate, certificateFile } from "../kit/certificates.ts";
import { field } from "../kit/message.ts";
import { answer, type Origin, ok, scriptedOrigin, step } from "../kit/origin.ts";
import { startProxy, type TestProxy } from "../kit/proxy.ts";
import { askOnce, type Client, rawClient } from "../kit/raw-client.ts";

/** A proxy with a port for `origin`, which it calls `api.test`. */
const proxyFor = (origin: Origin, more: Partial<DestinationFile> = {}): Promise<TestProxy> =>
  startProxy({
    policy: {
      destinations: [
        {
          name: "api",
          hosts: ["api.test"],
          local_port: 9999,
          upstream: { host: "127.0.0.1", port: origin.port },
          ...more,
        },
      ],
    },
  });

const portOf = (proxy: TestProxy): number => proxy.localPorts.get("api")!;

const request = (line: string, fields = ""): string =>
  `${line} HTTP/1.1\r\nHost: localhost:9999\r\n${fields}\r\n`;

test("requests reach the upstream under the destination's name, whatever Host they bring", async () => {
  await using origin = await scriptedOrigin([ok("one"), ok("two")]);
  await using proxy = await proxyFor(origin);
  using client: Client = await rawClient(portOf(proxy));
  expect((await client.ask(request("GET /a?b=c"))).body.toString()).toBe("one");
  expect((await client.ask(request("POST /d", "Content-Length: 3\r\n").concat("xyz"))).body.toString()).toBe(
    "two",
  );
  expect(origin.received).toBe(
    `GET /a?b=c HTTP/1.1\r\nHost: api.test:${origin.port}\r\n\r\n` +
      `POST /d HTTP/1.1\r\nHost: api.test:${origin.port}\r\nContent-Length: 3\r\n\r\nxyz`,
  );
  expect(origin.connections).toHaveLength(1);
});

test("OPTIONS * asks about the server as a whole", async () => {
  await using origin = await scriptedOrigin([ok()]);
  await using proxy = await proxyFor(origin);
  await askOnce(portOf(proxy), request("OPTIONS *"));
  expect(origin.requests[0]!.startLine).toBe("OPTIONS * HTTP/1.1");
});

test("an HTTP/1.0 program without Host is served too", async () => {
  await using origin = await scriptedOrigin([ok("old")]);
  await using proxy = await proxyFor(origin);
  expect((await askOnce(portOf(proxy), "GET / HTTP/1.0\r\n\r\n")).body.toString()).toBe("old");
});

test("plain requests are made in TLS with the destination's certificate", async () => {
  await using origin = await scriptedOrigin([ok("mutual")], {
    tls: {
      ...certificate("server"),
      requestCert: true,
      rejectUnauthorized: true,
      ca: certificate("ca").cert,
    },
  });
  await using proxy = await proxyFor(origin, {
    tls: { ca: certificateFile("ca"), client_cert: certificateFile("client") },
  });
  expect((await askOnce(portOf(proxy), request("GET /"))).body.toString()).toBe("mutual");
  expect(field(origin.requests[0]!, "host")).toBe(`api.test:${origin.port}`);
});

test("the destination's policy holds, its routes too", async () => {
  await using origin = await scriptedOrigin([answer("HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n")]);
  await using proxy = await proxyFor(origin, {
    retry: { max_retries: 2, budget: { floor: 2 }, backoff: { base: "1ms", max: "1ms" } },
    routes: [{ match: { path: "/once" }, retry: { max_retries: 0 } }],
  });
  await askOnce(portOf(proxy), request("GET /often"));
  await askOnce(portOf(proxy), request("GET /once/x"));
  await askOnce(portOf(proxy), request("GET /oncemore"));
  const paths = origin.requests.map(({ startLine }) => startLine.split(" ")[1]);
  expect(paths).toEqual([...Array(3).fill("/often"), "/once/x", ...Array(3).fill("/oncemore")]);
});

test("a switch of protocols passes", async () => {
  await using origin = await scriptedOrigin([
    step(async ({ peer }) => {
      await peer.write("HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello");
      peer.socket.pipe(peer.socket);
      return false;
    }),
  ]);
  await using proxy = await proxyFor(origin);
  using client: Client = await rawClient(portOf(proxy));
  await client.ask(request("GET /", "Connection: upgrade\r\nUpgrade: echo\r\n"));
  await client.write(" echo");
  expect((await client.take(10)).toString()).toBe("hello echo");
});

describe("what belongs to the proxy's own port is refused:", () => {
  test.each([
    ["a tunnel", "CONNECT other.test:443"],
    ["an absolute target", "GET http://other.test/"],
    ["another destination by its absolute target", "GET http://api.test/"],
  ])("%s", async (_what, line) => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await proxyFor(origin);
    const refused = await askOnce(portOf(proxy), request(line));
    expect([refused.status, field(refused, "outrider-error")]).toEqual([400, "BAD_TARGET"]);
    expect(origin.received).toBe("");
  });
});

test("the proxy's own port does not take origin form: nobody could tell for whom it is", async () => {
  await using origin = await scriptedOrigin([ok()]);
  await using proxy = await proxyFor(origin);
  const refused = await proxy.ask(`GET / HTTP/1.1\r\nHost: api.test\r\n\r\n`);
  expect([refused.status, field(refused, "outrider-error")]).toEqual([400, "BAD_TARGET"]);
  expect(origin.received).toBe("");
});

test("neither port can be called through the proxy: that would be a loop", async () => {
  await using origin = await scriptedOrigin([ok()]);
  await using proxy = await proxyFor(origin);
  for (const port of [proxy.port, portOf(proxy)]) {
    for (const host of ["127.0.0.1", "[::1]", "0.0.0.0"]) {
      const refused = await proxy.ask(`GET http://${host}:${port}/ HTTP/1.1\r\nHost: x\r\n\r\n`);
      expect([refused.status, field(refused, "outrider-error")]).toEqual([403, "ADDRESS_DENIED"]);
    }
  }
  expect(origin.received).toBe("");
});
