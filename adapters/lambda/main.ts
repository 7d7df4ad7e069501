/**
 * Outrider as an external extension of AWS Lambda. Every static import here is of the cold tier: it is loaded before Lambda may
 * start the function's runtime. The rest loads while the runtime boots.
 */
import { existsSync, renameSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { systemClock } from "../../src/clock.ts";
import { findPolicy } from "../../src/config/find.ts";
import { ConfigError, loadPolicy } from "../../src/config/load.ts";
import type { Config } from "../../src/config/types.ts";
import type { Fleet } from "../../src/fleet/fleet.ts";
import type { Interception } from "../../src/identity/interception.ts";
import { intercepts } from "../../src/identity/intercepts.ts";
import { Lifecycle } from "../../src/lifecycle.ts";
import { bindAll } from "../../src/listener/plan.ts";
import { HostError, LambdaHost } from "./host.ts";

/** Where a policy is looked for when OUTRIDER_CONFIG names none. `outrider compile` writes the first ones. */
const CANDIDATES = [
  "/var/task/outrider.json",
  "/opt/outrider.json",
  "/var/task/outrider.yaml",
  "/opt/outrider.yaml",
];
/** Lambda gives the sandbox 2 s from SHUTDOWN, the last 300 ms of which may go to killing; calls in flight get what is before. */
const DRAIN_MS_MAX = 1500;

/** The name that Lambda expects in `register`: that of the file that it started. */
const EXTENSION_NAME = "outrider";

async function readConfig(env: NodeJS.ProcessEnv): Promise<Config> {
  const found = findPolicy({ env, candidates: CANDIDATES, exists: existsSync });
  if (found === null) {
    throw new ConfigError(
      `no policy: put outrider.json (made by \`outrider compile\`) beside the handler, or name one in OUTRIDER_CONFIG; looked at ${CANDIDATES.join(", ")}`,
    );
  }
  const loaded = loadPolicy(found.path);
  if (loaded.kind === "compiled") return loaded.config;
  // Works, but costs the cold start the YAML and schema libraries.
  const { compileOrThrow } = await import("../../src/config/compile.ts");
  return compileOrThrow(loaded.text, basename(found.path)).config;
}

/**
 * Makes the authority and the files that clients trust it by; `null` where that failed and the policy wants the function to run all
 * the same. Loads the code for it, which only such a policy needs.
 * @throws TrustFilesError
 */
async function prepare(config: Config, env: NodeJS.ProcessEnv): Promise<Interception | null> {
  const { prepareInterception, SANDBOX_VALIDITY_MS } = await import("../../src/identity/interception.ts");
  try {
    const interception = prepareInterception({
      clock: systemClock,
      validityMs: SANDBOX_VALIDITY_MS,
      env,
      directory: `${temporaryFolder(env)}/outrider-ca`,
    });
    for (const problem of interception.problems) say(problem);
    return interception;
  } catch (error) {
    if (config.onProxyFailure === "closed") throw error;
    say(
      `${(error as Error).message}; on_proxy_failure is open: no TLS is opened in this sandbox, those calls pass as tunnels`,
    );
    return null;
  }
}

const temporaryFolder = (env: NodeJS.ProcessEnv): string => env.TMPDIR || "/tmp";

/**
 * Tells the wrapper, which starts after every extension has registered, where the proxy listens ("off": nowhere) and, on a second
 * line, where the files are that clients have to trust ("": no TLS is opened).
 */
function publish(port: number | "off", trustDirectory: string, env: NodeJS.ProcessEnv): void {
  const path = `${temporaryFolder(env)}/outrider.port`;
  const lines = trustDirectory === "" ? `${port}\n` : `${port}\n${trustDirectory}\n`;
  try {
    // A new file put in place: a link that function code left there in an earlier life of the sandbox is replaced, not followed.
    writeFileSync(`${path}.${process.pid}`, lines, { mode: 0o644, flag: "wx" });
    renameSync(`${path}.${process.pid}`, path);
  } catch (error) {
    say(
      `cannot write ${path} (${(error as NodeJS.ErrnoException).code}); the wrapper falls back to OUTRIDER_PORT or 4140`,
    );
  }
}

/** What sandboxes share, where the policy says so; loaded only then. */
async function fleetOf({ fleet }: Config, env: NodeJS.ProcessEnv): Promise<{ fleet?: Fleet }> {
  if (fleet === null) return {};
  const { createFleet } = await import("../../src/fleet/fleet.ts");
  const password = env[fleet.passwordEnv] ?? "";
  const identity = identityOf(env);
  return { fleet: createFleet(fleet, { clock: systemClock, password, identity, report: say }) };
}

const identityOf = (env: NodeJS.ProcessEnv): string =>
  env.OUTRIDER_IDENTITY || env.AWS_LAMBDA_FUNCTION_NAME || "";

/** Writes each line of `text` with the program's name, since other extensions share the log. */
function say(text: string): void {
  process.stderr.write(text.replace(/^/gm, "outrider: ").concat("\n"));
}

/** Defects that are logged. Further ones are survived in silence, so that a loop of them does not fill the function's log. */
const DEFECTS_LOGGED_MAX = 10;
let defects = 0;

/**
 * An extension that exits takes the function with it. What threw outside of every handler belonged to one exchange, which its
 * deadline or its peer will end; the others go on.
 */
function surviveDefect(error: Error): void {
  defects += 1;
  if (defects <= DEFECTS_LOGGED_MAX)
    say(`defect, serving on: ${error.stack?.split("\n").slice(0, 3).join(" | ") ?? error.message}`);
}

/** The life of an extension that has nothing to do: exiting would take the function with it. */
async function standAside(host: LambdaHost, env: NodeJS.ProcessEnv): Promise<number> {
  publish("off", "", env);
  await host.register(EXTENSION_NAME);
  while ((await host.next()).kind !== "shutdown");
  return 0;
}

/** From start to the end of the sandbox. Resolves with the exit code. */
async function main(env: NodeJS.ProcessEnv): Promise<number> {
  const runtimeApi = env.AWS_LAMBDA_RUNTIME_API;
  if (!runtimeApi)
    throw new HostError(
      "AWS_LAMBDA_RUNTIME_API is not set; this program runs inside AWS Lambda or `outrider emulate`",
    );
  const host = new LambdaHost(runtimeApi);
  const config = await readConfig(env);
  const bindings = await bindAll(config).catch((error: Error) => {
    if (config.onProxyFailure === "closed") throw error;
    say(`${error.message}; on_proxy_failure is open: the function runs without Outrider`);
    return null;
  });
  if (bindings === null) return await standAside(host, env);
  const interception = intercepts(config) ? await prepare(config, env) : null;
  publish(bindings[0]!.binding.port, interception?.directory ?? "", env);
  // From here the function may connect; what it sends waits until the warm tier serves it.
  await host.register(EXTENSION_NAME);
  // The first look at a clock loads Node's performance module (0.8 ms), so there is none before this line.
  const clock = systemClock;
  const lifecycle = new Lifecycle(clock);
  process.on("uncaughtException", surviveDefect);
  try {
    const { createProxy, faultsAllowed } = await import("../../src/proxy.ts");
    const tolerant =
      config.onProxyFailure === "open" ? { reportBroken: ({ message }: Error) => say(message) } : {};
    const opening = interception === null ? {} : { authority: interception.authority };
    const { telemetry } = createProxy(config, {
      clock,
      lifecycle,
      bindings,
      identity: identityOf(env),
      faultsAllowed: faultsAllowed(env),
      ...(await fleetOf(config, env)),
      ...tolerant,
      ...opening,
    });
    lifecycle.ready();
    // The first wait is also the word that init is done; the idle tier loads inside it.
    let event = host.next();
    // Should it fail before it is waited for below, that is no unhandled rejection.
    event.catch(() => {});
    await telemetry.start();
    if (telemetry.problem !== "") say(telemetry.problem);
    for (;;) {
      const { kind, deadlineWallMs, ...facts } = await event;
      if (kind === "shutdown") {
        const leftMs = Math.min(DRAIN_MS_MAX, deadlineWallMs - clock.wall());
        await lifecycle.drain(clock.now() + Math.max(0, leftMs));
        return 0;
      }
      const { requestId, trace } = facts as { requestId: string; trace: string };
      // What is left of the invocation before is written while the function is at work on this one, so that nobody waits for it.
      lifecycle.workStarted(requestId, deadlineWallMs, trace);
      await telemetry.flush(config.telemetry.flushCapMs);
      event = host.next();
    }
  } catch (error) {
    await host.fail(
      lifecycle.phase === "cold" ? "init" : "exit",
      "Extension.OutriderFailed",
      (error as Error).message,
    );
    throw error;
  }
}

main(process.env).then(
  (code) => process.exit(code),
  (error: unknown) => {
    say(error instanceof Error ? error.message : String(error));
    process.exit(1);
  },
);
