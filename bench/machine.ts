/**
 * Says on what a bench ran, so that figures of two runs are not compared without knowing.
 */

import { readFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem, type } from "node:os";
import { undiciVersion } from "./peers/node-peers.ts";

/** The machine of a run. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memory_mb: number;
  readonly os: string;
  readonly arch: string;
  /** Runnable processes in the minute before the run: on a busy machine the figures spread and latencies rise. */
  readonly load_1m: number;
}

/** Describes this machine now. */
export function describeMachine(): Machine {
  const cores = cpus();
  return {
    cpu: cores[0]?.model.trim() ?? "unknown",
    cores: cores.length,
    memory_mb: Math.round(totalmem() / 2 ** 20),
    os: `${type()} ${release()}`,
    arch: process.arch,
    load_1m: Math.round(loadavg()[0]! * 100) / 100,
  };
}

/** The versions that every bench reports; a bench adds those of its peers. */
export function describeVersions(): Record<string, string> {
  const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  return { outrider: manifest.version, node: process.versions.node, undici: undiciVersion() };
}
