/**
 * Reads CPU time and memory of a process and its descendants from /proc. Linux only.
 * Owns the reading; the parsing and the arithmetic are in `measure.ts`.
 */

import { readdirSync, readFileSync } from "node:fs";
import {
  type ProcessMemory,
  type ProcessStat,
  parseSchedstat,
  parseSmapsRollup,
  parseStat,
  ticksPerSecond,
  treeOf,
} from "./measure.ts";

/** Throws an Error that names the remedy when this machine has no /proc to account with. */
export function requireProc(): void {
  if (process.platform !== "linux") {
    throw new Error(
      `the benches read CPU time and memory from /proc: run them on Linux, not ${process.platform}`,
    );
  }
}

/**
 * CPU time in µs that the process `root` and its descendants have used so far, over all their threads.
 * It is exact to the ns where the kernel keeps schedstat, and to 10 ms (one tick) where it does not.
 */
export function cpuUsOf(root: number): number {
  let totalUs = 0;
  for (const pid of processTree(root)) totalUs += cpuUsOfProcess(pid);
  return totalUs;
}

/** Memory of the process `root` and its descendants together, in KiB. */
export function memoryOf(root: number): ProcessMemory {
  const total = { pssKb: 0, rssKb: 0 };
  for (const pid of processTree(root)) {
    const text = readIfAlive(`/proc/${pid}/smaps_rollup`);
    // A process that is ending has no memory map left, and the kernel answers with an empty file.
    if (!text) continue;
    const memory = parseSmapsRollup(text);
    total.pssKb += memory.pssKb;
    total.rssKb += memory.rssKb;
  }
  return total;
}

function processTree(root: number): number[] {
  const processes: ProcessStat[] = [];
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const text = readIfAlive(`/proc/${name}/stat`);
    if (text) processes.push(parseStat(text));
  }
  return treeOf(root, processes);
}

function cpuUsOfProcess(pid: number): number {
  const folder = `/proc/${pid}/task`;
  let totalNs = 0;
  for (const thread of listIfAlive(folder)) {
    const text = readIfAlive(`${folder}/${thread}/schedstat`);
    if (text === undefined) return cpuUsByTicks(pid);
    totalNs += parseSchedstat(text);
  }
  return totalNs / 1000;
}

function cpuUsByTicks(pid: number): number {
  const text = readIfAlive(`/proc/${pid}/stat`);
  return text ? (parseStat(text).cpuTicks / ticksPerSecond) * 1e6 : 0;
}

/** A process may end between the listing and the reading: then there is nothing to read, which is no error. */
function readIfAlive(path: string): string | undefined {
  return ifAlive(() => readFileSync(path, "latin1"));
}

function listIfAlive(path: string): string[] {
  return ifAlive(() => readdirSync(path)) ?? [];
}

function ifAlive<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH") return undefined;
    throw error;
  }
}
