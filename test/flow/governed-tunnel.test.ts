/** What CONNECT may hold: requests in clear text, which obey the policy like any other, or bytes that are nobody's business. */
import { connect as tlsConnect } from "node:tls";
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import type { PolicyFile } from "../../src/config/schema.ts";
import { certificate } from "../kit/certificates.ts";
import { eventually } from "../kit/eventually.ts";
import { field } from "../kit/message.ts";
import { answer, type Origin, ok, type Step, scriptedOrigin, step } from "../kit/origin.ts";
import { startProxy, type TestProxy } from "../kit/proxy.ts";
import type { Client } from "../kit/raw-client.ts";

const connectTo = (authority: string): string =>
  `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`;

/** A request inside a tunnel to `authority`. */
const inside = (authority: string, line = "GET /", fields = ""): string =>
  `${line} HTTP/1.1\r\nHost: ${authority}\r\n${fields}\r\n`;

async function tunnelTo(proxy: TestProxy, authority: string): Promise<Client> {
  const client = await proxy.client();
  expect((await client.ask(connectTo(authority))).startLine).toBe("HTTP/1.1 200 Connection Established");
  return client;
}

const unavailable = answer("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");

/** Sends back what it is sent. */
const echo: Step = step(async ({ peer }) => {
  peer.socket.pipe(peer.socket);
  return false;
}, "connect");

describe("requests inside a tunnel", () => {
  const policy: Omit<PolicyFile, "version"> = {
    telemetry: { propagate: ["tracecontext"] },
    defaults: { retry: { max_retries: 2, budget: { floor: 2 }, backoff: { base: "1ms", max: "1ms" } } },
  };

  test("are sent again and traced, and reach the origin in origin form", async () => {
    await using origin = await scriptedOrigin([unavailable, unavailable, ok("third")]);
    await using proxy = await startProxy({ policy });
    using client = await tunnelTo(proxy, origin.authority);
    const response = await client.ask(
      inside(origin.authority, "PUT /a?b", "Content-Length: 3\r\n").concat("abc"),
    );
    expect(response.body.toString()).toBe("third");
    expect(origin.requests.map(({ startLine, body }) => `${startLine} ${body}`)).toEqual(
      Array(3).fill("PUT /a?b HTTP/1.1 abc"),
    );
    expect(new Set(origin.requests.map((request) => field(request, "traceparent"))).size).toBe(3);
    expect(field(origin.requests[0]!, "host")).toBe(origin.authority);
  });

  test("are taken one after the other, also when they come with the CONNECT in one piece", async () => {
    await using origin = await scriptedOrigin([ok("1"), ok("2")]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    const { authority } = origin;
    await client.write(connectTo(authority) + inside(authority, "GET /1") + inside(authority, "GET /2"));
    await client.response("CONNECT");
    expect((await client.response()).body.toString()).toBe("1");
    expect((await client.response()).body.toString()).toBe("2");
  });

  test("may begin byte by byte", async () => {
    await using origin = await scriptedOrigin([ok("slow")]);
    await using proxy = await startProxy();
    using client = await tunnelTo(proxy, origin.authority);
    for (const byte of inside(origin.authority)) await client.write(byte);
    expect((await client.response()).body.toString()).toBe("slow");
    expect(origin.requests.map(({ startLine }) => startLine)).toEqual(["GET / HTTP/1.1"]);
  });

  test("count against the limits of their destination", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy({ policy: { defaults: { limits: { rate: "1/h", burst: 1 } } } });
    using client = await tunnelTo(proxy, origin.authority);
    expect((await client.ask(inside(origin.authority))).status).toBe(200);
    const refused = await client.ask(inside(origin.authority));
    expect([refused.status, field(refused, "outrider-error")]).toEqual([429, "RATE_LIMITED"]);
    expect(origin.requests).toHaveLength(1);
  });

  test("may switch the protocol", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write("HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
        peer.socket.pipe(peer.socket);
        return false;
      }),
    ]);
    await using proxy = await startProxy();
    using client = await tunnelTo(proxy, origin.authority);
    const upgrade = "Connection: Upgrade\r\nUpgrade: echo\r\n";
    expect((await client.ask(inside(origin.authority, "GET /", upgrade))).status).toBe(101);
    await client.write("\0raw");
    expect((await client.take(4)).toString()).toBe("\0raw");
  });

  test.each([
    ["another name", "GET /", "other.test", 421, "MISDIRECTED"],
    ["another port", "GET /", "127.0.0.1:1", 421, "MISDIRECTED"],
    ["an absolute target", "GET http://other.test/", "", 400, "BAD_TARGET"],
    ["a tunnel in the tunnel", "CONNECT other.test:80", "", 400, "BAD_TARGET"],
  ])("that name %s are sent nowhere", async (_what, line, host, status, code) => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy();
    using client = await tunnelTo(proxy, origin.authority);
    await client.write(inside(host === "" ? origin.authority : host, line));
    const refused = await client.response();
    expect([refused.status, field(refused, "outrider-error")]).toEqual([status, code]);
    expect(await client.gone()).toBe("end");
    expect(origin.received).toBe("");
  });
});

