/** Over routes too, a subject that does not really pass on what it is given is found out before it is timed. */

import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { confirmation, headBytes, readHead } from "../../bench/load/bulk.ts";
import { ExchangeCourse } from "../../bench/load/exchange-course.ts";
import type { Route } from "../../bench/load/route.ts";
import { TunnelCourse } from "../../bench/load/tunnel-course.ts";
import type { RoutedSubject, RoutedSurroundings } from "../../bench/peers/routed-subject.ts";
import { seededRandom } from "../../bench/seed.ts";

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "outrider-routed-test-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

type Relay = (client: Socket, originPort: number) => void;

interface Scripted {
  readonly secureOrigin?: boolean;
  readonly addedHeaders?: readonly string[];
  readonly route?: (port: number, surroundings: RoutedSurroundings) => Route;
}

/** A subject in this process that handles each connection with `relay`. */
function subject(
  relay: Relay,
  { secureOrigin = false, addedHeaders = [], route = (port) => ({ port }) }: Scripted = {},
): RoutedSubject {
  return {
    name: "scripted",
    version: undefined,
    absence: undefined,
    addedHeaders,
    secureOrigin,
    share: 1,
    start: async (surroundings) => {
      const sockets = new Set<Socket>();
      const server = createServer((client) => {
        sockets.add(client);
        client.on("error", () => client.destroy());
        relay(client, surroundings.originPort);
      });
      await once(server.listen(0, "127.0.0.1"), "listening");
      const ended = once(server, "close").then(() => undefined);
      const stop = async () => {
        server.close();
        for (const socket of sockets) socket.destroy();
        await ended;
      };
      const { port } = server.address() as AddressInfo;
      const process_ = { port, pid: process.pid, ended, stderrTail: () => "its last words", stop };
      return { server: process_, route: route(port, surroundings) };
    },
  };
}

/** Passes bytes both ways, those back to the client changed by `edit`. */
function passing(edit: (chunk: Buffer) => Buffer = (chunk) => chunk): Relay {
  return (client, originPort) => {
    const upstream = connect(originPort, "127.0.0.1").on("error", () => client.destroy());
    client.pipe(upstream);
    upstream.on("data", (chunk) => client.write(edit(chunk)));
    client.on("close", () => upstream.destroy());
  };
}

/** Takes a CONNECT, whatever it names, answers with `reply`, and passes bytes from then on. */
function tunnelling(reply: string): Relay {
  return (client, originPort) => {
    client.once("data", () => {
      client.write(reply);
      if (reply.includes(" 200 ")) passing()(client, originPort);
    });
  };
}

/** Confirms what it takes as the origin would, and passes nothing on. */
const confirming: Relay = (client) => {
  let taken = Buffer.alloc(0);
  client.on("data", (chunk) => {
    taken = Buffer.concat([taken, chunk]);
    for (let end = headBytes; taken.length >= end; end = headBytes) {
      const { wish, bytes } = readHead(taken.subarray(0, headBytes));
      if (wish === "send") end += bytes;
      if (taken.length < end) return;
      taken = taken.subarray(end);
      client.write(confirmation);
    }
  });
};

const byTunnel = (port: number): Route => ({ port, tunnelTo: "localhost:1" });

describe("the course of tunnels", () => {
  const counts = { warmUpMb: 1, mb: 1, connects: 8, idle: 2 };
  let course: TunnelCourse;

  beforeAll(async () => {
    course = await TunnelCourse.open(folder, counts, 1);
  });
  afterAll(() => course[Symbol.asyncDispose]());

  test("accepts and measures a subject that passes bytes", async () => {
    const honest = subject(passing());
    await course.check(honest);
    expect(Object.keys(await course.round(honest)).sort()).toEqual([
      ...["connects_per_s", "cpu_us_per_connect", "cpu_us_per_mb", "down_mb_per_s"],
      ...["idle_connection_kb", "pss_kb", "rss_kb", "up_mb_per_s"],
    ]);
  });

  test("accepts a subject that passes bytes behind a CONNECT", async () => {
    await course.check(subject(tunnelling("HTTP/1.1 200 OK\r\n\r\n"), { route: byTunnel }));
  });

  test.each<[string, Relay, Scripted, string]>([
    [
      "changes a byte",
      passing((chunk) => (chunk.length > 1 ? Buffer.from(chunk).fill(0, 0, 8) : chunk)),
      {},
      "the bytes differ",
    ],
    ["closes", (client) => client.destroy(), {}, "scripted: "],
    [
      "refuses the tunnel",
      tunnelling("HTTP/1.1 403 Forbidden\r\n\r\n"),
      { route: byTunnel },
      "expected a tunnel, got",
    ],
    [
      "speaks before it is asked",
      tunnelling("HTTP/1.1 200 OK\r\n\r\nhello"),
      { route: byTunnel },
      "expected a tunnel, got",
    ],
    ["answers by itself", confirming, {}, "but the origin saw 0"],
  ])("refuses a subject that %s", async (_what, relay, scripted, message) => {
    await expect(course.check(subject(relay, scripted))).rejects.toThrow(message);
  });
});

describe.each(["http1", "http2"] as const)("the course of exchanges over %s", (protocol) => {
  const counts = { warmUp: 8, busy: 16, handshakes: protocol === "http1" ? 4 : 0, idle: 4, open: 4 };
  const streams = protocol === "http1" ? 1 : 4;
  const alpn = protocol === "http1" ? "http/1.1" : "h2";
  let course: ExchangeCourse;

  beforeAll(async () => {
    const shape = { protocol, connections: 2, streams };
    course = await ExchangeCourse.open(folder, shape, counts, seededRandom(1));
  });
  afterAll(() => course[Symbol.asyncDispose]());

  const secure: Scripted = {
    secureOrigin: true,
    route: (port, { certificates: { ca } }) => ({ port, tls: { ca, serverName: "localhost", alpn } }),
  };

  test("accepts and measures a subject that passes on what it gets, with TLS and without", async () => {
    for (const scripted of [{}, secure]) {
      const honest = subject(passing(), scripted);
      await course.check(honest);
      expect(await course.round(honest)).toMatchObject({
        requests_per_s: expect.any(Number),
        idle_connection_kb: expect.any(Number),
        open_exchange_kb: expect.any(Number),
      });
    }
  });

  const stranger: Scripted = {
    secureOrigin: true,
    route: (port, { certificates: { ca } }) => ({ port, tls: { ca, serverName: "other.example", alpn } }),
  };

  test.each<[string, Relay, Scripted, string]>([
    ["adds no header that it promised", passing(), { addedHeaders: ["traceparent"] }, "traceparent: "],
    ["shows the certificate of another name", passing(), stranger, "TLS failed: "],
    ["closes", (client) => client.destroy(), {}, "scripted: "],
    ["speaks no TLS", (client) => client.end("no"), secure, "scripted: "],
  ])(
    "refuses a subject that %s, with its name and what it wrote",
    async (_what, relay, scripted, message) => {
      const refused = course.check(subject(relay, scripted));
      await expect(refused).rejects.toThrow(message);
      await expect(refused).rejects.toThrow(/^scripted: .*; it wrote: its last words$/s);
    },
  );
});
