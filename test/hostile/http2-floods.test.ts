/**
 * Floods of HTTP/2 (fault 28): each is sent as exact frames; the connection is closed or what it costs stays bounded, another client is
 * served meanwhile, and memory grows by less than 150 MiB.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "../kit/eventually.ts";
import {
  ACK,
  callHttp2,
  END_HEADERS,
  END_STREAM,
  type FrameClient,
  frameClient,
  getList,
  headerBlock,
  http2Session,
  NEWEST_ENTRY,
  NOTHING,
  postList,
  settings,
  uint32,
} from "../kit/http2-client.ts";
import { FRAME, frame } from "../kit/http2-origin.ts";
import { type Origin, ok, scriptedOrigin, step } from "../kit/origin.ts";
import { startProxy, type TestProxy } from "../kit/proxy.ts";

const HOST = "app.test";
const GROWTH_BYTES_MAX = 150 * 1024 * 1024;
/** SETTINGS_INITIAL_WINDOW_SIZE. */
const INITIAL_WINDOW_SIZE = 4;
const ENHANCE_YOUR_CALM = 11;

let origin: Origin;
let large: Origin;
let proxy: TestProxy;
let port: number;
let largePort: number;
beforeAll(async () => {
  origin = await scriptedOrigin([ok("fine")]);
  const piece = Buffer.alloc(64 * 1024, "x");
  large = await scriptedOrigin([
    step(async ({ peer }) => {
      await peer.write(`HTTP/1.1 200 OK\r\nContent-Length: ${512 * piece.length}\r\n\r\n`);
      for (let sent = 0; sent < 512 && peer.parting === null; sent++) await peer.write(piece);
      return false;
    }),
  ]);
  const at = ({ port }: Origin) => ({ host: "127.0.0.1", port });
  proxy = await startProxy({
    policy: {
      destinations: [
        { name: "small", hosts: [HOST], local_port: 1024, http_version: "http1", upstream: at(origin) },
        {
          name: "large",
          hosts: ["large.test"],
          local_port: 1025,
          http_version: "http1",
          upstream: at(large),
        },
      ],
    },
  });
  port = proxy.localPorts.get("small")!;
  largePort = proxy.localPorts.get("large")!;
});
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
  await large[Symbol.asyncDispose]();
});

/** Another client is served. */
async function serves(): Promise<void> {
  const session = await http2Session(HOST, port);
  expect(await callHttp2(session, { ":path": "/other" })).toMatchObject({ status: 200, body: "fine" });
  session.destroy();
}

/** Runs `flood` on a connection of its own, another client beside it, and weighs. */
async function survives(
  flood: (client: FrameClient) => Promise<void>,
  { port: target = port, window = null as number | null } = {},
): Promise<FrameClient> {
  const before = process.memoryUsage.rss();
  using client = await frameClient(
    target,
    ...(window === null ? [] : [[INITIAL_WINDOW_SIZE, window] as const]),
  );
  await client.roundTrip();
  await Promise.all([flood(client), serves()]);
  await serves();
  expect(process.memoryUsage.rss() - before).toBeLessThan(GROWTH_BYTES_MAX);
  return client;
}

/** Writes `batch` again and again until the connection is closed, or `count` times. */
async function repeat(client: FrameClient, count: number, batch: (index: number) => Buffer): Promise<void> {
  for (let index = 0; index < count && !client.closed; index++) await client.write(batch(index));
}

const BATCH = 100;
const many = (one: (index: number) => Buffer, base = 0): Buffer =>
  Buffer.concat(Array.from({ length: BATCH }, (_, index) => one(base + index)));

