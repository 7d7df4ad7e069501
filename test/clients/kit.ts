/**
 * The scene in which a real client is tried: a proxy that intercepts, upstreams that only the proxy can reach by name, and programs
 * that are started as a function's runtime is, through the wrapper of the layer.
 *
 * What a client trusts of its own is `other-ca`, given as a function's configuration would. The certificate of the intercepted host
 * is signed by `ca`, which only the proxy knows: a client that gets an answer from there was intercepted.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { systemClock } from "../../src/clock.ts";
import { prepareInterception, SANDBOX_VALIDITY_MS } from "../../src/identity/interception.ts";
import { certificateFile } from "../kit/certificates.ts";
import { eventually } from "../kit/eventually.ts";
import { startProxy, type TestProxy } from "../kit/proxy.ts";
import { BODY, startUpstream, UPSTREAM_ADDRESS, type Upstream } from "./upstream.ts";

/** The destination that is intercepted. */
export const GOVERNED_HOST = "api.test";
/** A host that no destination names: a blind tunnel, and the client's own trust. */
export const BLIND_HOST = "blind.wild.test";
/** A host that is called in plain HTTP. */
export const PLAIN_HOST = "plain.test";

/** A program that takes longer hangs. A guard, never a measurement. */
const PROGRAM_MS_MAX = 50_000;

/** Lines that have not come by then never will. A guard, never a measurement. */
const LINES_MS_MAX = 10_000;

const WRAPPER = fileURLToPath(new URL("../../layers/opt/outrider-wrapper", import.meta.url));

/** Path of a file of `programs/`. */
export const program = (name: string): string =>
  fileURLToPath(new URL(`./programs/${name}`, import.meta.url));

/** Whether a call's path begins with `/client/`. */
export const isOf =
  (client: string) =>
  ({ path }: { readonly path: string }): boolean =>
    path.startsWith(`/${client}/`);

/** How a program ended. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The parts of an access log line that the tests look at. */
export interface LoggedCall {
  readonly destination: string;
  readonly method: string;
  readonly scheme: string;
  readonly host: string;
  readonly path: string;
  readonly status: number;
  readonly bytes_up: number;
  readonly bytes_down: number;
}

/** See the file's header. Made by `startScene`. */
export class Scene {
  readonly proxy: TestProxy;
  readonly governed: Upstream;
  readonly blind: Upstream;
  readonly plain: Upstream;
  /** Of this scene alone: what programs write, and the proxy's log. */
  readonly folder: string;
  /** Holds `BODY`. */
  readonly bodyFile: string;

  constructor(proxy: TestProxy, upstreams: readonly [Upstream, Upstream, Upstream], folder: string) {
    this.proxy = proxy;
    [this.governed, this.blind, this.plain] = upstreams;
    this.folder = folder;
    this.bodyFile = join(folder, "body.bin");
    writeFileSync(this.bodyFile, BODY);
  }

  /** Runs a program as the runtime of a function is run, to its end. */
  run(command: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ended> {
    return ended(["/bin/sh", WRAPPER, ...command], { ...functionEnvironment(this.folder), ...env });
  }

  /** Runs a program of `programs/` that takes the usual arguments, and tells what it printed: `what` → `status hash`. */
  async calls(client: string, command: readonly string[]): Promise<Readonly<Record<string, string>>> {
    const { code, stdout, stderr } = await this.run([
      ...command,
      `https://${GOVERNED_HOST}:${this.governed.port}/${client}`,
      `https://${BLIND_HOST}:${this.blind.port}/${client}`,
      `http://${PLAIN_HOST}:${this.plain.port}/${client}`,
      this.bodyFile,
    ]);
    if (code !== 0) throw new Error(`${client} ended with ${code}: ${stderr}${stdout}`);
    const lines = stdout.trim().split("\n");
    return Object.fromEntries(
      lines.map((line) => [line.slice(0, line.indexOf(" ")), line.slice(line.indexOf(" ") + 1)]),
    );
  }

  /**
   * The access log's lines about calls that `which` takes, in the order in which calls ended, as soon as there are `count` of them: a
   * client may be gone before its last call has ended here.
   */
  async logged(count: number, which: (call: LoggedCall) => boolean): Promise<readonly LoggedCall[]> {
    const giveUpMs = performance.now() + LINES_MS_MAX;
    for (;;) {
      await this.proxy.proxy.telemetry.flush(1000);
      const lines = readFileSync(join(this.folder, "access.log"), "utf8").split("\n").slice(0, -1);
      const calls = lines.map((line) => JSON.parse(line) as LoggedCall & { event: string });
      const found = calls.filter((call) => call.event === "call" && which(call));
      if (found.length >= count || performance.now() > giveUpMs) return found;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Resolves when no call is open. */
  settled(): Promise<void> {
    return eventually("every call to end", () => this.proxy.proxy.telemetry.metrics().openCalls === 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.proxy[Symbol.asyncDispose]();
    for (const upstream of [this.governed, this.blind, this.plain]) await upstream[Symbol.asyncDispose]();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** What Lambda and the function's configuration give; all the rest is the wrapper's. */
function functionEnvironment(folder: string): Record<string, string> {
  const own = certificateFile("other-ca").slice("file:".length);
  return {
    PATH: "/usr/local/bin:/usr/bin:/bin",
    HOME: folder,
    TMPDIR: folder,
    AWS_LAMBDA_RUNTIME_API: "127.0.0.1:9001",
    NODE_EXTRA_CA_CERTS: own,
    SSL_CERT_FILE: own,
  };
}

/** Starts upstreams and a proxy that intercepts `GOVERNED_HOST`. */
export async function startScene(): Promise<Scene> {
  const folder = mkdtempSync(join(tmpdir(), "outrider-clients-"));
  const upstreams = await Promise.all([
    startUpstream("tls"),
    startUpstream("tls", "untrusted"),
    startUpstream("clear"),
  ]);
  const { authority, directory } = prepareInterception({
    clock: systemClock,
    validityMs: SANDBOX_VALIDITY_MS,
    env: functionEnvironment(folder),
    directory: join(folder, "outrider-ca"),
  });
  const proxy = await startProxy({
    authority,
    lookup: async () => [{ address: UPSTREAM_ADDRESS, family: 4 }],
    policy: {
      destinations: [
        {
          name: "api",
          hosts: [GOVERNED_HOST],
          tls: { intercept: true, originate: false, ca: certificateFile("ca") },
        },
      ],
      telemetry: { propagate: ["tracecontext"], destination: `file:${join(folder, "access.log")}` },
    },
  });
  await proxy.proxy.telemetry.start();
  writeFileSync(join(folder, "outrider.port"), `${proxy.port}\n${directory}\n`);
  return new Scene(proxy, upstreams, folder);
}

/** Runs `command` to its end. */
function ended(command: readonly string[], env: Record<string, string>): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(command[0]!, command.slice(1), { env, stdio: ["ignore", "pipe", "pipe"] });
    const guard = setTimeout(() => child.kill("SIGKILL"), PROGRAM_MS_MAX);
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (text) => (stdout += text));
    child.stderr.on("data", (text) => (stderr += text));
    child.once("error", reject);
    child.once("close", (code) => {
      clearTimeout(guard);
      resolve({ code, stdout, stderr });
    });
  });
}
