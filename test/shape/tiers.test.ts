/**
 * Cold, warm and idle: what is loaded when, read from the layer's bundle and watched in the running process. A library that slips
 * into the cold tier costs every cold start (node:http 5 ms, yaml 20 ms, zod 50 ms), so its absence is a test.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import type { Metafile } from "esbuild";
import { describe, expect, test } from "vitest";
import { compiledText } from "../../src/config/compile.ts";
import { resolve as resolvePolicy } from "../../src/config/resolve.ts";
import type { PolicyFile } from "../../src/config/schema.ts";
import { type Closure, outputOf, packageOf, staticClosure } from "./graph.ts";

const metafile = JSON.parse(readFileSync("dist/meta-lambda.json", "utf8")) as Metafile;
const closure = (source: string): Closure => staticClosure(metafile, outputOf(metafile, source));

const cold = closure("adapters/lambda/main.ts");
const warm = closure("src/proxy.ts");
const idle = closure("src/telemetry/log.ts");
const slow = closure("src/config/compile.ts");
/** Before `register` as well, but only for a policy that opens TLS. */
const interception = closure("src/identity/interception.ts");

const packagesOf = ({ sources }: Closure): string[] =>
  [...new Set(sources.map(packageOf))].filter((name) => name !== "").sort();

/** Every source file that is loaded before Lambda may start the runtime. A new one has to be written down here, with a reason. */
const COLD_SOURCES = [
  "adapters/lambda/api.ts",
  "adapters/lambda/host.ts",
  "adapters/lambda/main.ts",
  "src/body.ts",
  "src/clock.ts",
  "src/config/find.ts",
  "src/config/load.ts",
  "src/errors.ts",
  "src/http1/body-reader.ts",
  "src/http1/chunked.ts",
  "src/http1/fields.ts",
  "src/http1/find-head.ts",
  "src/http1/head-scan.ts",
  "src/http1/response-head.ts",
  "src/http1/write-head.ts",
  "src/identity/intercepts.ts",
  "src/lifecycle.ts",
  "src/listener/bind.ts",
  "src/listener/plan.ts",
];

describe("the cold tier of the layer", () => {
  test("holds exactly these source files", () => {
    expect(cold.sources).toEqual(COLD_SOURCES);
  });

  test("asks Node for nothing that takes long to load", () => {
    expect(cold.outside).toEqual(["node:buffer", "node:fs", "node:net", "node:path"]);
  });

  test("holds no package", () => {
    expect(packagesOf(cold)).toEqual([]);
  });

  // A sudden drop is a defect too: something that has to be loaded is loaded by whoever waits.
  test("weighs between 16 and 40 KiB", () => {
    expect(cold.bytes).toBeGreaterThan(16 * 1024);
    expect(cold.bytes).toBeLessThan(40 * 1024);
  });
});

describe("what a policy that opens TLS adds before register", () => {
  test("is exactly these source files", () => {
    expect(interception.sources).toEqual([
      "src/identity/authority.ts",
      "src/identity/certificate.ts",
      "src/identity/der.ts",
      "src/identity/interception.ts",
      "src/identity/pem.ts",
      "src/identity/server-name.ts",
      "src/identity/trust-files.ts",
      "src/identity/trust-store.ts",
      "src/identity/trust.ts",
    ]);
  });

  test("is one CommonJS file, of 4 to 16 KiB, without a package", () => {
    expect(interception.outputs).toEqual(["dist/layer/opt/outrider/interception.cjs"]);
    expect(packagesOf(interception)).toEqual([]);
    expect(interception.bytes).toBeGreaterThan(4 * 1024);
    expect(interception.bytes).toBeLessThan(16 * 1024);
  });

  test("asks Node for files and cryptography, and leaves TLS for later", () => {
    expect(interception.outside).toEqual(["node:crypto", "node:fs", "node:net", "node:path"]);
  });

  test("is in no other tier", () => {
    for (const tier of [cold, warm, idle, slow]) {
      expect(tier.outputs).not.toContain(interception.outputs[0]);
      expect(tier.sources).not.toContain("src/identity/authority.ts");
    }
  });
});

describe("the warm tier of the layer", () => {
  test("holds the whole data path", () => {
    for (const file of [
      "src/proxy.ts",
      "src/upstream/wire.ts",
      "src/policy/chain.ts",
      "src/listener/listener.ts",
    ]) {
      expect(warm.sources).toContain(file);
    }
  });

  test("holds no package", () => {
    expect(packagesOf(warm)).toEqual([]);
  });

  test("asks Node for sockets, names and TLS, and for no HTTP of its own", () => {
    expect(warm.outside).toEqual(["node:crypto", "node:dns", "node:fs", "node:net", "node:tls"]);
  });

  test("leaves HTTP/2 to the first call that speaks it", () => {
    const loaded = warm.sources.filter((file) =>
      /^src\/(?:http2\/native|(?:listener|upstream)\/(?:http2-connection|http2-exchange|http2-session|shared-dial))/.test(
        file,
      ),
    );
    expect(loaded).toEqual([]);
    const later = Object.values(metafile.outputs).flatMap(({ inputs }) => Object.keys(inputs));
    expect(later).toContain("src/upstream/http2-session.ts");
    expect(later).toContain("src/listener/http2-connection.ts");
  });

  test("weighs between 60 and 200 KiB", () => {
    expect(warm.bytes).toBeGreaterThan(60 * 1024);
    expect(warm.bytes).toBeLessThan(200 * 1024);
  });
});

