/**
 * How a function comes to trust the sandbox's authority, from the policy to its clients: the layer in the emulator, the extension alone,
 * and `outrider run`. What is done with the TLS that is opened is tested elsewhere.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { certificate, certificateFile } from "../kit/certificates.ts";
import { eventually } from "../kit/eventually.ts";
import { type Origin, ok, scriptedOrigin } from "../kit/origin.ts";
import { shutdownEvent, startExtension } from "./kit/extension.ts";
import { compiledPolicy, startFunction, UPSTREAM_HOST } from "./kit/function.ts";

const FILES = ["bundle.pem", "ca.pem", "extra-ca.pem", "truststore.p12"];
const hasPython = spawnSync("python3", ["--version"]).status === 0;

const secureOrigin = (...script: Parameters<typeof scriptedOrigin>[0]): Promise<Origin> =>
  scriptedOrigin(script, { host: UPSTREAM_HOST, tls: certificate("server") });

/** A destination whose TLS is opened. */
const opened = (origin: Origin | null = null) => ({
  name: "api",
  hosts: ["api.test"],
  upstream: { host: UPSTREAM_HOST, port: origin?.port ?? 443 },
  tls: { intercept: true, ca: certificateFile("ca") },
});

const interceptingPolicy = (more: object = {}): string =>
  compiledPolicy({ destinations: [opened()], ...more });

/** The lines of the file by which the extension tells the wrapper. */
const told = (folder: string): string[] =>
  readFileSync(join(folder, "outrider.port"), "utf8").split("\n").slice(0, -1);

/** Every file below `folder` and its content. */
const contentsBelow = (folder: string): [string, string][] =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile())
    .map((path) => [path, readFileSync(path, "latin1")]);

const SECRET = "PRIVATE KEY";

describe("a function whose policy opens TLS", () => {
  test("trusts what it is shown, with fetch, and knows nothing of it", async () => {
    await using origin = await secureOrigin(ok("hello"));
    await using subject = await startFunction({ policy: { destinations: [opened(origin)] } });
    expect(await subject.call({ url: "https://api.test/a?b=c" })).toEqual([
      { status: 200, code: null, body: "hello" },
    ]);
    expect(origin.requests[0]!.startLine).toBe("GET /a?b=c HTTP/1.1");
    expect(await subject.entry(({ path }) => path === "/a?b=c")).toMatchObject({
      destination: "api",
      status: 200,
    });
    expect(subject.said()).toEqual([]);
  });

  test.skipIf(!hasPython)(
    "trusts what it is shown, with Python's urllib (skipped where Python is not installed)",
    async () => {
      await using origin = await secureOrigin(ok("hello"));
      await using subject = await startFunction({
        runtime: "python",
        policy: { destinations: [opened(origin)] },
      });
      expect(await subject.call({ url: "https://api.test/" })).toEqual([
        { status: 200, code: null, body: "hello" },
      ]);
    },
  );

  test("is given variables for every client, and finds in the files what it had", async () => {
    const own = certificateFile("other-ca").replace("file:", "");
    await using subject = await startFunction({
      policy: { destinations: [opened()] },
      env: { NODE_EXTRA_CA_CERTS: own, SSL_CERT_FILE: own },
    });
    const names = [
      "NODE_EXTRA_CA_CERTS",
      "SSL_CERT_FILE",
      "REQUESTS_CA_BUNDLE",
      "AWS_CA_BUNDLE",
      "JAVA_TOOL_OPTIONS",
    ];
    const { env } = await subject.answer({ env: names });
    const directory = join(subject.tmp, "outrider-ca");
    expect(names.slice(0, 4).map((name) => env[name])).toEqual([
      join(directory, "extra-ca.pem"),
      ...Array(3).fill(join(directory, "bundle.pem")),
    ]);
    expect(env.JAVA_TOOL_OPTIONS).toContain(`trustStore="${directory}/truststore.p12"`);
    const { cert } = certificate("other-ca");
    const body = /-----BEGIN CERTIFICATE-----[^-]+/.exec(cert)![0].trim();
    for (const name of ["extra-ca.pem", "bundle.pem"])
      expect(readFileSync(join(directory, name), "latin1")).toContain(body);
  });

  test("is served by a new authority after the sandbox was reset", async () => {
    await using origin = await secureOrigin(ok("first life"), ok("second life"));
    await using subject = await startFunction({
      policy: { destinations: [opened(origin)] },
      timeoutMs: 4000,
    });
    const ca = () => readFileSync(join(subject.tmp, "outrider-ca", "ca.pem"), "latin1");
    expect(await subject.call({ url: "https://api.test/" })).toMatchObject([
      { status: 200, body: "first life" },
    ]);
    const first = ca();
    await expect(subject.answer({ hang: true })).rejects.toThrow(/timeout/i);
    expect(await subject.call({ url: "https://api.test/" })).toMatchObject([
      { status: 200, body: "second life" },
    ]);
    expect(new X509Certificate(ca()).fingerprint256).not.toBe(new X509Certificate(first).fingerprint256);
    expect(readdirSync(join(subject.tmp, "outrider-ca")).sort()).toEqual(FILES);
  });

  test.skipIf(process.platform !== "linux")(
    "S10 finds no private key in /tmp, in the environment of any process, or in any log (needs /proc)",
    async () => {
      await using origin = await secureOrigin(ok("hello"));
      await using subject = await startFunction({
        policy: { destinations: [opened(origin)] },
        freeze: false,
      });
      expect(await subject.call({ url: "https://api.test/" })).toMatchObject([{ status: 200 }]);
      const files = contentsBelow(subject.tmp);
      expect(files.map(([path]) => path)).toContain(join(subject.tmp, "outrider-ca", "ca.pem"));
      expect(files.filter(([, content]) => content.includes(SECRET))).toEqual([]);
      const pid = subject.emulator.extensionPids().outrider!;
      const environment = readFileSync(`/proc/${pid}/environ`, "latin1");
      expect(environment).toContain("AWS_LAMBDA_RUNTIME_API=");
      expect(environment).not.toContain(SECRET);
      const { env } = await subject.answer({ env: ["NODE_EXTRA_CA_CERTS", "JAVA_TOOL_OPTIONS"] });
      expect(JSON.stringify(env)).not.toContain(SECRET);
      expect(subject.logs.length).toBeGreaterThan(0);
      expect(subject.logs.filter(({ text }) => text.includes(SECRET))).toEqual([]);
    },
  );
});

