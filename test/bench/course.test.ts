/** A subject that does not really forward is found out before it is timed. */

import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Course } from "../../bench/load/course.ts";
import type { Subject, Surroundings } from "../../bench/peers/subject.ts";
import { seededRandom } from "../../bench/seed.ts";

let folder: string;
let course: Course;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "outrider-course-test-"));
  course = await Course.open(folder, seededRandom(1));
});
afterAll(async () => {
  await course[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

type Relay = (client: Socket, surroundings: Surroundings) => void;

/** A subject in this process that handles each connection with `relay`. */
function subject(relay: Relay, addedHeaders: readonly string[] = []): Subject {
  return {
    name: "scripted",
    form: "origin",
    version: undefined,
    absence: undefined,
    addedHeaders,
    start: async (surroundings) => {
      const sockets = new Set<Socket>();
      const server: Server = createServer((client) => {
        sockets.add(client);
        client.on("error", () => client.destroy());
        relay(client, surroundings);
      });
      await once(server.listen(0, "127.0.0.1"), "listening");
      const ended = once(server, "close").then(() => undefined);
      const stop = async () => {
        server.close();
        for (const socket of sockets) socket.destroy();
        await ended;
      };
      const { port } = server.address() as AddressInfo;
      return { port, pid: process.pid, ended, stderrTail: () => "its last words", stop };
    },
  };
}

/** Forwards every chunk, changed by `edit` on the way to the origin and by `editBack` on the way back. */
function forwarding(
  edit: (text: string) => string,
  editBack: (text: string) => string = (text) => text,
): Relay {
  return (client, { originPort }) => {
    const upstream = connect(originPort, "127.0.0.1").on("error", () => client.destroy());
    client.on("data", (chunk) => upstream.write(edit(chunk.toString("latin1"))));
    upstream.on("data", (chunk) => client.write(editBack(chunk.toString("latin1"))));
    client.on("close", () => upstream.destroy());
  };
}

const unchanged = (text: string) => text;

const counts = { warmUp: 64, busy: 128, single: 8, turns: 3 };

test("a subject that forwards is accepted and measured", async () => {
  const honest = subject(forwarding(unchanged));
  await course.check(honest);
  const names = ["cpu_us_per_request", "requests_per_s", "p99_us", "pss_kb", "rss_kb"];
  expect(Object.keys(await course.underLoad(honest, counts))).toEqual(names);
});

test("subjects take turns over one connection while all of them run, each once in a turn", async () => {
  let live = 0;
  let liveMax = 0;
  const honest = [subject(forwarding(unchanged)), subject(forwarding(unchanged))].map((one) => ({
    ...one,
    start: async (surroundings: Surroundings) => {
      const server = await one.start(surroundings);
      liveMax = Math.max(liveMax, ++live);
      return server && { ...server, stop: () => server.stop().then(() => void live--) };
    },
  }));
  const turns = await course.inTurns(honest, counts, seededRandom(1));
  expect(turns.map((turn) => honest.map((one) => turn.get(one)))).toEqual(
    Array(counts.turns).fill([expect.any(Number), expect.any(Number)]),
  );
  expect({ live, liveMax }).toEqual({ live: 0, liveMax: 2 });
});

test("of subjects that take turns, the one that fails is named", async () => {
  const honest = { ...subject(forwarding(unchanged)), name: "honest" };
  const closing = subject((client) => client.destroy());
  const turns = course.inTurns([honest, closing], counts, seededRandom(1));
  await expect(turns).rejects.toThrow(/^scripted: /);
});

test("a subject that adds the headers it promised is accepted", async () => {
  const tracing = forwarding((text) => text.replace("Accept:", "traceparent: 00-1-2-01\r\nAccept:"));
  await course.check(subject(tracing, ["traceparent"]));
});

test.each<[string, Relay, string]>([
  [
    "changes the target",
    forwarding((text) => text.replace("?expand=lines", "")),
    "GET /orders/1234?expand=lines",
  ],
  [
    "drops the credentials",
    forwarding((text) => text.replace("Authorization", "X-Other")),
    "Authorization: Bearer",
  ],
  ["does not trace", forwarding(unchanged), "traceparent: "],
  [
    "changes the body",
    forwarding(unchanged, (text) => text.replace("order", "ordre")),
    "body of an answer differs",
  ],
  ["answers an error", (client) => client.end("HTTP/1.1 502 Bad Gateway\r\n\r\n"), "expected status 200"],
  ["closes", (client) => client.destroy(), "scripted: "],
])("a subject that %s is refused, with its name and what it wrote", async (_what, relay, message) => {
  const refused = course.check(subject(relay, ["traceparent"]));
  await expect(refused).rejects.toThrow(message);
  await expect(refused).rejects.toThrow(/^scripted: .*; it wrote: its last words$/s);
});

test("a subject that answers from a cache is refused, because the origin has not answered", async () => {
  let cached = "";
  const caching: Relay = (client, surroundings) => {
    if (cached) client.on("data", () => client.write(cached));
    else forwarding(unchanged, (text) => (cached = text))(client, surroundings);
  };
  await expect(course.check(subject(caching))).resolves.toBeUndefined();
  await expect(course.check(subject(caching))).rejects.toThrow("sent 64 requests, but the origin answered 0");
});
