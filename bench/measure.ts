/**
 * The arithmetic of the benches: medians and percentiles, and the parsing of what Linux says of a process.
 * Pure: it opens no file and asks no clock. `proc.ts` reads /proc and hands the text to these functions.
 */

/** Median of several rounds, with the smallest and the largest one, so that a reader sees how steady it was. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** One process as the kernel describes it in /proc/PID/stat. */
export interface ProcessStat {
  readonly pid: number;
  readonly parentPid: number;
  /** User plus system time of all threads, living and ended, in kernel ticks (`ticksPerSecond`). */
  readonly cpuTicks: number;
}

/** Memory of one process in KiB, from /proc/PID/smaps_rollup. */
export interface ProcessMemory {
  /** Proportional set size: a page that n processes map counts as 1/n of a page. */
  readonly pssKb: number;
  /** Resident set size: each mapped page counts as a whole, so it is the bound when nothing is shared. */
  readonly rssKb: number;
}

/** USER_HZ: the unit of time in /proc/PID/stat, fixed at 100 for user space on Linux (man 5 proc_pid_stat). */
export const ticksPerSecond = 100;

/** The middle of the values, or the mean of the two in the middle. Throws a RangeError when there are none. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError("median: there are no values");
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length % 2 === 1) return sorted[middle]!;
  return (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Median, smallest and largest of the values. Throws a RangeError when there are none. */
export function spreadOf(values: readonly number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/**
 * The median of `a[i] / b[i]`, where both were measured in the same round i, so that a machine that was slower or faster
 * in one round does not count. Rounds in which `b` is not above 0 say nothing and are left out; undefined when none is left.
 */
export function pairedRatio(a: readonly number[], b: readonly number[]): number | undefined {
  const ratios = a.flatMap((value, at) => (b[at] !== undefined && b[at] > 0 ? [value / b[at]] : []));
  return ratios.length === 0 ? undefined : median(ratios);
}

/**
 * The nearest-rank percentile: the smallest value that at least `percent` of all values do not exceed.
 * `sorted` must be in ascending order; `percent` lies above 0 and at most 100, else a RangeError is thrown.
 */
export function percentile(sorted: ArrayLike<number>, percent: number): number {
  if (sorted.length === 0) throw new RangeError("percentile: there are no values");
  if (!(percent > 0 && percent <= 100)) {
    throw new RangeError(`percentile: ${percent} is not above 0 and at most 100`);
  }
  return sorted[Math.ceil((percent / 100) * sorted.length) - 1]!;
}

/**
 * CPU time of one thread in ns, from /proc/PID/task/TID/schedstat: the first of its three numbers
 * (Linux, Documentation/scheduler/sched-stats.rst). Throws an Error when the text has another shape.
 */
export function parseSchedstat(text: string): number {
  const match = /^(\d+) \d+ \d+\s*$/.exec(text);
  if (!match) throw new Error(`schedstat: expected three numbers, got ${JSON.stringify(text)}`);
  return Number(match[1]);
}

/**
 * Reads /proc/PID/stat. The command name is in parentheses and may itself hold spaces and parentheses, so
 * fields are counted from the last closing one (man 5 proc_pid_stat: fields 4, 14 and 15).
 * Throws an Error when the text has another shape.
 */
export function parseStat(text: string): ProcessStat {
  const nameEnd = text.lastIndexOf(")");
  const fields = text.slice(nameEnd + 2).split(" ");
  const pid = Number.parseInt(text, 10);
  const parentPid = Number(fields[1]);
  const cpuTicks = Number(fields[11]) + Number(fields[12]);
  if (nameEnd < 0 || Number.isNaN(pid + parentPid + cpuTicks)) {
    throw new Error(`stat: expected the fields of /proc/PID/stat, got ${JSON.stringify(text)}`);
  }
  return { pid, parentPid, cpuTicks };
}

/** Reads /proc/PID/smaps_rollup (man 5 proc_pid_smaps). Throws an Error when Pss or Rss is absent. */
export function parseSmapsRollup(text: string): ProcessMemory {
  const pss = /^Pss:\s+(\d+) kB$/m.exec(text);
  const rss = /^Rss:\s+(\d+) kB$/m.exec(text);
  if (!pss || !rss) throw new Error("smaps_rollup: expected the lines Pss and Rss");
  return { pssKb: Number(pss[1]), rssKb: Number(rss[1]) };
}

/** The process `root` and everything it started, directly or not, as process ids; the root comes first. */
export function treeOf(root: number, processes: readonly Pick<ProcessStat, "pid" | "parentPid">[]): number[] {
  const tree = [root];
  for (let at = 0; at < tree.length; at++) {
    for (const { pid, parentPid } of processes) {
      if (parentPid === tree[at] && !tree.includes(pid)) tree.push(pid);
    }
  }
  return tree;
}
