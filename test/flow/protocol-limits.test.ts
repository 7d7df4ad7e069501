/** Limits of what is not a head: buffers, handshakes, streams, tunnels. What happens at each is what docs/limits.md says. */
import { once } from "node:events";
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from "node:http2";
import { expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { eventually, passUntil, settled } from "../kit/eventually.ts";
import { type Origin, ok, scriptedOrigin, silence, step } from "../kit/origin.ts";
import { get, startProxy, type TestProxy } from "../kit/proxy.ts";
import type { Client } from "../kit/raw-client.ts";

const MIB = 1024 * 1024;

/** Answers `/large` with more than all buffers on the way hold, and anything else with "ok". */
const largeOrSmall = () =>
  step(async ({ peer, request }) => {
    if (!request.startLine.includes("/large")) {
      await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
      return true;
    }
    await peer.write(`HTTP/1.1 200 OK\r\nContent-Length: ${64 * MIB}\r\n\r\n`);
    const piece = Buffer.alloc(256 * 1024, 97);
    for (let sent = 0; sent < 64 * MIB; sent += piece.length) await peer.write(piece);
    return true;
  });

/** Clients that ask for a large answer and take none of it; resolves when nothing moves any more. */
async function slowReaders(proxy: TestProxy, origin: Origin, count: number): Promise<Client[]> {
  const clients: Client[] = [];
  for (let i = 0; i < count; i++) {
    const client = await proxy.client();
    client.pause();
    await client.write(get(origin, "/large"));
    clients.push(client);
  }
  await eventually("every call to arrive", () => origin.requests.length === count);
  await settled(() => origin.connections.reduce((sum, { socket }) => sum + socket.bytesWritten, 0));
  return clients;
}

test("limits.exchange_buffer holds an answer back until it is taken, so that a few slow readers fill no memory", async () => {
  const clock = new VirtualClock();
  await using origin = await scriptedOrigin([largeOrSmall()]);
  const limits = { exchange_buffer: "16KiB", total_buffer: "1MiB" };
  await using proxy = await startProxy({ clock, policy: { limits } });
  const clients = await slowReaders(proxy, origin, 4);
  await clock.advance(1000);
  expect((await proxy.get(origin)).status).toBe(200);
  for (const client of clients) client.destroy();
});

test("limits.total_buffer refuses new calls while more than it waits, and takes them again when it is taken", async () => {
  const clock = new VirtualClock();
  await using origin = await scriptedOrigin([largeOrSmall()]);
  const limits = { exchange_buffer: "512KiB", total_buffer: "1MiB" };
  await using proxy = await startProxy({ clock, policy: { limits } });
  const clients = await slowReaders(proxy, origin, 4);
  await clock.advance(1000);
  const refused = await proxy.get(origin);
  expect([refused.status, refused.fields.find(([name]) => name === "Outrider-Error")?.[1]]).toEqual([
    503,
    "OVERLOADED",
  ]);
  expect(origin.requests).toHaveLength(4);
  for (const client of clients) client.destroy();
  await eventually("the connections to close", () => proxy.proxy.listener.open().connections === 0);
  const { value } = await passUntil(
    clock,
    (async () => {
      for (;;) {
        const answer = await proxy.get(origin);
        if (answer.status === 200) return answer;
      }
    })(),
  );
  expect(value.body.toString()).toBe("ok");
});

test("limits.tunnel_idle breaks a tunnel through which nothing passes, on both sides, and no other", async () => {
  const clock = new VirtualClock();
  await using origin = await scriptedOrigin([
    step(async ({ peer }) => {
      peer.socket.pipe(peer.socket);
      return false;
    }, "connect"),
  ]);
  await using proxy = await startProxy({ clock, policy: { limits: { tunnel_idle: "30s" } } });
  const tunnel = async (): Promise<Client> => {
    const client = await proxy.client();
    await client.write(`CONNECT ${origin.authority} HTTP/1.1\r\nHost: ${origin.authority}\r\n\r\n`);
    await client.until("\r\n\r\n");
    // Not the beginning of HTTP or TLS, so that the tunnel is a blind one.
    await client.write("\u0001hello");
    await client.until("hello");
    return client;
  };
  using idle = await tunnel();
  using busy = await tunnel();
  const gone = idle.gone();
  let left = false;
  void gone.then(() => (left = true));
  for (let seconds = 0; !left && seconds < 120; seconds += 10) {
    await clock.advance(10_000);
    await busy.write("ping");
    await busy.until("ping");
  }
  expect(await gone).toBe("reset");
  expect(await origin.connections[0]!.gone()).toBe("reset");
  await busy.write("still here");
  await busy.until("still here");
});

test("limits.handshake_timeout ends a TLS handshake that the application does not go on with", async () => {
  const clock = new VirtualClock();
  await using origin = await scriptedOrigin([ok()]);
  await using proxy = await startProxy({
    clock,
    policy: {
      limits: { handshake_timeout: "5s" },
      destinations: [{ name: "seen", hosts: ["127.0.0.1"], tls: { intercept: true } }],
    },
  });
  using client = await proxy.client();
  await client.write(`CONNECT ${origin.authority} HTTP/1.1\r\nHost: ${origin.authority}\r\n\r\n`);
  await client.until("\r\n\r\n");
  // The head of a TLS record that announces a ClientHello, and nothing of it.
  await client.write(Buffer.from("1603010200010001fc0303", "hex"));
  const { elapsedMs } = await passUntil(clock, client.gone());
  expect(elapsedMs).toBeGreaterThanOrEqual(4000);
  expect(elapsedMs).toBeLessThan(60_000);
  expect(origin.connections).toHaveLength(0);
});

test("limits.streams is told to the application, and holds for calls at once, not for all of them", async () => {
  await using origin = await scriptedOrigin([silence()]);
  await using proxy = await startProxy({
    policy: {
      limits: { streams: 2 },
      destinations: [
        {
          name: "local",
          hosts: ["127.0.0.1"],
          http_version: "http1",
          local_port: 9001,
          upstream: { host: "127.0.0.1", port: origin.port },
        },
      ],
    },
  });
  const session = connect(`http://127.0.0.1:${proxy.localPorts.get("local")}`);
  try {
    await once(session, "remoteSettings");
    expect(session.remoteSettings.maxConcurrentStreams).toBe(2);
    const held = [opened(session), opened(session)];
    await eventually("two calls to arrive", () => origin.requests.length === 2);
    // A client keeps to what it was told: the third waits in it.
    const third = opened(session);
    await settled(() => origin.requests.length);
    expect(origin.requests).toHaveLength(2);
    third.close(constants.NGHTTP2_CANCEL);
    held[0]!.close(constants.NGHTTP2_CANCEL);
    await origin.connections[0]!.gone();
    opened(session);
    await eventually("the next call to arrive", () => origin.requests.length === 3);
  } finally {
    session.destroy();
  }
});

function opened(session: ClientHttp2Session): ClientHttp2Stream {
  const stream = session.request({ ":path": "/" });
  stream.on("error", () => {});
  stream.end();
  return stream;
}
