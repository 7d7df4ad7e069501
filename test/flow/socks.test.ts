/** SOCKS5 on the proxy's own port: the same tunnel as CONNECT, asked for in another protocol. */
import { connect as tlsConnect } from "node:tls";
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { certificate, certificateFile } from "../kit/certificates.ts";
import { passUntil } from "../kit/eventually.ts";
import { field } from "../kit/message.ts";
import { type Origin, ok, type Step, scriptedOrigin, step } from "../kit/origin.ts";
import { type ProxyOptions, startProxy, type TestProxy } from "../kit/proxy.ts";
import { type Client, rawClient } from "../kit/raw-client.ts";

const echo = (): Step =>
  step(async ({ peer }) => {
    peer.socket.pipe(peer.socket);
    await peer.closed();
    return false;
  }, "connect");

const GREETING = Buffer.from([5, 1, 0]);

/** CONNECT to a name, or to an IPv4 address. */
function request(host: string, port: number): Buffer {
  const quad = host.split(".").map(Number);
  const address = quad.some(Number.isNaN) ? [3, host.length, ...Buffer.from(host, "latin1")] : [1, ...quad];
  return Buffer.from([5, 1, 0, ...address, port >> 8, port & 0xff]);
}

/** Greets and asks; returns the reply's code. */
async function ask(client: Client, host: string, port: number): Promise<number> {
  await client.write(GREETING);
  expect([...(await client.take(2))]).toEqual([5, 0]);
  await client.write(request(host, port));
  const reply = await client.take(10);
  expect([reply[0], ...reply.subarray(2)]).toEqual([5, 0, 1, 0, 0, 0, 0, 0, 0]);
  return reply[1]!;
}

/** The port of TLS, which is dialled before the tunnel is promised, leads to `origin`. */
const tunnelTo = (origin: Pick<Origin, "port">): ProxyOptions => ({
  policy: {
    destinations: [
      { name: "tunnel", hosts: ["tunnel.test"], upstream: { host: "127.0.0.1", port: origin.port } },
    ],
  },
});

const inside = (origin: Origin, fields = ""): string =>
  `GET / HTTP/1.1\r\nHost: ${origin.authority}\r\n${fields}\r\n`;

describe("a tunnel by SOCKS5", () => {
  test("carries bytes that nobody reads", async () => {
    await using origin = await scriptedOrigin([echo()]);
    await using proxy = await startProxy(tunnelTo(origin));
    using client = await proxy.client();
    expect(await ask(client, "tunnel.test", 443)).toBe(0);
    await client.write("\x16\x03\x01 hello");
    expect((await client.take(9)).toString("latin1")).toBe("\x16\x03\x01 hello");
    client.halfClose();
    expect(await client.gone()).toBe("end");
  });

  test("opens whatever the cuts of its words, also when all of them come at once", async () => {
    await using origin = await scriptedOrigin([echo()]);
    await using proxy = await startProxy(tunnelTo(origin));
    const words = Buffer.concat([GREETING, request("tunnel.test", 443), Buffer.from("early")]);
    for (const size of [1, 2, words.length]) {
      using client = await proxy.client();
      for (let at = 0; at < words.length; at += size) await client.write(words.subarray(at, at + size));
      await client.take(2 + 10);
      expect((await client.take(5)).toString()).toBe("early");
    }
  });

  test("that holds plain requests is governed", async () => {
    await using origin = await scriptedOrigin([ok("1"), ok("2")]);
    const policy = { telemetry: { propagate: ["tracecontext" as const] } };
    await using proxy = await startProxy({ policy });
    using client = await proxy.client();
    expect(await ask(client, "127.0.0.1", origin.port)).toBe(0);
    expect((await client.ask(inside(origin))).body.toString()).toBe("1");
    expect((await client.ask(inside(origin))).body.toString()).toBe("2");
    expect(field(origin.requests[1]!, "traceparent")).toMatch(/^00-/);
    expect(origin.connections).toHaveLength(1);
  });

  test("that holds a request to another host is refused in HTTP, which is spoken by then", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await ask(client, "127.0.0.1", origin.port);
    const refused = await client.ask("GET / HTTP/1.1\r\nHost: other.test\r\n\r\n");
    expect([refused.status, field(refused, "outrider-error")]).toEqual([421, "MISDIRECTED"]);
    expect(origin.received).toBe("");
  });

  test("is opened to look inside TLS where the policy says so", async () => {
    await using origin = await scriptedOrigin([ok("inside")], { tls: certificate("server") });
    await using proxy = await startProxy({
      policy: {
        telemetry: { propagate: ["tracecontext"] },
        destinations: [
          {
            name: "api",
            hosts: ["api.test"],
            upstream: { host: "127.0.0.1", port: origin.port },
            tls: { intercept: true, ca: certificateFile("ca") },
          },
        ],
      },
    });
    using client = await proxy.client();
    expect(await ask(client, "api.test", 443)).toBe(0);
    client.socket.removeAllListeners("data");
    const secured = tlsConnect({
      socket: client.socket,
      servername: "api.test",
      ca: proxy.authority!.certificatePem,
      ALPNProtocols: ["http/1.1"],
    });
    secured.write("GET / HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n");
    let text = "";
    for await (const chunk of secured) text += chunk;
    expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\n[\s\S]*inside$/);
    expect(field(origin.requests[0]!, "traceparent")).toMatch(/^00-/);
  });
});

