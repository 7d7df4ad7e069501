/** The arithmetic of the benches as tables, with text as the kernel prints it. */

import { describe, expect, test } from "vitest";
import {
  median,
  pairedRatio,
  parseSchedstat,
  parseSmapsRollup,
  parseStat,
  percentile,
  spreadOf,
  treeOf,
} from "../../bench/measure.ts";

describe("median", () => {
  test.each([
    [[7], 7],
    [[3, 1, 2], 2],
    [[4, 1, 3, 2], 2.5],
    [[10, 9, 2], 9],
    [[-1, 0, 1, 1], 0.5],
  ])("of %j is %d", (values, expected) => {
    expect(median(values)).toBe(expected);
  });

  test("leaves the values in their order", () => {
    const values = [3, 1, 2];
    median(values);
    expect(values).toEqual([3, 1, 2]);
  });

  test("of nothing is a range error", () => {
    expect(() => median([])).toThrow(RangeError);
  });

  test("comes with the smallest and the largest value", () => {
    expect(spreadOf([5, 1, 9])).toEqual({ median: 5, min: 1, max: 9 });
  });
});

describe("the ratio of paired rounds", () => {
  test.each([
    [[2, 30, 4], [1, 10, 4], 2],
    [[3], [2], 1.5],
    [[3, 9], [0, 3], 3],
    [[3, 9], [-1, 3], 3],
    [[3, 9], [1], 3],
    [[3], [0], undefined],
    [[], [1], undefined],
    [[1], [], undefined],
  ])("of %j to %j is %s", (a, b, expected) => {
    expect(pairedRatio(a, b)).toBe(expected);
  });
});

describe("percentile, by nearest rank", () => {
  const hundred = Float64Array.from({ length: 100 }, (_, at) => at + 1);

  test.each([
    [hundred, 50, 50],
    [hundred, 99, 99],
    [hundred, 99.5, 100],
    [hundred, 100, 100],
    [hundred, 0.1, 1],
    [[4], 50, 4],
    [[4], 99, 4],
    [[1, 2], 50, 1],
    [[1, 2], 51, 2],
  ])("of case %# at %d is %d", (sorted, percent, expected) => {
    expect(percentile(sorted, percent)).toBe(expected);
  });

  test.each([
    [[], 50],
    [[1], 0],
    [[1], 101],
    [[1], Number.NaN],
  ])("of %j at %d is a range error", (sorted, percent) => {
    expect(() => percentile(sorted, percent)).toThrow(RangeError);
  });
});

describe("schedstat", () => {
  test("gives the first number, the ns on a CPU", () => {
    expect(parseSchedstat("80369 124385 2\n")).toBe(80_369);
  });

  test.each(["", "80369", "a b c", "1 2 3 4"])("refuses %j", (text) => {
    expect(() => parseSchedstat(text)).toThrow("schedstat");
  });
});

describe("stat", () => {
  const tail = "S 4200 7 7 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 1 0 1 1 1";

  test.each([
    [`7 (node) ${tail}`, { pid: 7, parentPid: 4200, cpuTicks: 200 }],
    [`81 (tmux: server) ${tail}`, { pid: 81, parentPid: 4200, cpuTicks: 200 }],
    [`9 (a) R 1 (b)) ${tail}`, { pid: 9, parentPid: 4200, cpuTicks: 200 }],
  ])("reads %j", (text, expected) => {
    expect(parseStat(text)).toEqual(expected);
  });

  test.each(["", "7 node S 1", "7 (node) S"])("refuses %j", (text) => {
    expect(() => parseStat(text)).toThrow("stat");
  });
});

describe("smaps_rollup", () => {
  const text = [
    "55f2a8c00000-7ffd3a3f2000 ---p 00000000 00:00 0                          [rollup]",
    "Rss:               61440 kB",
    "Pss:               30720 kB",
    "Pss_Dirty:         20000 kB",
    "Shared_Clean:      40000 kB",
    "SwapPss:               0 kB",
  ].join("\n");

  test("gives Pss and Rss, and no line whose name only contains them", () => {
    expect(parseSmapsRollup(text)).toEqual({ pssKb: 30_720, rssKb: 61_440 });
  });

  test("refuses a text without them", () => {
    expect(() => parseSmapsRollup("SwapPss: 0 kB")).toThrow("smaps_rollup");
  });
});

describe("the tree of a process", () => {
  const processes = [
    { pid: 1, parentPid: 0 },
    { pid: 10, parentPid: 1 },
    { pid: 13, parentPid: 12 },
    { pid: 12, parentPid: 10 },
    { pid: 11, parentPid: 10 },
    { pid: 20, parentPid: 1 },
  ];

  test.each([
    [10, [10, 12, 11, 13]],
    [13, [13]],
    [99, [99]],
  ])("of %d is %j", (root, expected) => {
    expect(treeOf(root, processes)).toEqual(expected);
  });

  test("ends even where a reused id closes a circle", () => {
    const circle = [
      { pid: 2, parentPid: 3 },
      { pid: 3, parentPid: 2 },
    ];
    expect(treeOf(2, circle)).toEqual([2, 3]);
  });
});