describe("a denied host", () => {
  test.each([
    ["by name", "closed.test:8080", "DENIED"],
    ["by default", "unnamed.test:443", "DENIED"],
    ["as a number in disguise", "0x7f000001:80", "BAD_TARGET"],
  ])("%s is refused before there is a tunnel", async (_how, authority, code) => {
    const policy: Omit<PolicyFile, "version"> = {
      acl: { default: "deny" },
      destinations: [{ name: "closed", hosts: ["closed.test"], access: "deny" }],
    };
    let lookups = 0;
    const lookup = async () => {
      lookups += 1;
      return [{ address: "127.0.0.1", family: 4 as const }];
    };
    await using proxy = await startProxy({ policy, lookup });
    using client = await proxy.client();
    // The bytes behind it were meant for the tunnel: they are no request.
    await client.write(connectTo(authority) + inside(authority));
    const refused = await client.response();
    expect(field(refused, "outrider-error")).toBe(code);
    expect(client.received).not.toContain("HTTP/1.1 200");
    expect((await client.rest()).toString()).toBe("");
    expect(lookups).toBe(0);
  });

  test("is also refused when only its address is denied, before the promise on the port of TLS", async () => {
    const lookup = async () => [{ address: "169.254.169.254", family: 4 as const }];
    await using proxy = await startProxy({ lookup });
    const refused = await proxy.ask(connectTo("rebound.test:443"));
    expect([refused.status, field(refused, "outrider-error")]).toEqual([403, "ADDRESS_DENIED"]);
  });
});

describe("other bytes", () => {
  test("TLS passes from end to end: the origin's own certificate is what the application sees", async () => {
    await using origin = await scriptedOrigin([ok("secret")], { tls: certificate("server") });
    await using proxy = await startProxy();
    using client = await tunnelTo(proxy, origin.authority);
    client.socket.removeAllListeners("data");
    const secure = tlsConnect({
      socket: client.socket,
      servername: "api.test",
      ca: certificate("ca").cert,
    });
    secure.write(inside(origin.authority));
    const received = await new Promise<string>((resolve, reject) => {
      secure.once("data", (bytes: Buffer) => resolve(bytes.toString()));
      secure.once("error", reject);
    });
    expect(received).toMatch(/secret$/);
    expect(secure.authorized).toBe(true);
    expect(proxy.proxy.listener.open().tunnels).toBe(1);
  });

  test.each([
    ["that begin like a method and are none", "GETTING things"],
    ["in lower case", "get / HTTP/1.1\r\n\r\n"],
    ["that are not text", "\0\x01\x02\xff"],
  ])("%s pass unread", async (_what, bytes) => {
    await using origin = await scriptedOrigin([echo]);
    await using proxy = await startProxy();
    using client = await tunnelTo(proxy, origin.authority);
    await client.write(bytes);
    expect((await client.take(bytes.length)).toString("latin1")).toBe(bytes);
    expect(origin.received).toBe(bytes);
  });

  test("that could become a method are passed on when the application ends its side", async () => {
    await using origin = await scriptedOrigin([echo]);
    await using proxy = await startProxy();
    using client = await tunnelTo(proxy, origin.authority);
    await client.write("PING");
    client.halfClose();
    expect((await client.rest()).toString()).toBe("PING");
  });

  test("that could become a method are passed on after the silence", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([echo]);
    await using proxy = await startProxy({ clock });
    using client = await tunnelTo(proxy, origin.authority);
    await client.write("PING");
    await clock.advance(2999);
    expect(origin.connections).toHaveLength(0);
    await clock.advance(1);
    expect((await client.take(4)).toString()).toBe("PING");
  });
});

/** Jumps over time when told to, as a sandbox does that was frozen. */
class FreezingClock extends VirtualClock {
  frozenMs = 0;

  override now(): number {
    return super.now() + this.frozenMs;
  }
}

test("a silence in which the sandbox was frozen is none: the tunnel waits anew for the application", async () => {
  const clock = new FreezingClock();
  await using origin = await scriptedOrigin([ok("governed")]);
  await using proxy = await startProxy({ clock });
  using client = await tunnelTo(proxy, origin.authority);
  clock.frozenMs = 900_000;
  await clock.advance(3000);
  // The timer fired late: without another wait this request would have passed unread and ungoverned.
  expect((await client.ask(inside(origin.authority))).body.toString()).toBe("governed");
  await eventually("the tunnel to be none", () => proxy.proxy.listener.open().tunnels === 0);
  expect(origin.requests).toHaveLength(1);
});

test("an application that leaves while its tunnel waits leaves nothing behind", async () => {
  const clock = new VirtualClock();
  await using origin = await scriptedOrigin([echo]);
  await using proxy = await startProxy({ clock });
  const client = await tunnelTo(proxy, origin.authority);
  client.reset();
  await eventually("the connection to be closed", () => proxy.proxy.listener.open().connections === 0);
  await clock.advance(10_000);
  expect(origin.connections).toHaveLength(0);
});

test("a draining proxy ends a tunnel that waits, and promises no other", async () => {
  await using origin: Origin = await scriptedOrigin([echo]);
  await using proxy = await startProxy({ clock: new VirtualClock() });
  using client = await tunnelTo(proxy, origin.authority);
  const drained = proxy.lifecycle.drain(Number.POSITIVE_INFINITY);
  expect(await client.gone()).toMatch(/end|reset/);
  await drained;
  expect(origin.connections).toHaveLength(0);
});
