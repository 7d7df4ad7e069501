/** CONNECT and Upgrade: two byte streams that the proxy joins and does not read. */
import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { certificate, certificateFile } from "../kit/certificates.ts";
import { field } from "../kit/message.ts";
import {
  answer,
  apart,
  type Origin,
  type OriginTurn,
  ok,
  type Step,
  scriptedOrigin,
  step,
} from "../kit/origin.ts";
import { get, type ProxyOptions, startProxy } from "../kit/proxy.ts";

/** Sends back what it gets, and ends when the other side does. */
async function echo({ peer }: OriginTurn): Promise<boolean> {
  peer.socket.pipe(peer.socket);
  await peer.closed();
  return false;
}

const echoServer = (): Step => step(echo, "connect");

const upgradeEcho = (
  head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
): Step =>
  step(async (turn) => {
    await turn.peer.write(head);
    return echo(turn);
  }, "request");

const upgrade = (origin: Origin, protocols = "websocket", scheme = "http"): string =>
  `GET ${scheme}://${origin.authority}/chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: ${protocols}\r\nSec-WebSocket-Key: a\r\n\r\n`;

/** CONNECT to the port of TLS, which is dialled before it is promised; the policy sends it to `origin`. */
const tunnelTo = (origin: Origin): ProxyOptions => ({
  policy: {
    destinations: [
      { name: "tunnel", hosts: ["tunnel.test"], upstream: { host: "127.0.0.1", port: origin.port } },
    ],
  },
});
const CONNECT = "CONNECT tunnel.test:443 HTTP/1.1\r\nHost: tunnel.test:443\r\n\r\n";

describe("CONNECT", () => {
  test("opens a tunnel that carries every byte both ways", async () => {
    await using origin = await scriptedOrigin([echoServer()]);
    await using proxy = await startProxy(tunnelTo(origin));
    using client = await proxy.client();
    const response = await client.ask(CONNECT);
    expect(response.head).toBe("HTTP/1.1 200 Connection Established\r\n\r\n");
    const bytes = randomBytes(3_000_000);
    const [back] = await Promise.all([client.take(bytes.length), client.write(bytes)]);
    expect(back.equals(bytes)).toBe(true);
    client.halfClose();
    expect(await client.gone()).toBe("end");
  });

  test("delivers what the application sent ahead of the answer", async () => {
    await using origin = await scriptedOrigin([echoServer()]);
    await using proxy = await startProxy(tunnelTo(origin));
    using client = await proxy.client();
    await client.write(`${CONNECT}early`);
    await client.until("\r\n\r\n");
    expect((await client.take(5)).toString()).toBe("early");
  });

  test("delivers everything to an application that has ended its side, and to an origin that has", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        const all = await peer.rest();
        await peer.write(`got ${all.length}`);
        peer.halfClose();
        return false;
      }, "connect"),
    ]);
    await using proxy = await startProxy(tunnelTo(origin));
    using client = await proxy.client();
    await client.write(`${CONNECT}${"x".repeat(100_000)}`);
    client.halfClose();
    await client.until("\r\n\r\n");
    expect((await client.rest()).toString()).toBe("got 100000");
    expect(client.parting).toBe("end");
  });

  test("an origin that speaks first is heard", async () => {
    await using origin = await scriptedOrigin([
      step(async (turn) => {
        await turn.peer.write("220 ready\r\n");
        return echo(turn);
      }, "connect"),
    ]);
    await using proxy = await startProxy(tunnelTo(origin));
    using client = await proxy.client();
    await client.ask(CONNECT);
    expect(await client.until("\r\n")).toBe("220 ready\r\n");
  });

  test("an origin that breaks breaks the application's side too", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.until("go");
        peer.reset();
        return false;
      }, "connect"),
    ]);
    await using proxy = await startProxy(tunnelTo(origin));
    using client = await proxy.client();
    await client.ask(CONNECT);
    await client.write("go");
    expect(await client.gone()).toBe("reset");
  });

  test("an application that breaks breaks the origin's side too", async () => {
    await using origin = await scriptedOrigin([step(() => false, "connect")]);
    await using proxy = await startProxy(tunnelTo(origin));
    using client = await proxy.client();
    await client.ask(CONNECT);
    await client.write("x");
    await origin.connections[0]!.until("x");
    client.reset();
    expect(await origin.connections[0]!.gone()).toBe("reset");
  });

  test("that cannot be dialled is refused, and what followed it is not read as a request", async () => {
    await using other = await scriptedOrigin([ok()]);
    const gone = await scriptedOrigin([ok()]);
    const options = tunnelTo(gone);
    await gone[Symbol.asyncDispose]();
    await using proxy = await startProxy(options);
    using client = await proxy.client();
    const response = await client.ask(CONNECT + get(other));
    expect([response.status, field(response, "outrider-error")]).toEqual([502, "CONNECT_FAILED"]);
    expect(field(response, "connection")).toBe("close");
    expect((await client.rest()).toString()).toBe("");
    expect(other.received).toBe("");
  });
});

