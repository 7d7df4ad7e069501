/**
 * Transparent capture for real: `outrider capture` and `outrider run` in a network namespace that this test makes, a server in another
 * one at the end of a cable, and curl, which knows of no proxy. Nothing of the machine's own network is touched.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { missingCommand, skipWithout } from "../clients/needs.ts";
import { certificate } from "../kit/certificates.ts";
import { eventually } from "../kit/eventually.ts";

const OUTRIDER = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
const SERVER = fileURLToPath(new URL("./kit/echo-server.ts", import.meta.url));

const APPLICATION = "10.77.0.1";
const UPSTREAM = "10.77.0.2";
const CAPTURE_PORT = 15_001;
/** Whoever the proxy runs as is left alone; the application is another user. */
const PROXY_UID = 0;
const APPLICATION_UID = 65_534;

/** What this machine lacks for the test, or `null`. */
function missing(): string | null {
  if (process.platform !== "linux" || process.getuid!() !== 0) return "SKIPPED: needs root on Linux";
  const command =
    missingCommand("ip", "iproute2") ??
    missingCommand("iptables", "iptables") ??
    missingCommand("curl", "curl") ??
    missingCommand("setpriv", "util-linux");
  if (command !== null) return command;
  const probe = `outrider-${process.pid}-probe`;
  if (spawnSync("ip", ["netns", "add", probe]).status !== 0) {
    return "SKIPPED: needs the right to make network namespaces (CAP_SYS_ADMIN)";
  }
  const nat = spawnSync("ip", ["netns", "exec", probe, "iptables", "-t", "nat", "-S"]).status === 0;
  spawnSync("ip", ["netns", "del", probe]);
  return nat ? null : "SKIPPED: needs iptables' table nat (kernel module iptable_nat or nf_tables)";
}

const MISSING = missing();

/** What curl got. */
interface Fetched {
  readonly code: number;
  readonly body: string;
  readonly errors: string;
}

/** Two namespaces with a cable between them, and the processes in them. */
class Scene {
  readonly #inside = `outrider-${process.pid}-in`;
  readonly #outside = `outrider-${process.pid}-out`;
  readonly #folder = mkdtempSync(join(tmpdir(), "outrider-namespace-"));
  readonly #ca = join(this.#folder, "ca.pem");
  readonly #children: ChildProcess[] = [];

