/** Real databases behind ports with `protocol: tcp`: their own servers and their own command-line clients, which know nothing of it. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chownSync, globSync, mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import type { DestinationFile } from "../../src/config/schema.ts";
import { missingCommand, skipWithout } from "../clients/needs.ts";
import { certificateFile } from "../kit/certificates.ts";
import { eventually } from "../kit/eventually.ts";
import { startProxy, type TestProxy } from "../kit/proxy.ts";

const run = promisify(execFile);

/** A client that takes longer hangs. A guard, never a measurement. */
const CLIENT_MS_MAX = 30_000;

/** A server in a process and a folder of its own. */
class Server implements AsyncDisposable {
  readonly folder: string;
  readonly #child: ChildProcess;

  constructor(folder: string, child: ChildProcess) {
    this.folder = folder;
    this.#child = child;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // SIGINT is PostgreSQL's "fast shutdown"; redis-server takes it as well.
    this.#child.kill("SIGINT");
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, "exit");
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Starts `command` and waits until it says `ready`. */
async function serve(folder: string, [program, ...args]: readonly string[], ready: string): Promise<Server> {
  const child = spawn(program!, args, { stdio: ["ignore", "pipe", "pipe"], cwd: folder });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (said += chunk));
  const server = new Server(folder, child);
  try {
    await eventually(`${program} to be ready`, () => {
      if (child.exitCode !== null) throw new Error(`${program} ended: ${said}`);
      return said.includes(ready);
    });
    return server;
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
}

const temporary = (name: string): string => mkdtempSync(join(tmpdir(), `outrider-${name}-`));

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** A proxy with a port that stands for 127.0.0.1:`port`. */
const proxyFor = (port: number, tls?: DestinationFile["tls"]): Promise<TestProxy> =>
  startProxy({
    policy: {
      destinations: [
        {
          name: "db",
          hosts: ["api.test"],
          protocol: "tcp",
          local_port: 9999,
          upstream: { host: "127.0.0.1", port },
          ...(tls === undefined ? {} : { tls }),
        },
      ],
    },
  });

const portOf = (proxy: TestProxy): string => String(proxy.localPorts.get("db"));

/** A client that has its answer may be gone before its tunnel is. */
const over = (proxy: TestProxy): Promise<void> =>
  eventually("the tunnels to be over", () => proxy.proxy.listener.open().tunnels === 0);

describe("Redis that demands a client certificate", () => {
  const REDIS = missingCommand("redis-server", "redis-server") ?? missingCommand("redis-cli", "redis-tools");
  const pem = (name: "ca" | "server"): string => certificateFile(name).replace("file:", "");

  async function redis(port: number): Promise<Server> {
    const folder = temporary("redis");
    const options = {
      port: "0",
      "tls-port": String(port),
      bind: "127.0.0.1",
      "tls-cert-file": pem("server"),
      "tls-key-file": pem("server"),
      "tls-ca-cert-file": pem("ca"),
      "tls-auth-clients": "yes",
      save: "",
      dir: folder,
    };
    const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]);
    return serve(folder, ["redis-server", ...args], "Ready to accept connections");
  }

  /** What `redis-cli` prints; it speaks no TLS. */
  async function cli(port: string, commands: string): Promise<string> {
    const ran = run("redis-cli", ["-p", port], { timeout: CLIENT_MS_MAX, maxBuffer: 2 ** 24 });
    ran.child.stdin!.end(commands);
    return (await ran).stdout;
  }

  test("is reached by a client in clear text", async (context) => {
    skipWithout(context, REDIS);
    const port = await freePort();
    await using _server = await redis(port);
    await using proxy = await proxyFor(port, {
      ca: certificateFile("ca"),
      client_cert: certificateFile("client"),
    });
    expect(await cli(portOf(proxy), "PING\nSET a 1\nINCR a\n")).toBe("PONG\nOK\n2\n");
    const long = "x".repeat(1_000_000);
    expect(await cli(portOf(proxy), `SET long ${long}\nGET long\n`)).toBe(`OK\n${long}\n`);
    await over(proxy);
  });

  test("refuses the same client without the certificate", async (context) => {
    skipWithout(context, REDIS);
    const port = await freePort();
    await using _server = await redis(port);
    await using proxy = await proxyFor(port, { ca: certificateFile("ca") });
    const refused = await run("redis-cli", ["-p", portOf(proxy), "PING"], { timeout: CLIENT_MS_MAX }).then(
      ({ stdout }) => stdout,
      (error) => String(error.stderr),
    );
    expect(refused).not.toContain("PONG");
  });
});

describe("PostgreSQL", () => {
  const BIN = globSync("/usr/lib/postgresql/*/bin").sort().at(-1) ?? "";
  const POSTGRES =
    (BIN === "" ? "SKIPPED: needs PostgreSQL's server (Debian postgresql)" : null) ??
    missingCommand("psql", "postgresql-client") ??
    missingCommand("setpriv", "util-linux");
  /** The server refuses to run as root; Debian's package makes a user for it. */
  const isRoot = process.getuid?.() === 0;
  const asUser = isRoot ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] : [];

  async function postgres(port: number): Promise<Server> {
    const folder = temporary("postgres");
    if (isRoot) {
      const { stdout } = await run("id", ["-u", "postgres"]);
      chownSync(folder, Number(stdout), 0);
    }
    const data = join(folder, "data");
    const [program, ...args] = [
      ...asUser,
      join(BIN, "initdb"),
      ...["-D", data, "-U", "app", "-A", "trust", "--no-sync", "--no-locale", "-E", "UTF8"],
    ];
    await run(program!, args, { cwd: folder });
    const server = [join(BIN, "postgres"), "-D", data, "-k", folder, "-h", "127.0.0.1", "-p", String(port)];
    return serve(folder, [...asUser, ...server, "-F"], "ready to accept connections");
  }

  const psql = async (port: string, sql: string): Promise<string> => {
    const connection = `host=127.0.0.1 port=${port} user=app dbname=postgres connect_timeout=20`;
    const args = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", connection, "-c", sql];
    return (await run("psql", args, { timeout: CLIENT_MS_MAX, maxBuffer: 2 ** 24 })).stdout;
  };

  test("is reached by psql, which speaks first, and its answers come whole", async (context) => {
    skipWithout(context, POSTGRES);
    const port = await freePort();
    await using _server = await postgres(port);
    await using proxy = await proxyFor(port);
    expect(await psql(portOf(proxy), "select 6 * 7")).toBe("42\n");
    const rows = await psql(portOf(proxy), "select repeat('x', 1000) from generate_series(1, 3000)");
    expect(rows).toBe(`${"x".repeat(1000)}\n`.repeat(3000));
    await over(proxy);
    const { text } = await proxy.proxy.telemetry.prometheus();
    expect(text).toMatch(/^outrider_tunnel_bytes_total\{.*direction="down".*\} 3\d{6}$/m);
  });

  test("that is not there is told to psql as a broken connection", async (context) => {
    skipWithout(context, POSTGRES);
    await using proxy = await proxyFor(await freePort());
    await expect(psql(portOf(proxy), "select 1")).rejects.toThrow(
      /server closed the connection|reset by peer/,
    );
  });
});
