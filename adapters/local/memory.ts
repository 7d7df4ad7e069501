/**
 * How much memory the sandbox has used.
 *
 * Owns reading Linux's /proc; on other systems the answer is 0. The figure is the sum of each process group leader's peak
 * resident size, so pages shared between two Node processes count twice: an upper estimate.
 */
import { readFileSync } from "node:fs";

/** Peak resident memory of these processes together, in MB, rounded up. */
export function peakMemoryMb(pids: Iterable<number>): number {
  let kilobytes = 0;
  for (const pid of pids) kilobytes += peakKilobytes(pid);
  return Math.ceil(kilobytes / 1024);
}

function peakKilobytes(pid: number): number {
  try {
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
  } catch {
    return 0;
  }
}
