/**
 * The two peers written in Node, built by the bundler that builds Outrider, so that none of them pays for type
 * stripping or for a tree of small files when it starts. They run with Node's default flags.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { freePort, startServer } from "./server-process.ts";
import type { Subject } from "./subject.ts";

/** The subject `node-http-undici`: a `node:http` server with undici's dispatch. */
export function nodeHttpUndici(): Subject {
  return nodePeer("node-http-undici");
}

/** The subject `node-http-agent`: a `node:http` server with `http.Agent`. */
export function nodeHttpAgent(): Subject {
  return nodePeer("node-http-agent");
}

/** Bundles one TypeScript file of this folder into `folder` and returns the path of the result. */
export async function bundle(name: string, folder: string): Promise<string> {
  const outfile = join(folder, `${name}.cjs`);
  await build({
    entryPoints: [fileURLToPath(new URL(`${name}.ts`, import.meta.url))],
    outfile,
    bundle: true,
    platform: "node",
    target: "node24",
    format: "cjs",
    logLevel: "error",
  });
  return outfile;
}

/** The version of undici that the peers use. */
export function undiciVersion(): string {
  const manifest = new URL(import.meta.resolve("undici/package.json"));
  return JSON.parse(readFileSync(manifest, "utf8")).version;
}

function nodePeer(name: string): Subject {
  return {
    name,
    form: "absolute",
    version: undefined,
    absence: undefined,
    addedHeaders: [],
    start: async ({ folder }) => {
      const port = await freePort();
      const args = [await bundle(name, folder), String(port)];
      return startServer({ name, file: process.execPath, args }, port);
    },
  };
}