describe("the rest of the layer", () => {
  test("is where the libraries are", () => {
    expect(packagesOf(idle)).toContain("pino");
    expect(packagesOf(slow)).toEqual(["yaml", "zod"]);
  });

  test("is reached by dynamic imports only", () => {
    const names = [idle, slow].map(({ outputs }) => outputs.find((file) => /\/(log|compile)[-.]/.test(file)));
    for (const name of names) {
      expect(name).toBeDefined();
      expect([...cold.outputs, ...warm.outputs]).not.toContain(name);
    }
  });

  test("has no client of its own: undici stays off the layer", () => {
    const sources = Object.keys(metafile.inputs);
    expect(sources.filter((file) => packageOf(file) === "undici")).toEqual([]);
    expect(sources.filter((file) => packageOf(file) === "pino")).not.toEqual([]);
  });
});

/**
 * Says at SIGUSR2 which modules of Node are loaded, `NativeModule http`, `NativeModule tls` … (process.moduleLoadList), and which
 * CommonJS files.
 */
const TELL_MODULES =
  'const{_cache}=process.getBuiltinModule("module");' +
  'process.on("SIGUSR2",()=>process.stderr.write("loaded "+JSON.stringify([...process.moduleLoadList,...Object.keys(_cache)])+"\\n"))';

/** Modules of Node that cost a cold start some milliseconds each, as `moduleLoadList` names them. */
const HEAVY = [
  "dns",
  "http",
  "_http_client",
  "_http_server",
  "https",
  "http2",
  "tls",
  "_tls_wrap",
  "crypto",
  "zlib",
];

/** Names of the layer's own CommonJS files in a list. */
const filesIn = (list: readonly string[]): string[] =>
  list.filter((name) => name.endsWith(".cjs")).map((name) => basename(name));

const heavyIn = (list: readonly string[]): string[] =>
  HEAVY.filter((name) => list.includes(`NativeModule ${name}`));

/** Runs the built extension against an Extensions API that stops at each of its calls and asks what is loaded by then. */
async function loadedAt(
  args: readonly string[] = [],
  policyFile: Omit<PolicyFile, "version"> = {},
): Promise<{ register: string[]; next: string[] }> {
  const folder = mkdtempSync(join(tmpdir(), "outrider-tiers-"));
  const policy = join(folder, "outrider.json");
  writeFileSync(policy, compiledText(resolvePolicy({ version: 1, listen: { port: 0 }, ...policyFile })));
  const calls: ((request: IncomingMessage, response: ServerResponse) => void)[] = [];
  const api = createServer((request, response) => calls.shift()!(request, response));
  const nextCall = () =>
    new Promise<ServerResponse>((called) => calls.push((_, response) => called(response)));
  await new Promise<void>((listening) => api.listen(0, "127.0.0.1", listening));
  const [atRegister, atNext] = [nextCall(), nextCall()];
  const child = spawn(
    process.execPath,
    [
      "--import",
      `data:text/javascript,${encodeURIComponent(TELL_MODULES)}`,
      ...args,
      resolve("dist/layer/opt/outrider/extension.cjs"),
    ],
    {
      env: {
        AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${(api.address() as AddressInfo).port}`,
        OUTRIDER_CONFIG: policy,
        TMPDIR: folder,
      },
      stdio: ["ignore", "ignore", "pipe"],
    },
  );
  const exited = once(child, "exit");
  const lines = createInterface(child.stderr)[Symbol.asyncIterator]();
  const ask = async (): Promise<string[]> => {
    child.kill("SIGUSR2");
    const { value } = await lines.next();
    if (!String(value).startsWith("loaded ")) throw new Error(`the extension said: ${value}`);
    return JSON.parse(String(value).slice("loaded ".length)) as string[];
  };
  try {
    const registered = await Promise.race([atRegister, exited.then(() => lines.next())]);
    if (!("writeHead" in registered)) throw new Error(`the extension ended: ${JSON.stringify(registered)}`);
    const register = await ask();
    registered.writeHead(200, { "Lambda-Extension-Identifier": "tiers" }).end("{}");
    await atNext;
    return { register, next: await ask() };
  } finally {
    child.kill("SIGKILL");
    await exited;
    api.closeAllConnections();
    api.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

describe("the running extension", () => {
  test("has loaded sockets, and no HTTP, TLS or cryptography, when it registers", async () => {
    const { register, next } = await loadedAt();
    expect(register).toContain("NativeModule net");
    expect(heavyIn(register)).toEqual([]);
    // The same question finds TLS once the warm tier is there.
    expect(heavyIn(next)).toEqual(expect.arrayContaining(["tls", "crypto"]));
    expect(heavyIn(next)).not.toContain("http");
  });

  test("has loaded neither X.509 code nor node:http2 when the function may start, with interception off", async () => {
    const { register, next } = await loadedAt();
    for (const loaded of [register, next]) {
      expect(filesIn(loaded)).toEqual(["extension.cjs"]);
      expect(heavyIn(loaded)).not.toContain("http2");
    }
  });

  test("has loaded X.509 code and cryptography, but no TLS and no node:http2, when it registers with interception on", async () => {
    const destinations = [{ name: "a", hosts: ["a.example"], tls: { intercept: true } }];
    const { register, next } = await loadedAt([], { destinations });
    expect(filesIn(register)).toEqual(["extension.cjs", "interception.cjs"]);
    expect(heavyIn(register)).toEqual(["crypto"]);
    expect(filesIn(next)).toEqual(filesIn(register));
    expect(heavyIn(next)).not.toContain("http2");
  });

  test("would be caught with node:http", async () => {
    const { register } = await loadedAt(["--import", "data:text/javascript,import%20%22node:http%22"]);
    expect(heavyIn(register)).toEqual(expect.arrayContaining(["http", "_http_client", "_http_server"]));
  });
});
