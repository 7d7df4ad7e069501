/** The connection to the store against a server that does what the test says. */
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { StoreError, storeAddress } from "../../src/fleet/store.ts";
import { eventually } from "../kit/eventually.ts";
import { freePort, storeAt } from "./redis.ts";

const TIMEOUT_MS = 100;

/** A server whose connections hand each chunk to `answer`. */
async function server(answer: (chunk: string, socket: Socket, connection: number) => void) {
  const sockets: Socket[] = [];
  const received: string[] = [];
  const listening = createServer((socket) => {
    sockets.push(socket);
    const connection = sockets.length;
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      received.push(chunk.toString());
      answer(chunk.toString(), socket, connection);
    });
  }).listen(0, "127.0.0.1");
  await once(listening, "listening");
  return {
    port: (listening.address() as AddressInfo).port,
    sockets,
    received,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      listening.close();
    },
  };
}

/** A store whose time is virtual, and what is said about it. */
function storeOn(port: number, clock = new VirtualClock(), password = "", database = "") {
  const said: string[] = [];
  const report = (sentence: string): void => void said.push(sentence);
  const options = { clock, password, timeoutMs: TIMEOUT_MS, report };
  return Object.assign(storeAt(`redis://127.0.0.1:${port}${database}`, options), { said });
}

const OK = (_chunk: string, socket: Socket): void => void socket.write("+OK\r\n");

describe("the address of a store", () => {
  test.each([
    ["redis://cache.internal", "cache.internal", 6379, false, 0],
    ["rediss://cache.internal:7000/3", "cache.internal", 7000, true, 3],
    ["redis://[fd00::1]:6380", "fd00::1", 6380, false, 0],
  ])("%s", (text, host, port, tls, database) => {
    expect(storeAddress(text, "secret")).toEqual({ host, port, tls, database, password: "secret" });
  });
});

describe("the connection to the store", () => {
  test("is made with the first command, which waits for nothing else", async () => {
    await using redis = await server(OK);
    const store = storeOn(redis.port);
    expect(redis.sockets).toHaveLength(0);
    expect(await store.command("PING")).toBe("OK");
    expect(redis.received).toEqual(["*1\r\n$4\r\nPING\r\n"]);
    store.close();
  });

  test("begins with the password and the database", async () => {
    await using redis = await server((chunk, socket) =>
      socket.write("+OK\r\n".repeat(chunk.split("*").length - 1)),
    );
    const store = storeOn(redis.port, new VirtualClock(), "hush", "/3");
    expect(await store.command("PING")).toBe("OK");
    const auth = "*2\r\n$4\r\nAUTH\r\n$4\r\nhush\r\n";
    expect(redis.received.join("")).toBe(`${auth}*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n*1\r\n$4\r\nPING\r\n`);
    store.close();
  });

  test("is given up when the password is refused, without a word of it", async () => {
    await using redis = await server((_chunk, socket) => socket.write("-WRONGPASS invalid\r\n-NOAUTH\r\n"));
    const store = storeOn(redis.port, new VirtualClock(), "hush");
    await expect(store.command("PING")).rejects.toThrow(/^refused: WRONGPASS invalid$/);
    await expect(store.command("PING")).rejects.toThrow("it failed a moment ago");
    expect(store.said.join()).not.toContain("hush");
  });

  test("carries many commands at once, whose replies come in their order", async () => {
    let number = 0;
    await using redis = await server((chunk, socket) => {
      for (const _ of chunk.matchAll(/\*/g)) socket.write(`:${number++}\r\n`);
    });
    const store = storeOn(redis.port);
    const replies = await Promise.all(Array.from({ length: 100 }, () => store.command("INCR", "a")));
    expect(replies).toEqual(Array.from({ length: 100 }, (_, at) => at));
    expect(redis.sockets).toHaveLength(1);
    store.close();
  });

  test("is given up with all its commands when one has no reply in time, and made anew after a pause", async () => {
    const clock = new VirtualClock();
    await using redis = await server((chunk, socket, connection) => connection > 1 && OK(chunk, socket));
    const store = storeOn(redis.port, clock);
    const commands = [store.command("GET", "a"), store.command("GET", "b")].map((command) =>
      expect(command).rejects.toThrow(`no reply in ${TIMEOUT_MS} ms`),
    );
    await eventually("the commands to arrive", () => redis.received.join("").includes("b"));
    await clock.advance(TIMEOUT_MS);
    await Promise.all(commands);
    await expect(store.command("GET", "c")).rejects.toThrow(StoreError);
    expect(redis.sockets).toHaveLength(1);
    await clock.advance(50);
    expect(await store.command("GET", "d")).toBe("OK");
    expect(store.said).toEqual([
      `fleet.store cannot be used: no reply in ${TIMEOUT_MS} ms. fleet.on_failure decides until it can.`,
      "fleet.store answers again.",
    ]);
    expect(clock.untilNext()).toBeNull();
    store.close();
  });

  test("is tried less and less often while the store is away, and a freeze counts as a pause", async () => {
    const clock = new VirtualClock();
    const store = storeOn(await freePort(), clock);
    const message = () => store.command("PING").then(String, (error) => error.message);
    const tries: number[] = [];
    for (let ms = 0; ms < 2000; ms += 10) {
      if ((await message()) === "ECONNREFUSED") tries.push(clock.now());
      await clock.advance(10);
    }
    expect(tries).toEqual([0, 50, 150, 350, 750, 1550]);
    expect(store.said).toEqual([
      "fleet.store cannot be used: ECONNREFUSED. fleet.on_failure decides until it can.",
    ]);
    await clock.advance(900_000);
    expect(await message()).toBe("ECONNREFUSED");
  });

  test("is given up when the server speaks something else", async () => {
    await using redis = await server((_chunk, socket) => socket.write("HTTP/1.1 400 Bad Request\r\n\r\n"));
    const store = storeOn(redis.port);
    await expect(store.command("PING")).rejects.toThrow("a reply begins with none of");
  });

  test("takes no more than 512 commands without a reply", async () => {
    await using redis = await server(() => {});
    const store = storeOn(redis.port);
    const waiting = Array.from({ length: 512 }, () => store.command("PING").catch((error) => error.message));
    await expect(store.command("PING")).rejects.toThrow("512 commands wait for it already");
    store.close();
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(["the connection was given up"]));
  });

  test("survives that the store closes it while it is idle", async () => {
    const clock = new VirtualClock();
    await using redis = await server(OK);
    const store = storeOn(redis.port, clock);
    await store.command("PING");
    const first = redis.sockets[0]!;
    first.destroy();
    await clock.advance(50);
    const reply = () => store.command("PING").catch(() => null);
    // Its end may not have come yet: then this command fails, and the one after the pause does not.
    if ((await reply()) === null) await clock.advance(100);
    expect(await reply()).toBe("OK");
    store.close();
  });
});
