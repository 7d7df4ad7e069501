/**
 * Who takes slowly slows down who sends, from end to end, and who sends slowly is waited for (fault 23). Bodies of stated length:
 * `streaming.test.ts`; here everything else that flows, and many slow ones at once.
 */
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { eventually, settled, signal } from "../kit/eventually.ts";
import { answer, type OriginTurn, ok, type Step, scriptedOrigin, step } from "../kit/origin.ts";
import type { Peer } from "../kit/peer.ts";
import { startProgram } from "../kit/program.ts";
import { get, type ProxyOptions, startProxy } from "../kit/proxy.ts";
import { askOnce, type Client, rawClient } from "../kit/raw-client.ts";

const MIB = 1024 * 1024;
const BODY = Buffer.alloc(64 * MIB, Buffer.from(Array.from({ length: 65_521 }, (_, at) => (at * 31) & 0xff)));
/** Buffers of the system hold some 20 MiB over the two connections at most: what passes this was held by the proxy. */
const HELD_BYTES_MAX = 48 * MIB;

const hash = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const WHOLE = hash(BODY);

const chunks = (): Buffer => {
  const pieces: Buffer[] = [];
  for (let at = 0; at < BODY.length; at += MIB)
    pieces.push(Buffer.from(`${MIB.toString(16)}\r\n`), BODY.subarray(at, at + MIB), Buffer.from("\r\n"));
  return Buffer.concat([...pieces, Buffer.from("0\r\n\r\n")]);
};

/** Waits until `sender` gets nothing more away, and shows that it was held back early enough. */
async function expectHeldBack(sender: Peer): Promise<void> {
  const { socket } = sender;
  expect(await settled(() => socket.bytesWritten - socket.writableLength)).toBeLessThan(HELD_BYTES_MAX);
  expect(socket.writableLength).toBeGreaterThan(0);
}

const tunnelTo = (port: number): ProxyOptions => ({
  policy: { destinations: [{ name: "t", hosts: ["tunnel.test"], upstream: { host: "127.0.0.1", port } }] },
});
const CONNECT = "CONNECT tunnel.test:443 HTTP/1.1\r\nHost: tunnel.test:443\r\n\r\n";

/** Switches protocols, then does as `play` says. */
const upgraded = (play: (turn: OriginTurn) => Promise<boolean>): Step =>
  step(async (turn) => {
    await turn.peer.write("HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n");
    return play(turn);
  });

/** A byte stream to an origin that does as `play` says, through the proxy. */
interface Stream extends AsyncDisposable {
  readonly client: Client;
  /** The origin's side of it. */
  readonly far: () => Peer;
}

type Opener = (play: (turn: OriginTurn) => Promise<boolean>) => Promise<Stream>;

async function tunnel(play: (turn: OriginTurn) => Promise<boolean>): Promise<Stream> {
  const origin = await scriptedOrigin([step(play, "connect")]);
  const proxy = await startProxy(tunnelTo(origin.port));
  const client = await proxy.client();
  await client.write(CONNECT);
  await client.until("\r\n\r\n");
  return streamOf(client, origin, proxy);
}

async function upgrade(play: (turn: OriginTurn) => Promise<boolean>): Promise<Stream> {
  const origin = await scriptedOrigin([upgraded(play)]);
  const proxy = await startProxy();
  const client = await proxy.client();
  await client.write(get(origin, "/", "Connection: Upgrade\r\nUpgrade: raw\r\n"));
  await client.until("\r\n\r\n");
  return streamOf(client, origin, proxy);
}

const streamOf = (
  client: Client,
  origin: Awaited<ReturnType<typeof scriptedOrigin>>,
  proxy: AsyncDisposable,
): Stream => ({
  client,
  far: () => origin.connections[0]!,
  [Symbol.asyncDispose]: async () => {
    client.destroy();
    await proxy[Symbol.asyncDispose]();
    await origin[Symbol.asyncDispose]();
  },
});

describe.each<[string, Opener]>([
  ["a tunnel", tunnel],
  ["a connection that switched protocols", upgrade],
])("fault 23: %s", (_, open) => {
  test("whose application takes nothing holds the origin back, and loses nothing", async () => {
    const start = signal();
    await using stream = await open(async ({ peer }) => {
      await start.given;
      await peer.write(BODY);
      peer.halfClose();
      return false;
    });
    const { client, far } = stream;
    client.pause();
    start.give();
    await expectHeldBack(far());
    client.resume();
    expect(hash(await client.rest())).toBe(WHOLE);
  });

  test("whose origin takes nothing holds the application back, and loses nothing", async () => {
    const goOn = signal();
    await using stream = await open(async ({ peer }) => {
      peer.pause();
      await goOn.given;
      peer.resume();
      await peer.write(hash(await peer.rest()));
      peer.halfClose();
      return false;
    });
    const { client } = stream;
    const sent = client.write(BODY);
    await expectHeldBack(client);
    goOn.give();
    await sent;
    client.halfClose();
    expect((await client.rest()).toString()).toBe(WHOLE);
  });

  test("whose origin takes nothing still brings what the origin says", async () => {
    const goOn = signal();
    await using stream = await open(async ({ peer }) => {
      peer.pause();
      await goOn.given;
      await peer.write("still here");
      return false;
    });
    const { client } = stream;
    void client.write(BODY);
    await expectHeldBack(client);
    goOn.give();
    expect((await client.take(10)).toString()).toBe("still here");
  });
});

