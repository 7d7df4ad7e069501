/**
 * A local AWS Lambda execution environment: the story on one screen.
 *
 * Joins the sandbox (processes and their lives), the three APIs that its processes call, and the endpoint that callers use. Holds
 * no logic. Everything listens on the loopback address.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../src/clock.ts";
import { type ApiServer, serve } from "./api-server.ts";
import { extensionsApi } from "./extensions-api.ts";
import type { InitReport } from "./init-flow.ts";
import type { InvokeContext } from "./invocation.ts";
import { invokeApi, invokePath } from "./invoke-api.ts";
import type { InvokeResult } from "./invoke-result.ts";
import { type EmulatorOptions, type ResolvedOptions, resolveOptions } from "./options.ts";
import type { ProcessGroup } from "./processes.ts";
import { runtimeApi } from "./runtime-api.ts";
import { Sandbox } from "./sandbox.ts";
import type { ShutdownReport } from "./shutdown.ts";
import { telemetryApi } from "./telemetry-api.ts";
import { Timeline, type TimelineEvent } from "./timeline.ts";

/** A running emulator. */
export interface Emulator {
  /** `host:port`, the value of AWS_LAMBDA_RUNTIME_API. */
  readonly runtimeApi: string;
  /** The base URL for an AWS SDK, and the whole URL of the function's invocations. */
  readonly endpoint: string;
  readonly invokeUrl: string;
  readonly options: ResolvedOptions;
  /** How the init phase went; never rejects. A failed one is tried again by the next invocation. */
  readonly init: Promise<InitReport>;
  /** What happened, oldest first. */
  readonly timeline: readonly TimelineEvent[];
  /**
   * Invokes the function; invocations run one after another. Resolves when the invocation is over for the extensions too.
   * Bytes and strings are sent as they are, anything else as JSON. Rejects with `InvokeRefused` when the queue is full.
   */
  invoke(payload: unknown, context?: InvokeContext): Promise<InvokeResult>;
  /** Calls `listener` at every event from now on; returns how to stop. */
  onEvent(listener: (event: TimelineEvent) => void): () => void;
  /** Freezes and thaws by hand; an invocation thaws by itself. */
  freeze(): void;
  thaw(): void;
  /** The process ids of the extensions that live, by name, and of the runtime. */
  extensionPids(): Record<string, number>;
  runtimePid(): number | undefined;
  /** Ends the environment, after the invocation that runs unless `now`. The same report to everybody who asks. */
  shutdown(how?: { now?: boolean }): Promise<ShutdownReport>;
}

/** Starts an emulator and its init phase. Throws `EmulatorOptionsError`, or a clear error when a port is taken. */
export async function startEmulator(given: EmulatorOptions): Promise<Emulator> {
  const checked = resolveOptions(given);
  const ownTmp = checked.tmpDir === "" ? await mkdtemp(join(tmpdir(), "outrider-emulator-")) : undefined;
  const options: ResolvedOptions = { ...checked, tmpDir: ownTmp ?? checked.tmpDir };
  const timeline = new Timeline(systemClock);
  const sandbox = new Sandbox(options, systemClock, timeline);
  const servers: ApiServer[] = [];
  const release = async () => {
    await Promise.all(servers.map((server) => server.close()));
    if (ownTmp !== undefined) await rm(ownTmp, { recursive: true, force: true });
  };
  try {
    const platform = [...runtimeApi(sandbox), ...extensionsApi(sandbox), ...telemetryApi(sandbox)];
    servers.push(await serve(platform, options.runtimeApiPort, "The Runtime API"));
    servers.push(await serve(invokeApi(sandbox), options.invokePort, "The Invoke endpoint"));
  } catch (error) {
    await release();
    throw error;
  }
  const [runtimePort, invokePort] = servers.map(({ port }) => port);
  const address = `127.0.0.1:${runtimePort}`;
  const endpoint = `http://127.0.0.1:${invokePort}`;
  const init = sandbox.start(address);
  let ended: Promise<ShutdownReport> | undefined;

  return {
    runtimeApi: address,
    endpoint,
    invokeUrl: endpoint + invokePath(options.functionName),
    options,
    init,
    timeline: timeline.events,
    invoke: async (payload, context) => sandbox.invoke(toBytes(payload), context).done,
    onEvent: (listener) => timeline.onEvent(listener),
    freeze: () => sandbox.freeze(),
    thaw: () => sandbox.thaw(),
    extensionPids: () => extensionPids(sandbox),
    runtimePid: () => livePid(sandbox.generation?.runtime),
    shutdown(how) {
      const report = sandbox.shutdown(how);
      ended ??= report.finally(release);
      return ended;
    },
  };
}

function toBytes(payload: unknown): Buffer {
  if (typeof payload === "string") return Buffer.from(payload);
  if (payload instanceof Uint8Array) return Buffer.from(payload);
  return Buffer.from(JSON.stringify(payload ?? null));
}

function extensionPids(sandbox: Sandbox): Record<string, number> {
  const pids: Record<string, number> = {};
  for (const [name, group] of sandbox.generation?.extensions ?? []) {
    const pid = livePid(group);
    if (pid !== undefined) pids[name] = pid;
  }
  return pids;
}

function livePid(group: ProcessGroup | undefined): number | undefined {
  return group === undefined || group.gone ? undefined : group.pid;
}
