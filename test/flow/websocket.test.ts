/** WebSocket (RFC 6455) over every way through the proxy: frame by frame, and with the `ws` package on both ends. */
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer as createHttpServer, type Server } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { describe, expect, test } from "vitest";
import { type ClientOptions, WebSocket, WebSocketServer } from "ws";
import { certificate, certificateFile } from "../kit/certificates.ts";
import { eventually } from "../kit/eventually.ts";
import { field } from "../kit/message.ts";
import { ok, scriptedOrigin, step } from "../kit/origin.ts";
import { startProxy, type TestProxy } from "../kit/proxy.ts";
import { rawClient } from "../kit/raw-client.ts";

/** RFC 6455 §1.3. */
const acceptOf = (key: string): string =>
  createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");

const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const OPCODE = { text: 0x1, close: 0x8, ping: 0x9, pong: 0xa } as const;

/** A final frame with fewer than 126 bytes; the application's are masked (RFC 6455 §5.2). */
function frame(opcode: number, payload: Buffer, mask: Buffer | null = null): Buffer {
  const head = Buffer.from([0x80 | opcode, (mask === null ? 0 : 0x80) | payload.length]);
  if (mask === null) return Buffer.concat([head, payload]);
  return Buffer.concat([head, mask, Buffer.from(payload.map((byte, at) => byte ^ mask[at % 4]!))]);
}

describe("frame by frame", () => {
  test("the handshake is the two ends' own, and frames pass as they are, masks and control frames too", async () => {
    const mask = randomBytes(4);
    const sent = [
      frame(OPCODE.text, Buffer.from("héllo"), mask),
      frame(OPCODE.ping, Buffer.from("p"), mask),
      frame(OPCODE.close, Buffer.from([0x03, 0xe8]), mask),
    ];
    const replies = [
      frame(OPCODE.text, Buffer.from("wörld")),
      frame(OPCODE.pong, Buffer.from("p")),
      frame(OPCODE.close, Buffer.from([0x03, 0xe8])),
    ];
    const arrived: Buffer[] = [];
    await using origin = await scriptedOrigin([
      step(async ({ peer, request }) => {
        const accept = acceptOf(field(request, "sec-websocket-key")!);
        await peer.write(
          `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\n`,
        );
        for (const [at, expected] of sent.entries()) {
          arrived.push(await peer.take(expected.length));
          await peer.write(replies[at]!);
        }
        peer.halfClose();
        return false;
      }),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(
      `GET http://${origin.authority}/chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${KEY}\r\nSec-WebSocket-Protocol: chat, superchat\r\n\r\n`,
    );
    const opened = await client.response();
    expect([opened.status, field(opened, "sec-websocket-accept")]).toEqual([101, acceptOf(KEY)]);
    expect([field(opened, "upgrade"), field(opened, "connection")]).toEqual(["websocket", "Upgrade"]);
    expect(field(opened, "sec-websocket-protocol")).toBe("chat");
    for (const [at, bytes] of sent.entries()) {
      await client.write(bytes);
      expect((await client.take(replies[at]!.length)).equals(replies[at]!)).toBe(true);
    }
    expect(await client.gone()).toBe("end");
    expect(Buffer.concat(arrived).equals(Buffer.concat(sent))).toBe(true);
    const [request] = origin.requests;
    expect(field(request!, "sec-websocket-version")).toBe("13");
    expect(field(request!, "sec-websocket-protocol")).toBe("chat, superchat");
  });

  test("a frame that comes right behind the 101 is not lost", async () => {
    const hello = frame(OPCODE.text, Buffer.from("hello"));
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        const head = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        await peer.write(Buffer.concat([Buffer.from(head), hello]));
        return false;
      }),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(
      `GET http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n`,
    );
    await client.until("\r\n\r\n");
    expect((await client.take(hello.length)).equals(hello)).toBe(true);
  });

  test("an origin that refuses with a body of its own is heard, and the connection goes on", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write(
          "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nno",
        );
        return true;
      }),
      ok("next"),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    const ask = (fields: string): string =>
      `GET http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\n${fields}\r\n`;
    const refused = await client.ask(ask("Upgrade: websocket\r\nConnection: Upgrade\r\n"));
    expect([refused.status, refused.body.toString()]).toEqual([426, "no"]);
    expect((await client.ask(ask(""))).body.toString()).toBe("next");
  });
});

