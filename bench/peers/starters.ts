/**
 * The processes whose start the bench `cold-start` times.
 */

import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compiledText, compileOrThrow } from "../../src/config/compile.ts";
import { bundle } from "./node-peers.ts";
import { policy } from "./outrider.ts";
import type { Command } from "./server-process.ts";

/** One process to start. */
export interface Starter {
  readonly name: string;
  /** What ends the measured time: its call of `register`, or its own end. */
  readonly until: "register" | "exit";
  /** Why it cannot run here, as a sentence that names what is missing; undefined when it can. */
  readonly absence: string | undefined;
  /** Writes what it needs to `folder` and says how to start it. */
  prepare(folder: string): Promise<Pick<Command, "file" | "args" | "env">>;
}

/** The extension as the layer ships it: what Lambda finds under /opt. */
const extension = fileURLToPath(new URL("../../dist/layer/opt/extensions/outrider", import.meta.url));

/** Outrider first, then what it is held against. */
export const starters: readonly Starter[] = [
  {
    name: "outrider",
    until: "register",
    absence: existsSync(extension) ? undefined : "dist/layer is missing, run npm run build",
    prepare: async (folder) => {
      // As deployed: the policy is compiled ahead of time. Port 0 takes any free port.
      const config = join(folder, "policy.json");
      const { config: compiled } = compileOrThrow(policy({ port: 0, originPort: 9 }), "policy.yaml");
      await writeFile(config, compiledText(compiled));
      return { file: extension, args: [], env: { OUTRIDER_CONFIG: config } };
    },
  },
  {
    name: "bare-node",
    until: "exit",
    absence: undefined,
    prepare: async (folder) => {
      const file = join(folder, "empty.js");
      await writeFile(file, "");
      return { file: process.execPath, args: [file] };
    },
  },
  nodeStarter("net-only", "register-net-only"),
  nodeStarter("node-http-undici", "register-node-http-undici"),
];

function nodeStarter(name: string, source: string): Starter {
  return {
    name,
    until: "register",
    absence: undefined,
    prepare: async (folder) => ({ file: process.execPath, args: [await bundle(source, folder)] }),
  };
}
