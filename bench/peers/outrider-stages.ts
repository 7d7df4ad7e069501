/**
 * Outrider with one stage of its chain, with none and with all of them, for the bench `policy-chain`: the built command line with the V8
 * flags of its launcher. Every stage is set so that it does its work for each call and lets all of them pass.
 */

import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { compiledText, compileOrThrow } from "../../src/config/compile.ts";
import { program, v8Flags } from "./outrider.ts";
import { freePort, startServer } from "./server-process.ts";
import type { Subject } from "./subject.ts";

/** What one subject's policy says beyond the common part. */
export interface Stage {
  readonly name: string;
  /** Keys of the destination, YAML in one line each. */
  readonly keys: (originPort: number) => readonly string[];
  /** Keys of `limits`, which several stages share, in YAML's flow form. */
  readonly limits?: string;
  readonly propagate?: string;
  readonly addedHeaders?: readonly string[];
}

/** From now; of a date that is cut off at its day, at least a day is left. The policy allows 30. */
const faultExpiryMs = 2 * 86_400_000;

const only = (line: string) => () => [line];

/** The stages, in the order of the chain. */
const stages: readonly Stage[] = [
  { name: "deadline", keys: only("timeout: 10s") },
  { name: "fallback", keys: only('fallback: { on: [503], status: 200, body: "{}" }') },
  { name: "stale-if-error", keys: only("stale_if_error: { max_age: 1m }") },
  { name: "rate-limit", keys: () => [], limits: "rate: 100000/s, burst: 100000" },
  { name: "invocation-budget", keys: () => [], limits: "per_invocation: { calls: 1000000 }" },
  { name: "concurrency-limit", keys: () => [], limits: "max_concurrency: 1000" },
  {
    name: "adaptive-concurrency",
    keys: () => [],
    limits: "adaptive_concurrency: { min: 200, max: 400, queue: 1000 }",
  },
  { name: "split", keys: only("split: [{ host: 127.0.0.1, weight: 50 }]") },
  { name: "retry", keys: only("retry: { max_retries: 2 }") },
  { name: "per-try-timeout", keys: only("per_try_timeout: 5s") },
  { name: "hedge", keys: only("hedge: { delay: 2s }") },
  { name: "endpoints", keys: (port) => [`endpoints: [{ host: 127.0.0.1, port: ${port} }]`] },
  { name: "circuit-breaker", keys: only("circuit_breaker: {}") },
  {
    name: "mirror",
    // To a port where nobody listens: the origin is to answer the calls that are counted, and no others.
    keys: only("mirror: { host: 127.0.0.1, port: 9, percent: 0.1 }"),
  },
  {
    name: "rewrite",
    keys: only("rewrite: { set_headers: [{ name: x-team, value: orders }] }"),
    addedHeaders: ["x-team"],
  },
  {
    name: "deadline-header",
    keys: () => ["timeout: 10s", "deadline_header: x-envoy-expected-rq-timeout-ms"],
    addedHeaders: ["x-envoy-expected-rq-timeout-ms"],
  },
  {
    name: "trace-context",
    keys: () => [],
    propagate: "tracecontext, xray",
    addedHeaders: ["traceparent", "X-Amzn-Trace-Id"],
  },
  {
    name: "fault",
    keys: () => {
      const expires = new Date(Date.now() + faultExpiryMs).toISOString().slice(0, 10);
      return [`fault: { percent: 0.1, delay: 1ms, expires: ${expires} }`];
    },
  },
];

const all: Stage = {
  name: "all",
  keys: (originPort) => [...new Set(stages.flatMap(({ keys }) => keys(originPort)))],
  limits: stages.flatMap(({ limits }) => limits ?? []).join(", "),
  propagate: "tracecontext, xray",
  addedHeaders: stages.flatMap(({ addedHeaders }) => addedHeaders ?? []),
};

/** `none`, each stage alone, `all`. */
export const STAGES: readonly Stage[] = [{ name: "none", keys: () => [] }, ...stages, all];

/** A subject for each of `STAGES`. */
export function stageSubjects(): Subject[] {
  return STAGES.map(subject);
}

function subject(stage: Stage): Subject {
  const { name } = stage;
  return {
    name,
    form: "absolute",
    version: undefined,
    absence: existsSync(program) ? undefined : "dist/outrider.js is missing, run npm run build",
    addedHeaders: stage.addedHeaders ?? [],
    start: async ({ originPort, folder }) => {
      const port = await freePort();
      const file = join(folder, `${name}.json`);
      const source = stagePolicy({ port, originPort, stage });
      await writeFile(file, compiledText(compileOrThrow(source, "outrider.yaml").config));
      const args = [...v8Flags, program, "run", "--config", file];
      const command = { name, file: process.execPath, args, env: { OUTRIDER_FAULTS: "on" } };
      return startServer(command, port);
    },
  };
}

/** The policy's source: one destination, the origin, with what `stage` says and no more. */
export function stagePolicy({
  port,
  originPort,
  stage,
}: {
  readonly port: number;
  readonly originPort: number;
  readonly stage: Pick<Stage, "keys" | "limits" | "propagate">;
}): string {
  const limits = stage.limits === undefined ? [] : [`limits: { ${stage.limits} }`];
  const keys = [...stage.keys(originPort), ...limits].map((line) => `    ${line}\n`).join("");
  return `
version: 1
on_proxy_failure: closed
listen: { port: ${port} }
acl: { default: deny, mode: enforce }
destinations:
  - name: origin
    hosts: ["127.0.0.1"]
    ports: [${originPort}, 9]
    allow_addresses: ["127.0.0.1:${originPort}", "127.0.0.1:9"]
    deadline_headers: []
${keys}telemetry: { access_log: sampled, sample: 0.01, propagate: [${stage.propagate ?? ""}] }
`;
}
