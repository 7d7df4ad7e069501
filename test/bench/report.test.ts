/** Rows, verdicts and the results document, from made-up rounds. */

import { describe, expect, test } from "vitest";
import type { BenchResult } from "../../bench/bench.ts";
import { choose } from "../../bench/choose.ts";
import { type Bar, replaceSection, Samples, toJson, toMarkdown, verdictOf } from "../../bench/report.ts";

function samples(): Samples {
  const collected = new Samples(["outrider", "haproxy", "direct"]);
  for (const cpu of [30, 10, 20]) collected.add("outrider", { cpu_us_per_request: cpu, pss_kb: 61_440 });
  collected.add("haproxy", { cpu_us_per_request: 16 });
  return collected;
}

function resultWith(bars: readonly Bar[]): BenchResult {
  return {
    bench: "passthrough",
    machine: { cpu: "Abacus", cores: 2, memory_mb: 64, os: "Linux 6", arch: "x64", load_1m: 0 },
    versions: { node: "24.0.0" },
    seed: 7,
    rounds: 3,
    rows: samples().rows(),
    ratios: samples().ratios("cpu_us_per_request", "haproxy"),
    bars,
    notes: ["A note."],
    skipped: ["nginx was skipped: nginx is not installed."],
  };
}

describe("rows", () => {
  test("hold each metric as a median with its minimum and maximum beside it", () => {
    expect(samples().rows()[0]).toEqual({
      subject: "outrider",
      metrics: {
        cpu_us_per_request: 20,
        cpu_us_per_request_min: 10,
        cpu_us_per_request_max: 30,
        pss_kb: 61_440,
        pss_kb_min: 61_440,
        pss_kb_max: 61_440,
      },
    });
  });

  test("come in the announced order, without subjects that have no round", () => {
    expect(
      samples()
        .rows()
        .map(({ subject }) => subject),
    ).toEqual(["outrider", "haproxy"]);
  });

  test("refuse a subject that was not announced", () => {
    expect(() => samples().add("squid", {})).toThrow("squid");
  });

  test("give what the rounds measured, and nothing for an absent subject or metric", () => {
    expect(samples().values("outrider", "cpu_us_per_request")).toEqual([30, 10, 20]);
    expect(samples().values("nginx", "cpu_us_per_request")).toEqual([]);
    expect(samples().values("haproxy", "pss_kb")).toEqual([]);
  });
});

describe("the ratios to a subject", () => {
  test("are taken round by round, and leave out subjects without the metric", () => {
    const collected = samples();
    collected.add("haproxy", { cpu_us_per_request: 8 });
    collected.add("haproxy", { cpu_us_per_request: 8 });
    // 30 / 16, 10 / 8 and 20 / 8, where the medians themselves would give 20 / 8.
    expect(collected.ratios("cpu_us_per_request", "haproxy").bySubject).toEqual({
      outrider: 1.875,
      haproxy: 1,
    });
  });

  test("are absent when the reference did not run", () => {
    expect(samples().ratios("cpu_us_per_request", "direct").bySubject).toEqual({});
    expect(samples().ratio("cpu_us_per_request", "outrider", "nginx")).toBeUndefined();
  });
});

test.each([
  [1.0, 1.0, "aim met"],
  [1.01, 1.0, "met"],
  [1.6, 1.0, "met"],
  [1.61, 1.0, "not met"],
  [0.5, undefined, "met"],
  [undefined, 1.0, "not measured"],
] as const)("a figure of %s against limit 1.6 and aim %s: %s", (measured, aim, verdict) => {
  expect(verdictOf({ what: "CPU", unit: "×", measured, limit: 1.6, aim })).toBe(verdict);
});

test.each([
  [8.0, 8.0, "aim met"],
  [2.0, 8.0, "met"],
  [1.99, 8.0, "not met"],
  [undefined, 8.0, "not measured"],
] as const)(
  "where more is better, a figure of %s against limit 2 and aim %s: %s",
  (measured, aim, verdict) => {
    expect(verdictOf({ what: "requests", unit: "×", better: "more", measured, limit: 2, aim })).toBe(verdict);
  },
);

