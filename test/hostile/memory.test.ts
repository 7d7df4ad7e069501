/** S15: memory is bounded by what is open, never by what a peer sends. Measured on the built program in a process of its own. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { compiledText } from "../../src/config/compile.ts";
import { ok, scriptedOrigin, step } from "../kit/origin.ts";
import { get, post, testConfig } from "../kit/proxy.ts";
import { askOnce, type Client, rawClient } from "../kit/raw-client.ts";
import { eventually } from "../platform/conformance/kit/emulate.ts";

const MIB = 1024 * 1024;

interface Program extends AsyncDisposable {
  readonly port: number;
  /** Resident bytes. */
  resident(): number;
}

async function startProgram(): Promise<Program> {
  const folder = mkdtempSync(join(tmpdir(), "outrider-memory-"));
  writeFileSync(join(folder, "p.json"), compiledText(testConfig({})));
  const args = [
    "--max-semi-space-size=4",
    "--single-threaded-gc",
    resolve("dist/outrider.js"),
    "run",
    "--port",
    "0",
    "--config",
  ];
  const child = spawn(process.execPath, [...args, join(folder, "p.json")], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.on("data", (chunk) => (said += chunk));
  const exited = new Promise((done) => child.once("exit", done));
  const port = await eventually(() => Number(/ on http:\/\/127\.0\.0\.1:(\d+)/.exec(said)?.[1]) || undefined);
  return {
    port,
    resident: () =>
      Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, "latin1"))![1]) * 1024,
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

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
    await askOnce(program.port, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    const before = program.resident();
    using client = await rawClient(program.port);
    client.pause();
    await client.write(get(origin));
    // It has stalled when nothing more was sent for a while.
    let seen = -1;
    await eventually(async () => {
      const still = sent === seen && sent > 0;
      seen = sent;
      await new Promise((later) => setTimeout(later, 200));
      return still && sent === seen ? true : undefined;
    });
    expect(sent).toBeLessThan(size);
    expect(program.resident() - before).toBeLessThan(48 * MIB);
  });

  test("S15: 1 500 idle connections cost less than 150 MiB", async () => {
    await using program = await startProgram();
    await askOnce(program.port, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    const before = program.resident();
    const clients: Client[] = [];
    try {
      for (let i = 0; i < 15; i++) {
        clients.push(...(await Promise.all(Array.from({ length: 100 }, () => rawClient(program.port)))));
      }
      // Served behind all of them, so that all have been accepted.
      await askOnce(program.port, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
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
});
