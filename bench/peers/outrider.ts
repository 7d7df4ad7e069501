/**
 * Outrider as it is shipped: the built command line, a policy with tracing, limits and sampled logs on, and
 * the V8 flags that its launcher sets.
 */

import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compiledText, compileOrThrow } from "../../src/config/compile.ts";
import { freePort, startServer } from "./server-process.ts";
import type { Subject } from "./subject.ts";

/** The built command line. */
export const program = fileURLToPath(new URL("../../dist/outrider.js", import.meta.url));

/** The flags of the launcher: a small young generation and its collector on one thread cost less CPU and memory. */
export const v8Flags = ["--max-semi-space-size=4", "--single-threaded-gc"];

/** The subject `outrider`. */
export function outrider(): Subject {
  return {
    name: "outrider",
    form: "absolute",
    version: undefined,
    absence: existsSync(program) ? undefined : "dist/outrider.js is missing, run npm run build",
    addedHeaders: ["traceparent", "X-Amzn-Trace-Id"],
    start: async ({ originPort, folder }) => {
      const port = await freePort();
      const file = join(folder, "outrider.json");
      // As deployed: compiled ahead, so that the libraries for YAML are never loaded.
      await writeFile(
        file,
        compiledText(compileOrThrow(policy({ port, originPort }), "outrider.yaml").config),
      );
      const args = [...v8Flags, program, "run", "--config", file];
      return startServer({ name: "outrider", file: process.execPath, args }, port);
    },
  };
}

/**
 * The policy that Outrider is measured with: one destination, for the origin on 127.0.0.1, with a deadline, both limits, both trace
 * formats, metrics and a sampled log. Its limits are counted in each call and are wide enough to refuse none. Retries are not
 * asked for: by default there are none.
 */
export function policy({ port, originPort }: { readonly port: number; readonly originPort: number }): string {
  return `
version: 1
on_proxy_failure: closed
listen: { port: ${port} }
acl: { default: deny, mode: enforce }
destinations:
  - name: origin
    hosts: ["127.0.0.1"]
    ports: [${originPort}]
    allow_addresses: ["127.0.0.1:${originPort}"]
    timeout: 10s
    limits: { rate: 100000/s, burst: 100000, max_concurrency: 1000 }
telemetry: { access_log: sampled, sample: 0.01, propagate: [tracecontext, xray] }
`;
}