test("JSON holds bench, machine, versions, seed and rows, and nothing else", () => {
  const json = toJson(resultWith([]));
  expect(Object.keys(json)).toEqual(["bench", "machine", "versions", "seed", "rows"]);
});

describe("Markdown", () => {
  const bar: Bar = { what: "CPU per request, to haproxy", unit: "×", measured: 1.25, limit: 1.6, aim: 1 };
  const lines = toMarkdown(resultWith([bar]), "2026-01-02").split("\n");

  test("names the date, the machine, the versions, the seed, the notes and what was skipped", () => {
    expect(lines).toContain("- Date: 2026-01-02");
    expect(lines).toContain("- Machine: Abacus, 2 cores, 64 MB, Linux 6 x64, load 0 before the run");
    expect(lines).toContain("- Versions: node 24.0.0");
    expect(lines).toContain("- Seed: 7, rounds: 3");
    expect(lines).toContain("- A note.");
    expect(lines).toContain("- nginx was skipped: nginx is not installed.");
  });

  test("has a row for each subject with its ratio to the reference, and a dash where a metric is absent", () => {
    const cells = (start: string) =>
      lines
        .find((line) => line.startsWith(start))
        ?.split("|")
        .map((cell) => cell.trim());
    expect(cells("| subject")).toEqual([
      "",
      "subject",
      "CPU µs/request",
      "PSS MB",
      "CPU µs/request ÷ haproxy",
      "",
    ]);
    expect(cells("| outrider")).toEqual(["", "outrider", "20.0 (10.0-30.0)", "60.0 (60.0-60.0)", "1.88", ""]);
    expect(cells("| haproxy")).toEqual(["", "haproxy", "16.0 (16.0-16.0)", "-", "1.00", ""]);
  });

  test("says of a bar where more is better that its limit is the least", () => {
    const more: Bar = { what: "requests", unit: "×", better: "more", measured: 9, limit: 8, aim: undefined };
    expect(toMarkdown(resultWith([more]), "2026-01-02")).toMatch(/\| +9\.00× \| ≥ 8\.00× \| +- \| +met \|/);
  });

  test("has a line for each bar with its verdict", () => {
    expect(lines).toContainEqual(
      expect.stringMatching(/^\| CPU per request, to haproxy \| +1\.25× \| ≤ 1\.60× \| ≤ 1\.00× \| +met \|$/),
    );
  });
});

describe("a section of the results document", () => {
  const document = "# Measured\n\n## passthrough\n\nold\n\n## cold-start\n\nkept\n";

  test("takes the place of the one with its name", () => {
    expect(replaceSection(document, "passthrough", "## passthrough\n\nnew\n")).toBe(
      "# Measured\n\n## passthrough\n\nnew\n\n## cold-start\n\nkept\n",
    );
  });

  test("takes the place of the last one too", () => {
    expect(replaceSection(document, "cold-start", "## cold-start\n\nnew\n")).toBe(
      "# Measured\n\n## passthrough\n\nold\n\n## cold-start\n\nnew\n",
    );
  });

  test("is appended when there is none with its name", () => {
    expect(replaceSection("# Measured\n", "passthrough", "## passthrough\n")).toBe(
      "# Measured\n\n## passthrough\n",
    );
  });
});

describe("the choice of subjects", () => {
  const candidates = [
    { name: "outrider", absence: undefined },
    { name: "nginx", absence: "nginx is not installed" },
  ];

  test("takes all by default, and says by name which one cannot run and why", () => {
    expect(choose(candidates, { only: undefined })).toEqual({
      present: [candidates[0]],
      skipped: ["nginx was skipped: nginx is not installed."],
    });
  });

  test("says nothing of a subject that was not asked for", () => {
    expect(choose(candidates, { only: ["outrider"] })).toEqual({ present: [candidates[0]], skipped: [] });
  });
});