describe("CONNECT to a port where plain HTTP may be spoken", () => {
  const connectTo = (origin: Origin): string =>
    `CONNECT ${origin.authority} HTTP/1.1\r\nHost: ${origin.authority}\r\n\r\n`;
  const inside = (origin: Origin, path: string): string =>
    `GET ${path} HTTP/1.1\r\nHost: ${origin.authority}\r\n\r\n`;

  test("is answered at once; anything but HTTP inside it passes unread", async () => {
    await using origin = await scriptedOrigin([echoServer()]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    expect((await client.ask(connectTo(origin))).status).toBe(200);
    expect(origin.connections).toHaveLength(0);
    await client.write("\x16\x03\x01 hello");
    expect((await client.take(9)).toString("latin1")).toBe("\x16\x03\x01 hello");
  });

  test("requests inside it are calls like any other, over pooled connections", async () => {
    await using origin = await scriptedOrigin([ok("a"), ok("b")]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.ask(connectTo(origin));
    for (const [path, body] of [
      ["/1", "a"],
      ["/2", "b"],
    ] as const) {
      expect((await client.ask(inside(origin, path))).body.toString()).toBe(body);
    }
    expect(origin.connections).toHaveLength(1);
  });

  test("a request inside it that names another host is refused and sent nowhere", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using other = await scriptedOrigin([ok()]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.ask(connectTo(origin));
    const response = await client.ask(inside(other, "/"));
    expect([response.status, field(response, "outrider-error")]).toEqual([421, "MISDIRECTED"]);
    expect(origin.received + other.received).toBe("");
  });

  test("a silent application is taken to wait for the origin to speak", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([
      step(async (turn) => {
        await turn.peer.write("220 ready\r\n");
        return echo(turn);
      }, "connect"),
    ]);
    await using proxy = await startProxy({ clock });
    using client = await proxy.client();
    await client.ask(connectTo(origin));
    await clock.advance(3001);
    expect(await client.until("\r\n")).toBe("220 ready\r\n");
  });

  test("an application that ends its side in silence still hears the origin", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write("220 ready\r\n");
        peer.halfClose();
        return false;
      }, "connect"),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(connectTo(origin));
    client.halfClose();
    await client.until("\r\n\r\n");
    expect((await client.rest()).toString()).toBe("220 ready\r\n");
  });

  test("that cannot be dialled after it was promised is broken, not ended", async () => {
    const gone = await scriptedOrigin([ok()]);
    const head = connectTo(gone);
    await gone[Symbol.asyncDispose]();
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.ask(head);
    await client.write("\x16\x03\x01");
    expect(await client.gone()).toBe("reset");
  });
});

describe("Upgrade", () => {
  test("is passed on, and the streams are joined behind the 101", async () => {
    await using origin = await scriptedOrigin([
      upgradeEcho(
        "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello",
      ),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    const response = await client.ask(upgrade(origin));
    expect(response.head).toBe(
      "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    expect(origin.requests[0]!.head).toBe(
      `GET /chat HTTP/1.1\r\nHost: ${origin.authority}\r\nSec-WebSocket-Key: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`,
    );
    expect((await client.take(5)).toString()).toBe("hello");
    const bytes = randomBytes(1_000_000);
    const [back] = await Promise.all([client.take(bytes.length), client.write(bytes)]);
    expect(back.equals(bytes)).toBe(true);
    client.halfClose();
    expect(await client.gone()).toBe("end");
    expect(proxy.proxy.listener.open().tunnels).toBe(0);
  });

  test("tells the protocol that the origin chose, not the ones that were offered", async () => {
    await using origin = await scriptedOrigin([
      upgradeEcho("HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: Foo/2\r\n\r\n"),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    expect(field(await client.ask(upgrade(origin, "websocket, foo/2")), "upgrade")).toBe("Foo/2");
  });

  test("that the origin does not take is an ordinary exchange, and so is the next", async () => {
    await using origin = await scriptedOrigin([ok("plain"), ok("next")]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    expect((await client.ask(upgrade(origin))).body.toString()).toBe("plain");
    expect((await client.ask(get(origin))).body.toString()).toBe("next");
    expect(proxy.proxy.listener.open().tunnels).toBe(0);
  });

  test.each([
    ["without a protocol", "HTTP/1.1 101 x\r\n\r\n"],
    ["to a protocol that was not offered", "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: evil\r\n\r\n"],
  ])("a 101 %s is no answer", async (_, head) => {
    await using origin = await scriptedOrigin([answer(head)]);
    await using proxy = await startProxy();
    expect(field(await proxy.ask(upgrade(origin)), "outrider-error")).toBe("UPSTREAM_INVALID");
  });

  test("a 101 to a request that offered nothing is no answer", async () => {
    await using origin = await scriptedOrigin([
      answer("HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
    ]);
    await using proxy = await startProxy();
    expect(field(await proxy.get(origin), "outrider-error")).toBe("UPSTREAM_INVALID");
  });

  test("a 101 in the middle of the request is no answer: its rest would be read as the other protocol", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write("HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
        return false;
      }, "head"),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(
      `POST http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 100\r\n\r\nhalf`,
    );
    expect(field(await client.response(), "outrider-error")).toBe("UPSTREAM_INVALID");
  });

  test("over TLS: an application that breaks ends the origin's side, and the proxy lives on", async () => {
    await using origin = await scriptedOrigin([upgradeEcho(), ok("alive")], { tls: certificate("server") });
    const tls = { ca: certificateFile("ca") };
    await using proxy = await startProxy({
      policy: { destinations: [{ name: "o", hosts: ["127.0.0.1"], tls }] },
    });
    using client = await proxy.client();
    await client.ask(upgrade(origin));
    await client.write("ping");
    expect((await client.take(4)).toString()).toBe("ping");
    client.reset();
    await origin.connections[0]!.gone();
    await apart();
    expect((await proxy.get(origin)).body.toString()).toBe("alive");
  });
});