  async start(): Promise<void> {
    const ip = (...args: string[]): void => void execFileSync("ip", args);
    for (const [name, address, cable] of [
      [this.#inside, APPLICATION, "cable-in"],
      [this.#outside, UPSTREAM, "cable-out"],
    ] as const) {
      ip("netns", "add", name);
      ip("-n", name, "link", "set", "lo", "up");
      if (cable === "cable-in") {
        ip("-n", name, "link", "add", cable, "type", "veth", "peer", "name", "cable-out");
      } else ip("-n", this.#inside, "link", "set", cable, "netns", name);
      ip("-n", name, "address", "add", `${address}/24`, "dev", cable);
      ip("-n", name, "link", "set", cable, "up");
    }
    // The application is another user, and reads it too.
    chmodSync(this.#folder, 0o755);
    writeFileSync(this.#ca, /-----BEGIN CERT[\s\S]*END CERTIFICATE-----\n/.exec(certificate("ca").cert)![0]);
    const server = this.#spawn(this.#outside, [SERVER, UPSTREAM, "80", "443", "8080"]);
    const proxy = this.#spawn(this.#inside, [OUTRIDER, "run", "--config", this.#policy()]);
    await Promise.all([says(server, "ready"), says(proxy, "on http://")]);
  }

  /** `outrider capture …` where the application runs. */
  capture(...args: string[]): { code: number | null; errors: string } {
    const command = ["netns", "exec", this.#inside, process.execPath, OUTRIDER, "capture", ...args];
    const { status, stderr } = spawnSync("ip", command, { encoding: "utf8" });
    return { code: status, errors: stderr };
  }

  /** The rules of the table `nat`. */
  rules(): string {
    return execFileSync("ip", ["netns", "exec", this.#inside, "iptables", "-t", "nat", "-S"], {
      encoding: "utf8",
    });
  }

  /** GET of `url` by a program of user `uid` that knows of no proxy. */
  curl(url: string, uid = APPLICATION_UID): Fetched {
    const { hostname, port, protocol } = new URL(url);
    const at = `${hostname}:${port || (protocol === "https:" ? "443" : "80")}:${UPSTREAM}`;
    const command = [
      ...["netns", "exec", this.#inside],
      ...["setpriv", `--reuid=${uid}`, "--clear-groups", "--inh-caps=-all"],
      ...[
        "curl",
        "-q",
        "--silent",
        "--show-error",
        "--max-time",
        "30",
        "--resolve",
        at,
        "--cacert",
        this.#ca,
        url,
      ],
    ];
    const { status, stdout, stderr } = spawnSync("ip", command, {
      encoding: "utf8",
      env: { PATH: process.env.PATH },
    });
    return { code: status!, body: stdout, errors: stderr };
  }

  /** Also when `start` went wrong half-way. */
  async end(): Promise<void> {
    for (const child of this.#children) {
      child.kill("SIGKILL");
      if (child.exitCode === null && child.signalCode === null) {
        await new Promise((resolve) => child.once("exit", resolve));
      }
    }
    for (const name of [this.#inside, this.#outside]) spawnSync("ip", ["netns", "del", name]);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #policy(): string {
    const file = join(this.#folder, "policy.yaml");
    writeFileSync(
      file,
      `version: 1
listen: { port: 4140, transparent_port: ${CAPTURE_PORT} }
telemetry: { propagate: [tracecontext] }
destinations:
  - { name: plain, hosts: [api.test], ports: [80], upstream: { host: ${UPSTREAM}, port: 80 } }
  - { name: secured, hosts: [api.test], ports: [443], upstream: { host: ${UPSTREAM}, port: 443 } }
  - { name: denied, hosts: [a.wild.test], access: deny }
`,
    );
    return file;
  }

  #spawn(namespace: string, args: string[]): ChildProcess {
    const command = ["netns", "exec", namespace, process.execPath, ...args];
    const child = spawn("ip", command, { stdio: ["ignore", "pipe", "pipe"] });
    this.#children.push(child);
    return child;
  }
}

/** Waits until a process says `text`, and fails with what it said when it ends instead. */
async function says(child: ChildProcess, text: string): Promise<void> {
  let said = "";
  for (const stream of [child.stdout!, child.stderr!]) stream.on("data", (chunk) => (said += chunk));
  await eventually(`"${text}"`, () => {
    if (child.exitCode !== null) throw new Error(`ended: ${said}`);
    return said.includes(text);
  });
}

const scene = new Scene();
beforeAll(async () => {
  if (MISSING === null) await scene.start();
});
beforeEach((context) => skipWithout(context, MISSING));
afterAll(() => scene.end());

test("takes plain and TLS connections of a program that knows of no proxy, until it is removed", async () => {
  const before = scene.rules();
  expect(scene.curl("http://api.test/")).toMatchObject({ code: 0, body: "GET / api.test no trace\n" });

  const install = ["install", "--port", String(CAPTURE_PORT), "--uid", String(PROXY_UID)];
  expect(scene.capture(...install)).toEqual({ code: 0, errors: "" });
  const installed = scene.rules();
  expect(scene.capture(...install)).toEqual({ code: 0, errors: "" });
  expect(scene.rules()).toBe(installed);

  // Governed: the trace is the proxy's.
  expect(scene.curl("http://api.test/x").body).toMatch(/^GET \/x api\.test 00-[0-9a-f]{32}-/);
  // Unread: the certificate is the server's own.
  expect(scene.curl("https://api.test/y")).toMatchObject({ code: 0, body: "GET /y api.test no trace\n" });
  // Denied, each in the way that is left.
  expect(scene.curl("http://a.wild.test/").body).toContain("[DENIED ");
  const { code, body } = scene.curl("https://a.wild.test/");
  expect([code === 35 || code === 56, body]).toEqual([true, ""]);

  // Left alone: other ports, and the proxy's own user.
  expect(scene.curl("http://api.test:8080/").body).toBe("GET / api.test:8080 no trace\n");
  expect(scene.curl("http://api.test/", PROXY_UID).body).toBe("GET / api.test no trace\n");

  expect(scene.capture("remove")).toEqual({ code: 0, errors: "" });
  expect(scene.rules()).toBe(before);
  expect(scene.curl("http://api.test/").body).toBe("GET / api.test no trace\n");
  expect(scene.capture("remove")).toEqual({ code: 0, errors: "" });
});

test("an address that is excluded is left alone", () => {
  const install = ["install", "--port", String(CAPTURE_PORT), "--uid", String(PROXY_UID)];
  expect(scene.capture(...install, "--exclude", `${UPSTREAM}/32`).code).toBe(0);
  expect(scene.curl("http://api.test/").body).toBe("GET / api.test no trace\n");
  expect(scene.capture("remove").code).toBe(0);
});
