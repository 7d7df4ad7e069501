/** `outrider run`: serves a policy on this machine until it is told to stop. */

import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { systemClock } from "../clock.ts";
import { findPolicy, POLICY_FILE_NAMES } from "../config/find.ts";
import { loadPolicy } from "../config/load.ts";
import type { Config } from "../config/types.ts";
import type { Fleet } from "../fleet/fleet.ts";
import type { Interception } from "../identity/interception.ts";
import { intercepts } from "../identity/intercepts.ts";
import { Lifecycle } from "../lifecycle.ts";
import { BindError, type BoundRole, bindAll } from "../listener/plan.ts";
import { createProxy, faultsAllowed, type Proxy as ServingProxy } from "../proxy.ts";
import { TlsFileError } from "../upstream/tls.ts";
import type { Admin } from "./admin.ts";
import { type Command, Failure, type Terminal, UsageError } from "./command.ts";

/** Calls in flight may take this long to finish after SIGTERM; Cloud Run and ECS give a container 10 s and 30 s. */
const DRAIN_MS_MAX = 10_000;

const HELP = `outrider run: serve a policy on this machine

Usage: outrider run [--config FILE] [--port PORT] [--admin PORT]

  --config FILE   the policy, YAML or compiled; else OUTRIDER_CONFIG, else ./${POLICY_FILE_NAMES[0]}
  --port PORT     listen there instead of listen.port; 0 takes a free port
  --admin PORT    serve /healthz, /readyz and /metrics (Prometheus) on 127.0.0.1:PORT; without it there is no such port

Then point a program at it:
  HTTP_PROXY=http://127.0.0.1:4140 HTTPS_PROXY=http://127.0.0.1:4140 some-program

SIGTERM or Ctrl-C stops it: calls in flight get ${DRAIN_MS_MAX / 1000} s to finish; the second time it ends at once.
`;

/** See `command.ts`. */
export const command: Command = {
  summary: "serve a policy on this machine",
  help: HELP,
  run: async (argv, terminal) => {
    const { values } = parseArgs({
      args: [...argv],
      options: { config: { type: "string" }, port: { type: "string" }, admin: { type: "string" } },
    });
    const config = withPort(await readConfig(values.config, terminal), values.port);
    const adminPort = values.admin === undefined ? null : portOf("--admin", values.admin);
    const clock = systemClock;
    const lifecycle = new Lifecycle(clock);
    const bindings = await bound(config);
    const interception = await opened(config, bindings, terminal);
    const authority = interception === null ? {} : { authority: interception.authority };
    const fleet = await fleetOf(config, terminal);
    const ownPorts: number[] = [];
    const proxy = await served(
      () =>
        createProxy(config, {
          clock,
          lifecycle,
          bindings,
          ownPorts: () => ownPorts,
          identity: identityOf(terminal.env),
          faultsAllowed: faultsAllowed(terminal.env),
          ...fleet,
          ...authority,
        }),
      bindings,
      interception,
    );
    const { telemetry } = proxy;
    const admin = adminPort === null ? null : await adminFor(adminPort, proxy, lifecycle);
    if (admin !== null) ownPorts.push(admin.port);
    lifecycle.ready();
    lifecycle.workStarted("", Number.POSITIVE_INFINITY, "");
    await telemetry.start();
    if (telemetry.problem !== "") terminal.err(`outrider: ${telemetry.problem}\n`);
    // Whoever reads the line below may stop the program at once.
    const { interrupted } = terminal;
    terminal.err(
      `${ready(config, bindings)}${admin === null ? "" : `, admin on http://127.0.0.1:${admin.port}`}\n`,
    );
    if (interception !== null) terminal.err(`${trustLine(interception.files)}\n`);
    const signal = await interrupted;
    terminal.err(`outrider: ${signal}: draining\n`);
    await lifecycle.drain(clock.now() + DRAIN_MS_MAX);
    admin?.close();
    interception?.remove();
    return 0;
  },
};

async function readConfig(explicit: string | undefined, terminal: Terminal): Promise<Config> {
  const { env, cwd } = terminal;
  const candidates = [...POLICY_FILE_NAMES];
  const found = findPolicy({ explicit, env, candidates, exists: (name) => existsSync(resolve(cwd, name)) });
  if (found === null)
    throw new UsageError(`no policy: name one with --config FILE, or write ./${candidates[0]}`);
  const loaded = loadPolicy(resolve(cwd, found.path), found.path);
  if (loaded.kind === "compiled") return loaded.config;
  // The libraries for the source form stay in memory (some 60 MB): only who brings a source pays for them.
  const { compileOrThrow } = await import("../config/compile.ts");
  const { config, warnings } = compileOrThrow(loaded.text, found.path);
  for (const warning of warnings) terminal.err(`${warning}\n`);
  return config;
}