describe("fault 23: a body in chunks", () => {
  test("that the application does not take holds the origin back, and arrives whole in the end", async () => {
    const framed = chunks();
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        await peer.write(framed);
        return true;
      }),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    client.pause();
    await client.write(get(origin));
    await origin.connected(1);
    await expectHeldBack(origin.connections[0]!);
    client.resume();
    expect(hash((await client.response()).body)).toBe(WHOLE);
  });

  test("that the origin does not take holds the application back, and arrives whole in the end", async () => {
    const goOn = signal();
    await using origin = await scriptedOrigin([
      step(({ peer }) => {
        peer.pause();
        void goOn.given.then(() => peer.resume());
        return true;
      }, "connect"),
      ok(),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(
      `PUT http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`,
    );
    const sent = client.write(chunks());
    await origin.connected(1);
    await expectHeldBack(client);
    goOn.give();
    await sent;
    expect((await client.response()).status).toBe(200);
    expect(hash(origin.requests[0]!.body)).toBe(WHOLE);
  });
});

describe("fault 23: who sends slowly is waited for:", () => {
  test("an answer that takes an hour to come, byte by byte", async () => {
    const clock = new VirtualClock();
    const wanted = Array.from({ length: 80 }, () => signal());
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write(`HTTP/1.1 200 OK\r\nContent-Length: ${wanted.length}\r\n\r\n`);
        for (const one of wanted) {
          await one.given;
          await peer.write("x");
        }
        return true;
      }),
    ]);
    await using proxy = await startProxy({ clock });
    using client = await proxy.client();
    await client.write(get(origin));
    await client.until("\r\n\r\n");
    for (const one of wanted) {
      await clock.advance(50_000);
      one.give();
      await client.take(1);
    }
    expect(clock.now()).toBeGreaterThan(3600_000);
  });

  test("a request that takes an hour to come, byte by byte", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([answer("HTTP/1.1 204 No Content\r\n\r\n")]);
    await using proxy = await startProxy({ clock });
    using client = await proxy.client();
    const bytes = 80;
    await client.write(
      `PUT http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\nContent-Length: ${bytes}\r\n\r\n`,
    );
    await origin.connected(1);
    const [peer] = origin.connections;
    await peer!.seen("\r\n\r\n");
    for (let sent = 1; sent <= bytes; sent++) {
      await clock.advance(50_000);
      await client.write("y");
      await peer!.seen(`\r\n\r\n${"y".repeat(sent)}`);
    }
    expect((await client.response()).status).toBe(204);
  });
});

describe.skipIf(process.platform !== "linux")(
  "fault 23: (memory is read from /proc, which only Linux has)",
  () => {
    test("fault 23: twenty applications that take nothing of 64 MiB each cost less than 192 MiB, and a further call is answered", async () => {
      const readers = 20;
      const piece = BODY.subarray(0, MIB);
      await using origin = await scriptedOrigin([
        step(async ({ peer, request }) => {
          if (request.startLine.includes("/small")) {
            await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            return true;
          }
          await peer.write(`HTTP/1.1 200 OK\r\nContent-Length: ${BODY.length}\r\n\r\n`);
          for (let sent = 0; sent < BODY.length; sent += MIB) await peer.write(piece);
          return true;
        }),
      ]);
      await using program = await startProgram();
      await askOnce(program.port, get(origin, "/small"));
      const before = program.resident();
      const clients: Client[] = [];
      try {
        for (let at = 0; at < readers; at++) {
          const client = await rawClient(program.port);
          clients.push(client);
          client.pause();
          await client.write(get(origin, "/large"));
        }
        await eventually("all calls to be there", () => origin.requests.length === readers + 1);
        const leftOrigin = (): number =>
          origin.connections.reduce(
            (sum, { socket }) => sum + socket.bytesWritten - socket.writableLength,
            0,
          );
        expect(await settled(leftOrigin)).toBeLessThan(readers * HELD_BYTES_MAX);
        expect((await askOnce(program.port, get(origin, "/small"))).body.toString()).toBe("ok");
        expect(program.resident() - before).toBeLessThan(192 * MIB);
        clients[0]!.resume();
        await clients[0]!.until("\r\n\r\n");
        expect((await clients[0]!.take(BODY.length)).length).toBe(BODY.length);
      } finally {
        for (const client of clients) client.destroy();
      }
    });
  },
);
