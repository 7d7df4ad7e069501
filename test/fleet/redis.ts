/** A real redis-server in a process and a folder of its own, on a free port, which can be killed and started again. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, systemClock } from "../../src/clock.ts";
import { Reachability } from "../../src/fleet/reachability.ts";
import { RedisStore, storeAddress } from "../../src/fleet/store.ts";
import { missingCommand } from "../clients/needs.ts";
import { eventually } from "../kit/eventually.ts";

/** Why tests that need the server are skipped; `null` when they need not be. */
export const MISSING_REDIS = missingCommand("redis-server", "redis-server");

/** See the file's header. Made by `startRedis`. */
export class Redis implements AsyncDisposable {
  readonly port: number;
  readonly #folder = mkdtempSync(join(tmpdir(), "outrider-fleet-redis-"));
  readonly #options: Readonly<Record<string, string>>;
  #child: ChildProcess | null = null;

  constructor(port: number, options: Readonly<Record<string, string>>) {
    this.port = port;
    this.#options = options;
  }

  /** Resolves when it takes connections. */
  async start(): Promise<void> {
    const options = {
      port: String(this.port),
      bind: "127.0.0.1",
      save: "",
      dir: this.#folder,
      ...this.#options,
    };
    const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]);
    const child = spawn("redis-server", args, { stdio: ["ignore", "pipe", "pipe"], cwd: this.#folder });
    this.#child = child;
    let said = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (said += chunk));
    await eventually("redis-server to be ready", () => {
      if (child.exitCode !== null) throw new Error(`redis-server ended: ${said}`);
      return said.includes("Ready to accept connections");
    });
  }

  /** Ends it as a crash does: without a word to its clients. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** Starts one. `options`: further ones of redis.conf. */
export async function startRedis(options: Readonly<Record<string, string>> = {}): Promise<Redis> {
  const redis = new Redis(options["tls-port"] === undefined ? await freePort() : 0, options);
  try {
    await redis.start();
    return redis;
  } catch (error) {
    await redis[Symbol.asyncDispose]();
    throw error;
  }
}

/** How a connection of the program's own is made. */
export interface ConnectionOptions {
  readonly password?: string;
  readonly clock?: Clock;
  readonly timeoutMs?: number;
  readonly report?: (sentence: string) => void;
}

/** The program's own connection to the store at `url`. It does nothing before the first command. */
export function storeAt(
  url: string,
  { password = "", clock = systemClock, timeoutMs = 15_000, report = () => {} }: ConnectionOptions = {},
): RedisStore {
  return new RedisStore(
    storeAddress(url, password),
    timeoutMs,
    clock,
    new Reachability("fleet.store", report),
  );
}
