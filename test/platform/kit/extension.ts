/**
 * The built extension alone, started as Lambda starts it, against an Extensions API that the test plays: for what the emulator,
 * which is well behaved, never does.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { eventually } from "../conformance/kit/emulate.ts";
import { compiledPolicy } from "./function.ts";

/** A call that waits for the test's answer. */
export interface ApiCall {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
  answer(status: number, body: string, headers?: Record<string, string>): void;
  /** Ends the connection without an answer. */
  hangUp(): void;
}

/** An Extensions API on loopback that holds every call until the test answers it. */
export class PlayedApi {
  readonly #server: Server;
  readonly #calls: ApiCall[] = [];
  #taken = 0;

  constructor() {
    this.#server = createServer((request, response) => void this.#receive(request, response));
    this.#server.keepAliveTimeout = 0;
  }

  listen(): Promise<void> {
    return new Promise((listening) => this.#server.listen(0, "127.0.0.1", listening));
  }

  get authority(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Calls so far. */
  get count(): number {
    return this.#calls.length;
  }

  /** The next call that nobody has taken yet. */
  async call(): Promise<ApiCall> {
    const index = this.#taken++;
    return eventually(() => this.#calls[index]);
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = "";
    for await (const chunk of request) body += chunk;
    this.#calls.push({
      method: request.method!,
      path: request.url!,
      headers: request.headers,
      body,
      answer: (status, text, headers = {}) => void response.writeHead(status, headers).end(text),
      hangUp: () => void request.socket.destroy(),
    });
  }
}

/** How an extension ended. */
export interface ExtensionEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A running extension. */
export class Extension implements AsyncDisposable {
  readonly api: PlayedApi;
  readonly folder: string;
  readonly ended: Promise<ExtensionEnd>;
  readonly #child: ChildProcess;
  #errors = "";
  #output = "";

  constructor(api: PlayedApi, folder: string, child: ChildProcess) {
    this.api = api;
    this.folder = folder;
    this.#child = child;
    child.stderr!.on("data", (chunk) => (this.#errors += chunk));
    child.stdout!.on("data", (chunk) => (this.#output += chunk));
    this.ended = once(child, "close").then(([code, signal]) => ({ code, signal }));
  }

  /** Lines so far on standard error. */
  get errors(): string[] {
    return linesOf(this.#errors);
  }

  /** Lines so far on standard output: the log. */
  get log(): Record<string, unknown>[] {
    return linesOf(this.#output).map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  /** Where it listens, as it tells the wrapper. */
  port(): Promise<number> {
    return eventually(() => portIn(this.folder));
  }

  /** Answers `register`, and gives the first `next`, which waits for an event. */
  async registered(): Promise<ApiCall> {
    (await this.api.call()).answer(200, "{}", { "Lambda-Extension-Identifier": "id-1" });
    return this.api.call();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.ended;
    this.api.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const linesOf = (text: string): string[] => text.split("\n").filter((line) => line !== "");

function portIn(folder: string): number | undefined {
  try {
    return Number.parseInt(readFileSync(join(folder, "outrider.port"), "utf8"), 10) || undefined;
  } catch {
    return undefined;
  }
}

/** What a test says about its extension. */
export interface ExtensionOptions {
  /** Text of the policy file; one that admits the tests' upstreams unless given. `null`: no file. */
  readonly policy?: string | null;
  readonly policyName?: string;
  /** Instead of what the kit sets; `undefined` leaves a variable out. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** Starts the extension by the script that the layer ships. */
export async function startExtension(options: ExtensionOptions = {}): Promise<Extension> {
  const folder = mkdtempSync(join(tmpdir(), "outrider-extension-"));
  const policy = join(folder, options.policyName ?? "outrider.json");
  if (options.policy !== null) writeFileSync(policy, options.policy ?? compiledPolicy());
  const api = new PlayedApi();
  await api.listen();
  const env = {
    PATH: `${dirname(process.execPath)}:/usr/bin:/bin`,
    TMPDIR: folder,
    AWS_LAMBDA_RUNTIME_API: api.authority,
    OUTRIDER_CONFIG: policy,
    ...options.env,
  };
  const given = Object.entries(env).filter(([, value]) => value !== undefined);
  const child = spawn(resolve("dist/layer/opt/extensions/outrider"), [], {
    cwd: folder,
    env: Object.fromEntries(given),
    stdio: ["ignore", "pipe", "pipe"],
  });
  return new Extension(api, folder, child);
}

/** The body of an INVOKE event. */
export function invokeEvent(requestId: string, leftMs: number): string {
  const tracing = { type: "X-Amzn-Trace-Id", value: "" };
  return JSON.stringify({ eventType: "INVOKE", deadlineMs: Date.now() + leftMs, requestId, tracing });
}

/** The body of a SHUTDOWN event. */
export function shutdownEvent(leftMs: number): string {
  return JSON.stringify({
    eventType: "SHUTDOWN",
    shutdownReason: "spindown",
    deadlineMs: Date.now() + leftMs,
  });
}

/** Whether anything listens on a loopback port. */
export function listens(port: number): Promise<boolean> {
  return new Promise((answered) => {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.on("error", () => answered(false));
    socket.on("connect", () => {
      socket.destroy();
      answered(true);
    });
  });
}
