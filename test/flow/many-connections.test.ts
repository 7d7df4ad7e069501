/**
 * Ten thousand connections at once (fault 21), through the built program in a process of its own. The applications are processes of
 * their own too: one process may not hold both ends.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { scriptedOrigin, step } from "../kit/origin.ts";
import { type Program, startProgram } from "../kit/program.ts";
import { get } from "../kit/proxy.ts";
import { askOnce } from "../kit/raw-client.ts";

const CONNECTIONS = 10_000;
const PROCESSES = 4;
/** Open files that the program needs: the connections, a few of its own, and the pool. */
const FILES = CONNECTIONS + 1000;
const IDLE_BYTES_MAX = 30 * 1024;
/** A guard, never a measurement. */
const TEST_MS_MAX = 180_000;

/** What this machine lets a process open, at the most. */
const filesAllowed = (): number => {
  const said = execFileSync("/bin/sh", ["-c", "ulimit -Hn"], { encoding: "latin1" }).trim();
  return said === "unlimited" ? Number.POSITIVE_INFINITY : Number(said);
};

/** A process that opens `count` connections to `port`, sends `request` on each, and reports when all have been answered. */
class Crowd implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;

  constructor(port: number, count: number, request: string) {
    const script = fileURLToPath(new URL("../kit/crowd.ts", import.meta.url));
    this.#child = spawn(process.execPath, [script, String(port), String(count), request], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    this.#exited = once(this.#child, "exit");
  }

  /** Resolves with how many of its connections have got their answer and are still open. */
  async standing(): Promise<number> {
    const [count] = (await Promise.race([
      once(this.#child, "message"),
      this.#exited.then(() => Promise.reject(new Error("the crowd's process ended"))),
    ])) as [number];
    return count;
  }

  /** Asks for the number again. */
  stillStanding(): Promise<number> {
    this.#child.send("count");
    return this.standing();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exited;
  }
}

const sum = (counts: readonly number[]): number => counts.reduce((total, count) => total + count, 0);

async function withCrowds(program: Program, request: string, act: (crowds: Crowd[]) => Promise<void>) {
  const crowds = Array.from(
    { length: PROCESSES },
    () => new Crowd(program.port, CONNECTIONS / PROCESSES, request),
  );
  try {
    expect(sum(await Promise.all(crowds.map((crowd) => crowd.standing())))).toBe(CONNECTIONS);
    await act(crowds);
  } finally {
    await Promise.all(crowds.map((crowd) => crowd[Symbol.asyncDispose]()));
  }
}

const able = process.platform === "linux" && filesAllowed() >= FILES;

describe.skipIf(!able)(`fault 21: (needs Linux and ${FILES} open files: ulimit -n)`, () => {
  const policy = { limits: { connections: CONNECTIONS + 100 } };

  test(
    "fault 21: 10 000 idle connections cost less than 30 KiB each, and a further call is answered",
    async () => {
      await using origin = await scriptedOrigin([
        step(async ({ peer }) => {
          await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
          return true;
        }),
      ]);
      await using program = await startProgram({ policy, filesMax: FILES });
      await askOnce(program.port, get(origin));
      const before = program.resident();
      // Each connection has been used before it is idle.
      await withCrowds(program, get(origin), async (crowds) => {
        const each = (program.resident() - before) / CONNECTIONS;
        expect(each).toBeLessThan(IDLE_BYTES_MAX);
        for (let call = 0; call < 20; call++) {
          expect((await askOnce(program.port, get(origin))).body.toString()).toBe("ok");
        }
        expect(sum(await Promise.all(crowds.map((crowd) => crowd.stillStanding())))).toBe(CONNECTIONS);
      });
      expect(program.alive).toBe(true);
      expect((await askOnce(program.port, get(origin))).status).toBe(200);
    },
    TEST_MS_MAX,
  );

  test(
    "fault 21: one connection more than limits.connections is told so, and those that are open go on",
    async () => {
      await using origin = await scriptedOrigin([
        step(async ({ peer }) => {
          await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
          return true;
        }),
      ]);
      const full = { limits: { connections: CONNECTIONS } };
      await using program = await startProgram({ policy: full, filesMax: FILES });
      await withCrowds(program, get(origin), async (crowds) => {
        expect((await askOnce(program.port, get(origin))).status).toBe(503);
        expect(sum(await Promise.all(crowds.map((crowd) => crowd.stillStanding())))).toBe(CONNECTIONS);
      });
      expect(program.alive).toBe(true);
    },
    TEST_MS_MAX,
  );
});
