/** `outrider run` as a process: serves, drains, and refuses bad input with one line before anything is half-started. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { type Origin, ok, scriptedOrigin, step } from "../kit/origin.ts";
import { askOnce, rawClient } from "../kit/raw-client.ts";
import { eventually } from "./conformance/kit/emulate.ts";
import { listens } from "./kit/extension.ts";

const POLICY = "version: 1\nlisten: { port: 0 }\nacl: { allow_addresses: [127.0.0.0/8] }\n";

const get = ({ authority }: Origin): string =>
  `GET http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\n\r\n`;

/** A running `outrider run`. */
class Running implements AsyncDisposable {
  readonly folder: string;
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  readonly #child: ChildProcess;
  #errors = "";
  #output = "";

  constructor(folder: string, child: ChildProcess) {
    this.folder = folder;
    this.#child = child;
    child.stderr!.on("data", (chunk) => (this.#errors += chunk));
    child.stdout!.on("data", (chunk) => (this.#output += chunk));
    this.ended = once(child, "close").then(([code, signal]) => ({ code, signal }));
  }

  get errors(): string[] {
    return this.#errors.split("\n").filter((line) => line !== "");
  }

  get output(): string {
    return this.#output;
  }

  /** The first port of the line that says that it serves. */
  async port(): Promise<number> {
    const line = await this.said(/ on http:\/\/127\.0\.0\.1:(\d+)/);
    return Number(line[1]);
  }

  /** Waits until it has said something on standard error. */
  said(what: RegExp): Promise<RegExpExecArray> {
    return eventually(() => what.exec(this.#errors) ?? undefined);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.ended;
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Starts it in a folder of its own, in which `outrider.yaml` is `policy`; `null` for none. */
function run(policy: string | null, args: readonly string[] = [], env: Record<string, string> = {}): Running {
  const folder = mkdtempSync(join(tmpdir(), "outrider-run-"));
  if (policy !== null) writeFileSync(join(folder, "outrider.yaml"), policy);
  const child = spawn(process.execPath, [resolve("dist/outrider.js"), "run", ...args], {
    cwd: folder,
    env: { PATH: process.env.PATH ?? "", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  return new Running(folder, child);
}

/** An origin that answers when it is told to. */
async function slowOrigin(): Promise<Origin & { finish(): void }> {
  const { promise, resolve: finish } = Promise.withResolvers<void>();
  const origin = await scriptedOrigin([
    step(async ({ peer }) => {
      await promise;
      await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
      return true;
    }),
  ]);
  return Object.assign(origin, { finish });
}

/** A port that is taken for as long as the test runs. */
async function takenPort(): Promise<{ port: number } & AsyncDisposable> {
  const server = createServer();
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: () => new Promise((closed) => void server.close(() => closed())),
  };
}

describe("outrider run", () => {
  test("serves ./outrider.yaml on a free port that it names, and writes a line for each call", async () => {
    await using origin = await scriptedOrigin([ok("hello")]);
    await using running = run(POLICY);
    const answer = await askOnce(await running.port(), get(origin));
    expect([answer.status, answer.body.toString()]).toEqual([200, "hello"]);
    const line = await eventually(() => /^.*"event":"call".*$/m.exec(running.output)?.[0]);
    expect(JSON.parse(line)).toMatchObject({ status: 200, host: "127.0.0.1", port: origin.port });
  });

  test("listens where --port says, whatever the policy says", async () => {
    await using taken = await takenPort();
    await using running = run(`version: 1\nlisten: { port: ${taken.port} }\n`, ["--port", "0"]);
    expect(await running.port()).not.toBe(taken.port);
  });

  test.each(["SIGTERM", "SIGINT"] as const)(
    "drains at %s: the call in flight ends well, then it exits with 0",
    async (signal) => {
      await using origin = await slowOrigin();
      await using running = run(POLICY);
      const port = await running.port();
      using client = await rawClient(port);
      using idle = await rawClient(port);
      await client.write(get(origin));
      await origin.connected(1);
      running.signal(signal);
      await running.said(new RegExp(`outrider: ${signal}: draining`));
      expect(await idle.gone()).toBe("end");
      while (await listens(port)) await new Promise((later) => setTimeout(later, 5));
      origin.finish();
      const answer = await client.response();
      expect([answer.status, answer.body.toString()]).toEqual([200, "late"]);
      expect(await running.ended).toEqual({ code: 0, signal: null });
      expect(running.output).toMatch(/"event":"call".*"status":200/);
    },
  );

  test("ends at once at the second signal", async () => {
    await using origin = await slowOrigin();
    await using running = run(POLICY);
    using client = await rawClient(await running.port());
    await client.write(get(origin));
    await origin.connected(1);
    running.signal("SIGTERM");
    await running.said(/SIGTERM: draining/);
    running.signal("SIGTERM");
    expect(await running.ended).toEqual({ code: null, signal: "SIGTERM" });
  });
});

/** What is wrong, the policy, the arguments, the exit code and everything that is said. */
const BAD: readonly [string, string | null, readonly string[], number, readonly RegExp[]][] = [
  [
    "no policy",
    null,
    [],
    2,
    [
      /^outrider: no policy: name one with --config FILE, or write \.\/outrider\.yaml; see outrider help run$/,
    ],
  ],
  [
    "a policy file that is not there",
    null,
    ["--config", "other.yaml"],
    1,
    [/^other\.yaml: there is no such file; name the policy with --config FILE or OUTRIDER_CONFIG$/],
  ],
  [
    "a folder for a policy",
    POLICY,
    ["--config", "."],
    1,
    [/^\.: is a directory; name the policy file in it$/],
  ],
  [
    "several mistakes, all at once",
    "version: 1\nlisten: { port: 70000 }\ndestinations:\n  - { name: a, hosts: [a.example], timeout: soon, retires: 1 }\n",
    [],
    1,
    [
      /^outrider\.yaml:2:\d+: listen\.port: must be a whole number \(0 to 65535\), not 70000$/,
      /^outrider\.yaml:4:\d+: destinations\[0\]\.timeout: "soon": write a duration such as /,
      /^outrider\.yaml:4:\d+: destinations\[0\]\.retires: .*retry/,
    ],
  ],
  ["no YAML", "version: [1", [], 1, [/^outrider\.yaml:\d+:\d+: /]],
  [
    "a certificate that is missing",
    "version: 1\nlisten: { port: 0 }\ndestinations:\n  - name: pay\n    hosts: [pay.example]\n    tls: { client_cert: file:/nowhere/pay.pem }\n",
    [],
    1,
    [
      /^outrider: destination pay: tls\.client_cert: \/nowhere\/pay\.pem: no such file; mount it there or correct the path$/,
    ],
  ],
  [
    "a port that is none",
    POLICY,
    ["--port", "http"],
    2,
    [/^outrider: --port http: a port is 0 to 65535; see outrider help run$/],
  ],
  [
    "an option that does not exist",
    POLICY,
    ["--prot", "1"],
    2,
    [/^outrider: Unknown option '--prot'.*see outrider help run$/],
  ],
];

describe("outrider run with", () => {
  test.each(BAD)("%s, says so and starts nothing", async (_what, policy, args, code, lines) => {
    await using running = run(policy, args);
    expect(await running.ended).toEqual({ code, signal: null });
    expect(running.errors).toEqual(lines.map((line) => expect.stringMatching(line)));
    expect(running.output).toBe("");
  });

  test("a port that is in use, names the key and the port, and gives back what it had bound", async () => {
    await using taken = await takenPort();
    const free = await takenPort();
    await free[Symbol.asyncDispose]();
    await using running = run(
      `version: 1\nlisten: { port: ${free.port} }\ndestinations:\n` +
        `  - { name: pay, hosts: [pay.example], local_port: ${taken.port}, upstream: { host: pay.example, port: 443 } }\n`,
    );
    expect(await running.ended).toEqual({ code: 1, signal: null });
    expect(running.errors).toEqual([
      `outrider: destinations.pay.local_port: 127.0.0.1:${taken.port}: another program listens there; stop it or choose another port`,
    ]);
    expect(await listens(free.port)).toBe(false);
  });
});