describe("fault 28: floods of HTTP/2", () => {
  test("fault 28: rapid reset closes the connection", async () => {
    const block = headerBlock(getList(HOST, "/reset"));
    const client = await survives(async (flooding) => {
      await repeat(flooding, 200, (batch) =>
        many((index) => {
          const stream = 2 * (batch * BATCH + index) + 1;
          return Buffer.concat([
            frame(FRAME.headers, END_HEADERS | END_STREAM, stream, block),
            frame(FRAME.rst, 0, stream, uint32(8)),
          ]);
        }),
      );
      await flooding.until("the end of the connection", () => flooding.closed);
    });
    expect(client.closed).toBe(true);
    expect(origin.requests.filter(({ startLine }) => startLine.includes("/reset")).length).toBeLessThan(1200);
  });

  test("fault 28: streams over limits.streams are refused, and then the connection is closed", async () => {
    const block = headerBlock(postList(HOST, "/open"));
    const client = await survives(async (flooding) => {
      await repeat(flooding, 10, (batch) =>
        many((index) => frame(FRAME.headers, END_HEADERS, 2 * (batch * BATCH + index) + 1, block)),
      );
      await flooding.until("the end of the connection", () => flooding.closed);
    });
    expect(client.closed).toBe(true);
  });

  test("fault 28: endless CONTINUATION closes the connection", async () => {
    const client = await survives(async (flooding) => {
      await flooding.write(frame(FRAME.headers, END_STREAM, 1, headerBlock(getList(HOST, "/more"))));
      await repeat(flooding, 1000, () =>
        many(() => frame(FRAME.continuation, 0, 1, headerBlock([["x-a", "1"]]))),
      );
      await flooding.until("the end of the connection", () => flooding.closed);
    });
    expect(client.closed).toBe(true);
    expect(origin.received).not.toContain("/more");
  });

  test("fault 28: CONTINUATION without content closes the connection", async () => {
    const client = await survives(async (flooding) => {
      await flooding.write(frame(FRAME.headers, END_STREAM, 1, headerBlock(getList(HOST, "/more"))));
      await repeat(flooding, 1000, () => many(() => frame(FRAME.continuation, 0, 1, NOTHING)));
      await flooding.until("the end of the connection", () => flooding.closed);
    });
    expect(client.closed).toBe(true);
  });

  test("fault 28: SETTINGS without end, their acknowledgements never read", async () => {
    await survives(async (flooding) => {
      flooding.socket.pause();
      await flood(
        flooding,
        many(() => settings([INITIAL_WINDOW_SIZE, 65_535])),
      );
      flooding.socket.resume();
      await flooding.until("the end of the connection", () => flooding.closed);
    });
  });

  test("fault 28: PING without end, their answers never read", async () => {
    await survives(async (flooding) => {
      flooding.socket.pause();
      await flood(
        flooding,
        many(() => frame(FRAME.ping, 0, 0, Buffer.alloc(8))),
      );
      flooding.socket.resume();
      await flooding.until("the end of the connection", () => flooding.closed);
    });
  });

  test("fault 28: PING and SETTINGS as fast as they can be written, their answers read", async () => {
    const both = many(() => Buffer.concat([settings(), frame(FRAME.ping, 0, 0, Buffer.alloc(8))]));
    await survives((flooding) => repeat(flooding, 300, () => both));
  });

  test("fault 28: a SETTINGS frame with more entries than anybody needs closes the connection", async () => {
    const client = await survives(async (flooding) => {
      await flooding.write(
        settings(...Array.from({ length: 1000 }, () => [INITIAL_WINDOW_SIZE, 65_535] as const)),
      );
      await flooding.until("the end of the connection", () => flooding.closed);
    });
    expect(client.closed).toBe(true);
  });

  test("fault 28: empty DATA without end closes the connection", async () => {
    const client = await survives(async (flooding) => {
      await flooding.headers(1, postList(HOST, "/empty"), false);
      await repeat(flooding, 1000, () => many(() => frame(FRAME.data, 0, 1, NOTHING)));
      await flooding.until("the end of the connection", () => flooding.closed);
    });
    expect(client.closed).toBe(true);
  });

  test("fault 28: an HPACK bomb is not inflated", async () => {
    const bomb = Buffer.concat([
      headerBlock(getList(HOST, "/bomb")),
      headerBlock([["x-bomb", "a".repeat(3900)]], true),
      ...Array.from({ length: 10_000 }, () => NEWEST_ENTRY),
    ]);
    const client = await survives(async (flooding) => {
      for (let stream = 1; stream < 400 && !flooding.closed; stream += 2) {
        await flooding.write(frame(FRAME.headers, END_HEADERS | END_STREAM, stream, bomb));
      }
      await flooding.until(
        "an end of the first",
        () => flooding.closed || flooding.of(FRAME.rst, 1).length > 0,
      );
    });
    expect(client.frames.some(({ type }) => type === FRAME.headers)).toBe(false);
    expect(origin.received).not.toContain("/bomb");
  });

  test.each([
    ["of nothing", uint32(0)],
    ["over what a window can be", uint32(0x7fffffff)],
  ])("fault 28: WINDOW_UPDATE %s closes the connection", async (_what, increment) => {
    const client = await survives(async (flooding) => {
      await flooding.write(frame(FRAME.window, 0, 0, increment));
      await flooding.until("the end of the connection", () => flooding.closed);
    });
    expect(client.goaway).not.toBeNull();
  });

  test("fault 28: windows that open by single bytes are served, or the connection is closed", async () => {
    await survives(
      async (flooding) => {
        await flooding.headers(1, getList("large.test", "/"));
        await repeat(flooding, 50, () => many(() => frame(FRAME.window, 0, 1, uint32(1))));
      },
      { port: largePort, window: 0 },
    );
  });

  test("fault 28: SETTINGS that open and shut all windows again and again", async () => {
    await survives(
      async (flooding) => {
        for (let stream = 1; stream < 100; stream += 2)
          await flooding.headers(stream, getList("large.test", "/"));
        await repeat(flooding, 50, () =>
          many((index) => settings([INITIAL_WINDOW_SIZE, index % 2 === 0 ? 0 : 1])),
        );
      },
      { port: largePort, window: 0 },
    );
  });

  test("fault 28: a hundred readers that take nothing of 32 MiB each", async () => {
    await survives(
      async (flooding) => {
        for (let stream = 1; stream < 200; stream += 2)
          await flooding.headers(stream, getList("large.test", "/"));
        await flooding.until(
          "all heads",
          () => flooding.frames.filter(({ type }) => type === FRAME.headers).length === 100,
        );
      },
      { port: largePort, window: 0 },
    );
    await eventually("the end of every call", () => proxy.proxy.listener.open().connections === 0);
  });

  test("fault 28: a connection that is not HTTP/2 behind its preface is closed", async () => {
    const client = await survives(async (flooding) => {
      await flooding.write(Buffer.from("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(10)));
      await flooding.until("the end of the connection", () => flooding.closed);
    });
    expect(client.closed).toBe(true);
  });

  test("fault 28: acknowledgements of SETTINGS that nobody sent", async () => {
    const client = await survives((flooding) =>
      repeat(flooding, 20, () => many(() => frame(FRAME.settings, ACK, 0, NOTHING))),
    );
    expect([null, 1, ENHANCE_YOUR_CALM]).toContain(client.goaway);
  });
});

/** Writes until the connection is closed, or what is written is not taken any more. */
async function flood(client: FrameClient, batch: Buffer): Promise<void> {
  for (let index = 0; index < 1000 && !client.closed; index++) {
    if (client.socket.write(batch)) continue;
    const drained = new Promise((resolve) => client.socket.once("drain", resolve));
    const stuck = new Promise((resolve) => setTimeout(resolve, 500, "stuck"));
    const left = new Promise((resolve) => client.socket.once("close", resolve));
    if ((await Promise.race([drained, stuck, left])) === "stuck") return;
  }
}
