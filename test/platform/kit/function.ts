/**
 * A function with the built layer in the emulator, for tests: what the layer ships, a policy, and a function that makes the calls
 * that its event asks for and answers with what came of them.
 */
import { chmodSync, cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { InvokeContext } from "../../../adapters/local/invocation.ts";
import type { EmulatorOptions } from "../../../adapters/local/options.ts";
import { compiledText } from "../../../src/config/compile.ts";
import { resolve } from "../../../src/config/resolve.ts";
import type { PolicyFile } from "../../../src/config/schema.ts";
import { emulate, eventually, type Subject } from "../conformance/kit/emulate.ts";

/** Where upstreams of these tests listen: loopback, and unlike 127.0.0.1 not in the NO_PROXY that the wrapper writes. */
export const UPSTREAM_HOST = "127.0.0.2";

/** A call that the function makes. */
export interface Call {
  readonly url: string;
  /** `fetch`, or `http`: node:http and node:https by the URL's scheme. The Python function knows urllib only. */
  readonly by?: "fetch" | "http";
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** What came of it. */
export interface CallResult {
  readonly status: number;
  /** Value of `Outrider-Error`, `null` when the answer is the upstream's own. */
  readonly code: string | null;
  readonly body: string;
  /** What the client threw, when it got no answer. */
  readonly error?: string;
}

const NODE_FUNCTION = `
import http from "node:http";
import https from "node:https";

const byFetch = async ({ url, method = "GET", headers = {}, body }) => {
  const response = await fetch(url, { method, headers, body });
  return { status: response.status, code: response.headers.get("outrider-error"), body: await response.text() };
};

const byHttp = ({ url, method = "GET", headers = {}, body }) =>
  new Promise((resolve, reject) => {
    const { request } = url.startsWith("https:") ? https : http;
    const outgoing = request(url, { method, headers, rejectUnauthorized: false }, async (response) => {
      let text = "";
      for await (const chunk of response) text += chunk;
      resolve({ status: response.statusCode, code: response.headers["outrider-error"] ?? null, body: text });
    });
    outgoing.on("error", reject);
    outgoing.end(body);
  });

export const handler = async ({ calls = [], env = [], hang = false, restMs = 0 }) => {
  await new Promise((resolve) => setTimeout(resolve, restMs));
  const results = [];
  for (const call of calls) {
    try {
      results.push(await (call.by === "http" ? byHttp : byFetch)(call));
    } catch (error) {
      results.push({ status: 0, code: null, body: "", error: String(error.cause?.message ?? error.message) });
    }
  }
  if (hang) await new Promise((resolve) => setTimeout(resolve, 600_000));
  return { results, env: Object.fromEntries(env.map((name) => [name, process.env[name] ?? null])) };
};
`;

const PYTHON_FUNCTION = `
import os, urllib.error, urllib.request

def ask(call):
    body = call.get("body")
    request = urllib.request.Request(call["url"], data=None if body is None else body.encode(),
                                     headers=call.get("headers", {}), method=call.get("method", "GET"))
    try:
        answer = urllib.request.urlopen(request)
    except urllib.error.HTTPError as refused:
        answer = refused
    with answer:
        return {"status": answer.status, "code": answer.headers.get("Outrider-Error"), "body": answer.read().decode()}

def handler(event, context):
    return {"results": [ask(call) for call in event.get("calls", [])], "env": {}}
`;

/** What a test says about its function. */
export interface FunctionOptions extends Partial<EmulatorOptions> {
  /** Content of the policy file; the tests' upstreams are admitted besides, and a free port is taken. */
  readonly policy?: Omit<PolicyFile, "version">;
  /** The policy file as text, instead. */
  readonly policyText?: string;
  /** Name of the policy file. */
  readonly policyName?: string;
  /** The function's variables; a value under /opt/ means the folder that stands for it. */
  readonly env?: Readonly<Record<string, string>>;
  /** More scripts at the top of the layers' tree: name → content. */
  readonly opt?: Readonly<Record<string, string>>;
}

/** What the handler returns. */
export interface Answer {
  readonly results: readonly CallResult[];
  readonly env: Readonly<Record<string, string | null>>;
}

/** A line of the extension's log that is JSON: of a call or a summary. */
export interface LogEntry {
  readonly event: "call" | "summary";
  readonly invocation_id: string;
  readonly [name: string]: unknown;
}

/** A function in the emulator. */
export interface TestFunction extends Subject {
  /** Invokes it with calls to make; throws when the invocation failed. */
  call(...calls: readonly Call[]): Promise<CallResult[]>;
  /** Invokes it with any event and gives its answer; throws when the invocation failed. */
  answer(event: unknown, context?: InvokeContext): Promise<Answer & { requestId: string }>;
  /** The log lines so far that are JSON, oldest first. */
  entries(): LogEntry[];
  /** Thaws the sandbox and resolves with the first entry that fits, as soon as it is there. */
  entry(fits: (entry: LogEntry) => boolean): Promise<LogEntry>;
  /** Lines so far that the extension wrote and that are not JSON. */
  said(): string[];
}

/** Starts a function behind the built layer; freezes between invocations unless told not to. */
export async function startFunction(options: FunctionOptions = {}): Promise<TestFunction> {
  const { policy, policyText, policyName = "outrider.json", opt = {}, env = {}, ...emulator } = options;
  const folder = mkdtempSync(join(tmpdir(), "outrider-function-"));
  const optRoot = join(folder, "opt");
  cpSync("dist/layer/opt", optRoot, { recursive: true });
  for (const [name, script] of Object.entries(opt)) {
    writeFileSync(join(optRoot, name), script);
    chmodSync(join(optRoot, name), 0o755);
  }
  const file = join(folder, policyName);
  writeFileSync(file, policyText ?? compiledPolicy(policy));
  const python = emulator.runtime === "python";
  const subject = await emulate(
    { task: { [python ? "app.py" : "index.mjs"]: python ? PYTHON_FUNCTION : NODE_FUNCTION } },
    {
      runtime: "node",
      handler: python ? "app.handler" : "index.handler",
      optRoot,
      freeze: true,
      ...emulator,
      env: {
        AWS_LAMBDA_EXEC_WRAPPER: "/opt/outrider-wrapper",
        OUTRIDER_CONFIG: file,
        ...Object.fromEntries(
          Object.entries(env).map(([name, value]) => [name, value.replace(/^\/opt\//, `${optRoot}/`)]),
        ),
      },
    },
  );
  return Object.assign(subject, conversation(subject), {
    async [Symbol.asyncDispose]() {
      await subject.emulator.shutdown({ now: true });
      rmSync(folder, { recursive: true, force: true });
      rmSync(subject.root, { recursive: true, force: true });
    },
  });
}

/** The compiled form of a policy that admits the tests' upstreams. */
export function compiledPolicy(policy: Omit<PolicyFile, "version"> = {}): string {
  const acl = {
    ...policy.acl,
    allow_addresses: [`${UPSTREAM_HOST}/32`, ...(policy.acl?.allow_addresses ?? [])],
  };
  return compiledText(resolve({ version: 1, listen: { port: 0 }, ...policy, acl }));
}

function conversation(subject: Subject) {
  const answer = async (event: unknown, context?: InvokeContext): Promise<Answer & { requestId: string }> => {
    const { status, payload, requestId, errorType } = await subject.emulator.invoke(event, context);
    if (status !== "success") throw new Error(`${status} ${errorType}: ${payload} ${logText(subject)}`);
    return { ...(JSON.parse(payload.toString()) as Answer), requestId };
  };
  const own = () => subject.logs.filter(({ process }) => process === "outrider").map(({ text }) => text);
  const entries = () =>
    own()
      .filter((text) => text.startsWith("{"))
      .map((text) => JSON.parse(text) as LogEntry);
  return {
    answer,
    call: async (...calls: readonly Call[]) => [...(await answer({ calls })).results],
    entries,
    entry: (fits: (entry: LogEntry) => boolean) => {
      // The freeze may come before the line of the last call is written; nothing is lost, it is written after the thaw.
      subject.emulator.thaw();
      return eventually(() => entries().find(fits));
    },
    said: () => own().filter((text) => !text.startsWith("{")),
  };
}

const logText = ({ logs }: Subject): string =>
  logs.map(({ process, text }) => `[${process}] ${text}`).join("\n");