describe("the extension, when the policy opens TLS", () => {
  test("has written the files, and told the wrapper where they are, when it registers", async () => {
    await using extension = await startExtension({ policy: interceptingPolicy() });
    const register = await extension.api.call();
    expect(register.path).toBe("/2020-01-01/extension/register");
    const directory = join(extension.folder, "outrider-ca");
    expect(told(extension.folder)).toEqual([String(await extension.port()), directory]);
    expect(readdirSync(directory).sort()).toEqual(FILES);
    expect(extension.errors).toEqual([]);
  });

  test("writes them where OUTRIDER_CA_DIR says", async () => {
    const place = mkdtempSync(join(tmpdir(), "outrider-named-"));
    const env = { OUTRIDER_CA_DIR: join(place, "trust") };
    await using extension = await startExtension({ policy: interceptingPolicy(), env });
    await extension.api.call();
    expect(told(extension.folder)[1]).toBe(join(place, "trust"));
    expect(readdirSync(join(place, "trust")).sort()).toEqual(FILES);
    rmSync(place, { recursive: true });
  });

  test("says which of the function's own files is left out, and goes on", async () => {
    const env = { NODE_EXTRA_CA_CERTS: "/nowhere/extra.pem", SSL_CERT_FILE: "/nowhere/bundle.pem" };
    await using extension = await startExtension({ policy: interceptingPolicy(), env });
    await extension.api.call();
    expect(extension.errors).toEqual([
      "outrider: NODE_EXTRA_CA_CERTS: /nowhere/extra.pem: does not exist and is left out; correct the path",
      "outrider: SSL_CERT_FILE: /nowhere/bundle.pem: does not exist and is left out; correct the path",
    ]);
  });

  test("makes no authority and no directory for a policy that opens none", async () => {
    await using extension = await startExtension();
    await extension.api.call();
    expect(told(extension.folder)).toEqual([String(await extension.port())]);
    expect(readdirSync(extension.folder)).not.toContain("outrider-ca");
  });

  /** A folder for the sandbox's files in which somebody has prepared the directory. */
  const prepared = (): string => {
    const folder = mkdtempSync(join(tmpdir(), "outrider-prepared-"));
    mkdirSync(join(folder, "elsewhere"));
    symlinkSync(join(folder, "elsewhere"), join(folder, "outrider-ca"));
    return folder;
  };

  test("S10 and it cannot write the files, ends before it registers where on_proxy_failure is closed", async () => {
    const TMPDIR = prepared();
    const policy = interceptingPolicy({ on_proxy_failure: "closed" });
    await using extension = await startExtension({ policy, env: { TMPDIR } });
    expect(await extension.ended).toEqual({ code: 1, signal: null });
    expect(extension.errors).toEqual([
      `outrider: ${TMPDIR}/outrider-ca: is no directory; the files that make clients trust the sandbox's authority go there: remove it, or name another directory in OUTRIDER_CA_DIR`,
    ]);
    expect(extension.api.count).toBe(0);
    expect(readdirSync(join(TMPDIR, "elsewhere"))).toEqual([]);
    rmSync(TMPDIR, { recursive: true });
  });

  test("S10 and it cannot write the files, opens nothing where on_proxy_failure is open: the wrapper is told of no files", async () => {
    const TMPDIR = prepared();
    const policy = interceptingPolicy({ on_proxy_failure: "open" });
    await using extension = await startExtension({ policy, env: { TMPDIR } });
    const next = await extension.registered();
    expect(told(TMPDIR)).toEqual([expect.stringMatching(/^[1-9]\d+$/)]);
    expect(extension.errors).toEqual([
      expect.stringMatching(
        /is no directory; .*; on_proxy_failure is open: no TLS is opened in this sandbox, those calls pass as tunnels$/,
      ),
    ]);
    expect(readdirSync(join(TMPDIR, "elsewhere"))).toEqual([]);
    next.answer(200, shutdownEvent(2000));
    expect(await extension.ended).toEqual({ code: 0, signal: null });
    rmSync(TMPDIR, { recursive: true });
  });
});