describe("a tunnel that cannot be had is refused in SOCKS, then the connection ends:", () => {
  /** What comes behind the greeting's answer, to the end. */
  async function refusal(proxy: TestProxy, words: Buffer): Promise<number[]> {
    using client = await proxy.client();
    await client.write(Buffer.concat([GREETING, words]));
    const [version, method, ...reply] = await client.rest();
    expect([version, method]).toEqual([5, 0]);
    expect(client.parting).toBe("end");
    return reply;
  }
  const reply = (code: number): number[] => [5, code, 0, 1, 0, 0, 0, 0, 0, 0];

  test("by the access rules (2)", async () => {
    await using proxy = await startProxy({ policy: { acl: { default: "deny" } } });
    expect(await refusal(proxy, request("tunnel.test", 443))).toEqual(reply(2));
    // Also where plain HTTP may be spoken, and the tunnel would otherwise be promised first.
    expect(await refusal(proxy, request("tunnel.test", 80))).toEqual(reply(2));
  });

  test("by the guard on addresses (2)", async () => {
    await using proxy = await startProxy();
    expect(await refusal(proxy, request("169.254.169.254", 443))).toEqual(reply(2));
  });

  test("by a name that does not resolve (4)", async () => {
    await using proxy = await startProxy({ lookup: () => Promise.reject(new Error("no such name")) });
    expect(await refusal(proxy, request("tunnel.test", 443))).toEqual(reply(4));
  });

  test("by a port where nobody listens (5)", async () => {
    const gone = await scriptedOrigin([ok()]);
    const options = tunnelTo(gone);
    await gone[Symbol.asyncDispose]();
    await using proxy = await startProxy(options);
    expect(await refusal(proxy, request("tunnel.test", 443))).toEqual(reply(5));
  });

  test("by a command that is none of CONNECT (7)", async () => {
    await using proxy = await startProxy();
    for (const command of [2, 3]) {
      const words = request("tunnel.test", 443);
      words[1] = command;
      expect(await refusal(proxy, words)).toEqual(reply(7));
    }
  });

  test("by a name that is read in two ways (1)", async () => {
    await using proxy = await startProxy();
    for (const name of ["a.test:80", "a@b.test", "a..test", "[::1]"]) {
      expect(await refusal(proxy, request(name, 443))).toEqual(reply(1));
    }
  });
});

describe("the proxy's own port", () => {
  test.each([
    ["a client that insists on a password", [5, 1, 2], [5, 255]],
    ["SOCKS4", [4, 1, 0, 80, 127, 0, 0, 1, 0], [0, 91, 0, 0, 0, 0, 0, 0]],
  ])("refuses %s in its own words", async (_what, words, said) => {
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(Buffer.from(words));
    expect([...(await client.rest())]).toEqual(said);
    expect(client.parting).toBe("end");
  });

  test("ends a client that stays silent after its greeting", async () => {
    const clock = new VirtualClock();
    await using proxy = await startProxy({ clock });
    using client = await proxy.client();
    await client.write(GREETING);
    await client.take(2);
    const { elapsedMs } = await passUntil(clock, client.gone());
    expect(elapsedMs).toBeLessThanOrEqual(70_000);
  });
});

describe("a destination's own port", () => {
  test("is no way around its destination: SOCKS is not spoken there", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy({
      policy: {
        destinations: [
          {
            name: "api",
            hosts: ["api.test"],
            local_port: 9999,
            upstream: { host: "127.0.0.1", port: origin.port },
          },
        ],
      },
    });
    using client = await rawClient(proxy.localPorts.get("api")!);
    await client.write(Buffer.concat([GREETING, request("127.0.0.1", origin.port), Buffer.from("\r\n\r\n")]));
    expect((await client.rest()).toString("latin1")).toMatch(/^HTTP\/1\.1 400 /);
    expect(origin.connections).toHaveLength(0);
  });
});