/** A server that sends back every message as it came, and closes with the code that it was closed with. */
async function echoServer(
  tls: boolean,
): Promise<{ port: number; sockets: WebSocketServer } & AsyncDisposable> {
  const server: Server = tls ? createHttpsServer(certificate("server")) : createHttpServer();
  const sockets = new WebSocketServer({ server, perMessageDeflate: { threshold: 0 } });
  sockets.on("connection", (socket) => {
    socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    sockets,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets.clients) socket.terminate();
      sockets.close();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The connection inside a tunnel to `authority`. */
async function tunnelled(proxy: TestProxy, authority: string): Promise<Socket> {
  const client = await rawClient(proxy.port);
  await client.ask(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  client.socket.removeAllListeners("data");
  return client.socket;
}

/** A way to the server: its proxy, the client's URL and the client's connection. */
interface Way {
  readonly proxy: TestProxy;
  readonly url: string;
  readonly options: ClientOptions;
}

const destination = (port: number, more: object = {}) => ({
  policy: {
    destinations: [{ name: "ws", hosts: ["api.test"], upstream: { host: "127.0.0.1", port }, ...more }],
  },
});

const WAYS: readonly [string, boolean, (port: number) => Promise<Way>][] = [
  [
    "a destination's local port",
    false,
    async (port) => {
      const proxy = await startProxy(destination(port, { local_port: 1 }));
      return { proxy, url: `ws://127.0.0.1:${proxy.localPorts.get("ws")}/chat`, options: {} };
    },
  ],
  [
    "a local port, with TLS originated by the proxy",
    true,
    async (port) => {
      const tls = { originate: true, ca: certificateFile("ca") };
      const proxy = await startProxy(destination(port, { local_port: 1, tls }));
      return { proxy, url: `ws://127.0.0.1:${proxy.localPorts.get("ws")}/chat`, options: {} };
    },
  ],
  [
    "CONNECT to a port of clear text",
    false,
    async (port) => {
      const proxy = await startProxy();
      const socket = await tunnelled(proxy, `127.0.0.1:${port}`);
      return { proxy, url: `ws://127.0.0.1:${port}/chat`, options: { createConnection: () => socket } };
    },
  ],
  [
    "CONNECT with TLS inside",
    true,
    async (port) => {
      const proxy = await startProxy(destination(port));
      const socket = await tunnelled(proxy, "api.test:443");
      const secured = connectTls({ socket, servername: "api.test", ca: certificate("ca").cert });
      return { proxy, url: "wss://api.test/chat", options: { createConnection: () => secured } };
    },
  ],
];

describe.each(WAYS)("with ws, over %s:", (_, tls, way) => {
  test("messages of every kind come back, pings are answered, the close keeps its code and reason", async () => {
    await using server = await echoServer(tls);
    const { proxy, url, options } = await way(server.port);
    await using _proxy = proxy;
    const client = new WebSocket(url, "chat", options);
    await once(client, "open");
    expect(client.protocol).toBe("chat");
    expect(client.extensions).toContain("permessage-deflate");
    const messages = [
      Buffer.from("short"),
      Buffer.alloc(0),
      randomBytes(70_000),
      Buffer.alloc(1_500_000, "ab"),
    ];
    for (const message of messages) {
      const back = once(client, "message");
      client.send(message);
      expect(((await back)[0] as Buffer).equals(message)).toBe(true);
    }
    const back = once(client, "message");
    client.send("fräg", { fin: false });
    client.send("mént", { fin: true });
    expect(String((await back)[0])).toBe("frägmént");
    const pong = once(client, "pong");
    client.ping("are you there");
    expect(String((await pong)[0])).toBe("are you there");
    const [serverSide] = server.sockets.clients;
    const closed = once(serverSide!, "close");
    client.close(4001, "enough");
    expect((await closed).map(String)).toEqual(["4001", "enough"]);
    await eventually("the tunnel to be over", () => proxy.proxy.listener.open().tunnels === 0);
  });

  test("an origin that vanishes is an abnormal end (1006)", async () => {
    await using server = await echoServer(tls);
    const { proxy, url, options } = await way(server.port);
    await using _proxy = proxy;
    const client = new WebSocket(url, options);
    client.on("error", () => {});
    await once(client, "open");
    const [serverSide] = server.sockets.clients;
    const closed = once(client, "close");
    serverSide!.terminate();
    expect((await closed)[0]).toBe(1006);
    await eventually("the tunnel to be over", () => proxy.proxy.listener.open().tunnels === 0);
  });
});

test("with ws, an application that vanishes is an abnormal end for the origin", async () => {
  await using server = await echoServer(false);
  await using proxy = await startProxy(destination(server.port, { local_port: 1 }));
  const client = new WebSocket(`ws://127.0.0.1:${proxy.localPorts.get("ws")}/`);
  client.on("error", () => {});
  await once(client, "open");
  const [serverSide] = server.sockets.clients;
  const closed = once(serverSide!, "close");
  client.terminate();
  expect((await closed)[0]).toBe(1006);
});

test("with ws, both ends send at once and nothing is lost or put out of order", async () => {
  const count = 2000;
  await using server = await echoServer(false);
  await using proxy = await startProxy(destination(server.port, { local_port: 1 }));
  const client = new WebSocket(`ws://127.0.0.1:${proxy.localPorts.get("ws")}/`);
  await once(client, "open");
  const got: string[] = [];
  const all = new Promise<void>((resolve) => {
    client.on("message", (data) => {
      got.push(String(data));
      if (got.length === count) resolve();
    });
  });
  const sent = Array.from({ length: count }, (_, at) => `${at}:${"x".repeat(at % 300)}`);
  for (const message of sent) client.send(message);
  await all;
  expect(got).toEqual(sent);
  client.close();
  await once(client, "close");
});