/** `outrider run` in a folder of its own, which is its temporary folder too. */
class Running implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), "outrider-trust-"));
  readonly ended: Promise<number | null>;
  readonly #child: ChildProcess;
  errors = "";

  /** With `trustDirectory`, as `OUTRIDER_CA_DIR`. */
  constructor(policy: string, trustDirectory = "") {
    writeFileSync(join(this.folder, "outrider.json"), policy);
    this.#child = spawn(process.execPath, [resolve("dist/outrider.js"), "run"], {
      cwd: this.folder,
      env: { PATH: process.env.PATH ?? "", TMPDIR: this.folder, OUTRIDER_CA_DIR: trustDirectory },
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#child.stderr!.on("data", (chunk) => (this.errors += chunk));
    this.ended = once(this.#child, "close").then(([code]) => code as number | null);
  }

  /** Stops it as a platform does. */
  stop(): Promise<number | null> {
    this.#child.kill("SIGTERM");
    return this.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.ended;
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A directory that nobody can make, root neither. */
const UNWRITABLE = "/dev/null/ca";

describe("outrider run, when the policy opens TLS", () => {
  test("says which variables to set, and takes its files away at the end", async () => {
    await using running = new Running(interceptingPolicy());
    await eventually("the line about trust", () => running.errors.includes("NODE_EXTRA_CA_CERTS="));
    const port = / on http:\/\/127\.0\.0\.1:(\d+)/.exec(running.errors)![1];
    const directory = join(running.folder, `outrider-ca-${port}`);
    expect(running.errors.split("\n")).toContain(
      `outrider: TLS is opened for some hosts; clients trust it with NODE_EXTRA_CA_CERTS=${directory}/extra-ca.pem, others with SSL_CERT_FILE=${directory}/bundle.pem (and REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE, AWS_CA_BUNDLE)`,
    );
    expect(readdirSync(directory).sort()).toEqual(FILES);
    const ca = new X509Certificate(readFileSync(join(directory, "ca.pem")));
    // An application in a container is not restarted every day.
    expect(ca.validToDate.getTime()).toBeGreaterThan(Date.now() + 300 * 24 * 3_600_000);
    expect(contentsBelow(running.folder).filter(([, content]) => content.includes(SECRET))).toEqual([]);
    expect(await running.stop()).toBe(0);
    expect(readdirSync(running.folder)).toEqual(["outrider.json"]);
  });

  test("and it cannot write the files, ends with one line where on_proxy_failure is closed", async () => {
    await using running = new Running(interceptingPolicy({ on_proxy_failure: "closed" }), UNWRITABLE);
    expect(await running.ended).toBe(1);
    expect(running.errors).toMatch(
      /^outrider: \/dev\/null\/ca: cannot be written to \(ENOTDIR\); .* in OUTRIDER_CA_DIR\n$/,
    );
  });

  test("and it cannot write the files, opens nothing and says so where on_proxy_failure is open", async () => {
    await using running = new Running(interceptingPolicy({ on_proxy_failure: "open" }), UNWRITABLE);
    await eventually("the program to serve", () => / on http:/.test(running.errors));
    expect(running.errors).toContain(
      "on_proxy_failure is open: no TLS is opened, those calls pass as tunnels\n",
    );
    expect(running.errors).not.toContain("NODE_EXTRA_CA_CERTS");
    expect(await running.stop()).toBe(0);
  });
});