/** What sandboxes share, where the policy says so; loaded only then. */
async function fleetOf({ fleet }: Config, terminal: Terminal): Promise<{ fleet?: Fleet }> {
  if (fleet === null) return {};
  const { env } = terminal;
  const { createFleet } = await import("../fleet/fleet.ts");
  const password = env[fleet.passwordEnv] ?? "";
  const report = (sentence: string): void => terminal.err(`outrider: ${sentence}\n`);
  return { fleet: createFleet(fleet, { clock: systemClock, password, identity: identityOf(env), report }) };
}

/** K_SERVICE: Cloud Run, "Container runtime contract". */
const identityOf = (env: Terminal["env"]): string => env.OUTRIDER_IDENTITY || env.K_SERVICE || "";

function withPort(config: Config, port: string | undefined): Config {
  if (port === undefined) return config;
  return { ...config, listen: { ...config.listen, port: portOf("--port", port) } };
}

function portOf(option: string, text: string): number {
  if (!/^[0-9]{1,5}$/.test(text) || Number(text) > 65_535)
    throw new UsageError(`${option} ${text}: a port is 0 to 65535`);
  return Number(text);
}

/** Loads and starts the admin port, which most do not ask for. */
async function adminFor(
  port: number,
  { telemetry, listener }: ServingProxy,
  lifecycle: Lifecycle,
): Promise<Admin> {
  const { startAdmin, plainPage } = await import("./admin.ts");
  const isReady = () => lifecycle.phase === "ready" || lifecycle.phase === "busy";
  try {
    return await startAdmin(port, {
      "/healthz": () => plainPage(200, "ok"),
      "/readyz": () => plainPage(isReady() ? 200 : 503, lifecycle.phase),
      "/metrics": async () => {
        const { type, text } = await telemetry.prometheus();
        return { status: 200, type, body: text };
      },
    });
  } catch (error) {
    await listener.drain(0);
    throw new Failure(
      `--admin: 127.0.0.1:${port}: ${(error as NodeJS.ErrnoException).code}; choose another port (0 takes a free one)`,
    );
  }
}

async function bound(config: Config): Promise<BoundRole[]> {
  try {
    return await bindAll(config);
  } catch (error) {
    if (error instanceof BindError) throw new Failure(error.message);
    throw error;
  }
}

/**
 * The authority and its files, when the policy opens TLS; `null` when it does not, or when the files cannot be written and the policy
 * wants calls to pass all the same.
 */
async function opened(
  config: Config,
  bindings: readonly BoundRole[],
  terminal: Terminal,
): Promise<Interception | null> {
  if (!intercepts(config)) return null;
  const { LONG_VALIDITY_MS, prepareInterception, TrustFilesError } = await import(
    "../identity/interception.ts"
  );
  try {
    // Several programs may run on one machine; the port is what tells them apart.
    const directory = join(tmpdir(), `outrider-ca-${bindings[0]!.binding.port}`);
    const interception = prepareInterception({
      clock: systemClock,
      validityMs: LONG_VALIDITY_MS,
      env: terminal.env,
      directory,
    });
    for (const problem of interception.problems) terminal.err(`outrider: ${problem}\n`);
    return interception;
  } catch (error) {
    if (!(error instanceof TrustFilesError)) throw error;
    if (config.onProxyFailure === "closed") {
      await Promise.all(bindings.map(({ binding }) => binding.close()));
      throw new Failure(error.message);
    }
    terminal.err(
      `outrider: ${error.message}; on_proxy_failure is open: no TLS is opened, those calls pass as tunnels\n`,
    );
    return null;
  }
}

/** Runs `create`; when it fails, nothing stays bound, and no file stays. */
async function served<T>(
  create: () => T,
  bindings: readonly BoundRole[],
  interception: Interception | null,
): Promise<T> {
  try {
    return create();
  } catch (error) {
    interception?.remove();
    await Promise.all(bindings.map(({ binding }) => binding.close()));
    if (error instanceof TlsFileError) throw new Failure(error.message);
    throw error;
  }
}

/** The line that says how clients come to trust the authority. */
function trustLine({ extra, bundle }: Interception["files"]): string {
  return `outrider: TLS is opened for some hosts; clients trust it with NODE_EXTRA_CA_CERTS=${extra}, others with SSL_CERT_FILE=${bundle} (and REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE, AWS_CA_BUNDLE)`;
}

/** The line that says that connections are taken, and where. */
function ready(config: Config, bindings: readonly BoundRole[]): string {
  const places = bindings.map(({ binding: { host, port }, role }) => {
    const at = `${host.includes(":") ? `[${host}]` : host}:${port}`;
    return role.kind === "local" ? `http://${at} for ${role.destination}` : `http://${at}`;
  });
  return `outrider: policy ${config.version} on ${places.join(", ")}`;
}
