/** S15: memory is bounded by what is open, never by what a peer sends. Measured on the built program in a process of its own. */
import { describe, expect, test } from "vitest";
import { settled } from "../kit/eventually.ts";
import { ok, scriptedOrigin, step } from "../kit/origin.ts";
import { startProgram } from "../kit/program.ts";
import { get, post } from "../kit/proxy.ts";
import { askOnce, type Client, rawClient } from "../kit/raw-client.ts";

const MIB = 1024 * 1024;
/** Any request: what the process needs to answer one is no part of what is measured. */
const WARM_UP = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

describe.skipIf(process.platform !== "linux")("S15: (read from /proc, which only Linux has)", () => {
  test("S15: a reader that takes nothing of 64 MiB costs less than 48 MiB", async () => {
    const size = 64 * MIB;
    let sent = 0;
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
        const piece = Buffer.alloc(256 * 1024, 97);
        for (; sent < size; sent += piece.length) await peer.write(piece);
        return false;
      }),
    ]);
    await using program = await startProgram();
    await askOnce(program.port, WARM_UP);
    const before = program.resident();
    using client = await rawClient(program.port);
    client.pause();
    await client.write(get(origin));
    await settled(() => sent);
    expect(sent).toBeGreaterThan(0);
    expect(sent).toBeLessThan(size);
    expect(program.resident() - before).toBeLessThan(48 * MIB);
  });

  test("S15: 1 500 idle connections cost less than 150 MiB", async () => {
    await using program = await startProgram();
    await askOnce(program.port, WARM_UP);
    const before = program.resident();
    const clients: Client[] = [];
    try {
      for (let i = 0; i < 15; i++) {
        clients.push(...(await Promise.all(Array.from({ length: 100 }, () => rawClient(program.port)))));
      }
      // Served behind all of them, so that all have been accepted.
      await askOnce(program.port, WARM_UP);
      expect(program.resident() - before).toBeLessThan(150 * MIB);
    } finally {
      for (const client of clients) client.destroy();
    }
  });

  test("S15: three thousand calls over one connection leave nothing behind", async () => {
    await using program = await startProgram();
    await using origin = await scriptedOrigin([ok()]);
    const round = async (): Promise<void> => {
      using client = await rawClient(program.port);
      for (let i = 0; i < 500; i++) await client.ask(post(origin, "x"));
    };
    await round();
    const before = program.resident();
    for (let i = 0; i < 6; i++) await round();
    expect(program.resident() - before).toBeLessThan(40 * MIB);
  });

  test("S15: pipelines of small requests whose large answers nobody takes cost less than 100 times what was sent", async () => {
    const answerBytes = 15_000;
    const clientsCount = 50;
    const pipelined = 600;
    await using origin = await scriptedOrigin([ok("x".repeat(answerBytes))]);
    await using program = await startProgram();
    await askOnce(program.port, get(origin));
    const before = program.resident();
    const requests = get(origin).repeat(pipelined);
    const clients: Client[] = [];
    try {
      for (let i = 0; i < clientsCount; i++) {
        const client = await rawClient(program.port);
        clients.push(client);
        client.pause();
        void client.write(requests);
      }
      await settled(() => origin.requests.length);
      // Else everything had fitted into the kernel's buffers, and nothing was shown.
      expect(origin.requests.length).toBeLessThan(clientsCount * pipelined);
      const sentBytes = clientsCount * requests.length;
      expect(program.resident() - before).toBeLessThan(Math.min(100 * sentBytes, 128 * MIB));
    } finally {
      for (const client of clients) client.destroy();
    }
  });

  test("S15: heads that never end cost less than 100 times what was sent", async () => {
    await using program = await startProgram();
    await askOnce(program.port, WARM_UP);
    const before = program.resident();
    const clients: Client[] = [];
    const unfinished = `GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nX: ${"x".repeat(10_000)}`;
    try {
      for (let i = 0; i < 300; i++) {
        const client = await rawClient(program.port);
        clients.push(client);
        await client.write(unfinished);
      }
      await askOnce(program.port, WARM_UP);
      expect(program.resident() - before).toBeLessThan(Math.min(100 * 300 * unfinished.length, 64 * MIB));
    } finally {
      for (const client of clients) client.destroy();
    }
  });
});

test("with no descriptor left it refuses, lives, and serves again", async () => {
  await using origin = await scriptedOrigin([ok("alive")]);
  await using program = await startProgram({ filesMax: 64 });
  const clients: Client[] = [];
  for (let i = 0; i < 150; i++) {
    const client = await rawClient(program.port).catch(() => null);
    if (client === null) continue;
    clients.push(client);
    void client.write(get(origin));
  }
  await settled(() => clients.filter(({ parting }) => parting !== null).length);
  expect(clients.some(({ parting }) => parting !== null)).toBe(true);
  expect(program.alive).toBe(true);
  for (const client of clients) client.destroy();
  // The proxy sees the ends of all of them a moment later.
  for (;;) {
    const response = await askOnce(program.port, get(origin)).catch(() => null);
    if (response?.status === 200) break;
  }
  expect(program.alive).toBe(true);
});
