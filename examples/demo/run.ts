/**
 * One run of the function in the emulator: a cold and a warm invocation, with Outrider or without.
 *
 * Owns starting and ending what a run needs, and what was observed in it. Judges nothing.
 */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { coldStartLine } from "../../adapters/local/cold-start.ts";
import { type Emulator, startEmulator } from "../../adapters/local/emulator.ts";
import type { LogLine } from "../../adapters/local/logs.ts";
import type { Stage } from "./stage.ts";
import { startOrders } from "./upstreams/orders.ts";
import { startPayments } from "./upstreams/payments.ts";
import { type SearchUpstream, startSearch } from "./upstreams/search.ts";
import { startStock } from "./upstreams/stock.ts";
import { type Seen, UPSTREAM_ADDRESS, type Upstream } from "./upstreams/upstream.ts";

/** The function's folder: the same for both runs. */
const FUNCTION = fileURLToPath(new URL("function/", import.meta.url));
const LAYER = fileURLToPath(new URL("../../dist/layer/opt/", import.meta.url));

/** Far more than the two seconds that an invocation takes: a busy machine must not end the demo. */
const FUNCTION_TIMEOUT_MS = 20_000;

/** Lines of the log that a failed invocation is explained with. */
const LOG_LINES_SHOWN = 10;

/** The upstreams that the function calls, and the ports that outrider.yaml names. */
const PORTS = { payments: 7401, stock: 7402, search: 7403, orders: 7404 } as const;

/** Name of an upstream, and of its destination in the policy. */
export type UpstreamName = keyof typeof PORTS;

/** What the function got for one call. */
export interface CallResult {
  /** Absent when `fetch` threw. */
  readonly status?: number;
  readonly body?: string;
  /** Code of the error that `fetch` threw. */
  readonly error?: string;
  readonly ms: number;
}

/** What the function answers. */
export interface FunctionReport {
  readonly payments: CallResult;
  readonly stock: CallResult;
  readonly orders: CallResult;
  readonly search: { readonly calls: readonly CallResult[]; readonly ms: number };
  /** The same call again and again. */
  readonly lookups: readonly CallResult[];
}

/** An invocation, as the function and the upstreams saw it. */
export interface Invocation {
  readonly report: FunctionReport;
  /** The platform's trace id of the invocation, in the 32 hex digits that `traceparent` uses. */
  readonly traceId: string;
  readonly seen: Readonly<Record<UpstreamName, readonly Seen[]>>;
  /** The most calls that reached `search` within a second. */
  readonly searchPeak: number;
}

/** A run. */
export interface Run {
  readonly cold: Invocation;
  readonly warm: Invocation;
  readonly coldStart: string;
  readonly initMs: number;
  /** The lines that Outrider wrote for each invocation, oldest first; none in a run without it. */
  readonly summaries: readonly Readonly<Record<string, unknown>>[];
}

/** The demo cannot go on; the message says why and what to do. */
export class DemoError extends Error {}

/**
 * Runs the function.
 * @param interrupt ends the run before its time
 * @throws DemoError, UpstreamError
 */
export async function runFunction(
  stage: Stage,
  withOutrider: boolean,
  interrupt = new AbortController().signal,
): Promise<Run> {
  const upstreams = await startUpstreams(stage);
  const log: LogLine[] = [];
  const emulator = await startEmulator({
    taskRoot: FUNCTION,
    handler: "index.handler",
    functionName: "demo",
    timeoutMs: FUNCTION_TIMEOUT_MS,
    onLog: (line) => void log.push(line),
    ...(withOutrider ? { optRoot: layer() } : {}),
    env: { ...baseUrls(upstreams), ...(withOutrider ? outriderSettings(stage, upstreams) : {}) },
  });
  const stop = () => void emulator.shutdown({ now: true });
  interrupt.addEventListener("abort", stop);
  try {
    const { durationMs: initMs } = await emulator.init;
    const coldStart = coldStartLine(emulator.timeline);
    const cold = await invoke(emulator, "A-1", upstreams, log);
    const warm = await invoke(emulator, "A-2", upstreams, log);
    // The last summary is written at the end of the sandbox.
    await emulator.shutdown();
    return { cold, warm, coldStart, initMs, summaries: summariesIn(log) };
  } catch (error) {
    throw interrupt.aborted ? new DemoError("interrupted") : error;
  } finally {
    interrupt.removeEventListener("abort", stop);
    await emulator.shutdown({ now: true });
    await Promise.all(names().map((name) => upstreams[name].close()));
  }
}

type Upstreams = Readonly<Record<UpstreamName, Upstream>> & { readonly search: SearchUpstream };

function names(): UpstreamName[] {
  return Object.keys(PORTS) as UpstreamName[];
}

async function startUpstreams({ certs }: Stage): Promise<Upstreams> {
  return {
    payments: await startPayments(PORTS.payments, certs),
    stock: await startStock(PORTS.stock),
    search: await startSearch(PORTS.search),
    orders: await startOrders(PORTS.orders),
  };
}

/** All that the function is told. */
function baseUrls(upstreams: Upstreams): Record<string, string> {
  const url = (name: UpstreamName) => `http://${UPSTREAM_ADDRESS}:${upstreams[name].port}`;
  return Object.fromEntries(names().map((name) => [`${name.toUpperCase()}_URL`, url(name)]));
}

/** What a function with the layer is configured with. */
function outriderSettings(stage: Stage, upstreams: Upstreams): Record<string, string> {
  return {
    AWS_LAMBDA_EXEC_WRAPPER: "/opt/outrider-wrapper",
    OUTRIDER_CONFIG: stage.writePolicy((name) => upstreams[name as UpstreamName].port),
  };
}

function layer(): string {
  if (existsSync(LAYER)) return LAYER;
  throw new DemoError("dist/layer/opt is missing; build it with: npm run build");
}

async function invoke(
  emulator: Emulator,
  order: string,
  upstreams: Upstreams,
  log: readonly LogLine[],
): Promise<Invocation> {
  const { status, payload, traceId } = await emulator.invoke({ order });
  if (status !== "success") {
    const lines = log.slice(-LOG_LINES_SHOWN).map(({ process, text }) => `  [${process}] ${text}`);
    throw new DemoError(
      [`the function ended with ${status}: ${payload.toString()}; the log ends with:`, ...lines].join("\n"),
    );
  }
  return {
    report: JSON.parse(payload.toString()) as FunctionReport,
    traceId: /Root=1-([0-9a-f]{8})-([0-9a-f]{24})/.exec(traceId)?.slice(1).join("") ?? "",
    seen: {
      payments: upstreams.payments.take(),
      stock: upstreams.stock.take(),
      search: upstreams.search.take(),
      orders: upstreams.orders.take(),
    },
    searchPeak: upstreams.search.takePeak(),
  };
}

function summariesIn(log: readonly LogLine[]): Record<string, unknown>[] {
  return log
    .filter(({ source, text }) => source === "extension" && text.startsWith("{"))
    .map(({ text }) => JSON.parse(text) as Record<string, unknown>)
    .filter(({ event }) => event === "summary");
}
