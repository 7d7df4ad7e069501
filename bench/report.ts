/**
 * Turns measured rounds into rows, and rows into tables, verdicts and JSON. Pure: it prints and writes nothing.
 */

import type { BenchResult } from "./bench.ts";
import { pairedRatio, spreadOf } from "./measure.ts";

/** A metric of a row. The unit is the end of the name, or stands in front of `per_something`. */
export type MetricName =
  | "cpu_us_per_request"
  | "bench_cpu_us_per_request"
  | "requests_per_s"
  | "cpu_us_per_handshake"
  | "handshakes_per_s"
  | "up_mb_per_s"
  | "down_mb_per_s"
  | "cpu_us_per_mb"
  | "cpu_us_per_connect"
  | "connects_per_s"
  | "idle_connection_kb"
  | "open_exchange_kb"
  | "call_p50_us"
  | "call_p99_us"
  | "p50_us"
  | "p99_us"
  | "pss_kb"
  | "rss_kb"
  | "register_ms"
  | "chain_us_per_call"
  | "success_percent"
  | "brown_out_success_percent"
  | "amplification"
  | "recover_s";

/** One subject's metrics: for each metric its median under its name, beside it `_min` and `_max`. */
export interface Row {
  readonly subject: string;
  readonly metrics: Readonly<Record<string, number>>;
}

/** How the subjects compare to one of them in one metric. */
export interface Ratios {
  readonly metric: MetricName;
  readonly reference: string;
  /** Without the subjects that have no such metric; empty when the reference did not run. */
  readonly bySubject: Readonly<Record<string, number>>;
}

/** A limit that a run is held against. */
export interface Bar {
  readonly what: string;
  readonly unit: "×" | "MB" | "KB" | "s" | "µs";
  /** Which figures are better; the smaller ones unless it says otherwise. */
  readonly better?: "less" | "more";
  /** Undefined when one of its subjects did not run. */
  readonly measured: number | undefined;
  /** On the wrong side of it the bar is not met. */
  readonly limit: number;
  /** What the project aims at, where that is better than the limit. */
  readonly aim: number | undefined;
}

/** How a figure stands to its bar. */
export type Verdict = "aim met" | "met" | "not met" | "not measured";

/** How each metric is headed and shown, in the order of the columns. */
const columns: Readonly<
  Record<MetricName, { readonly title: string; readonly show: (value: number) => string }>
> = {
  register_ms: { title: "register ms", show: (value) => value.toFixed(1) },
  cpu_us_per_request: { title: "CPU µs/request", show: (value) => value.toFixed(1) },
  bench_cpu_us_per_request: { title: "load + origin CPU µs/request", show: (value) => value.toFixed(1) },
  requests_per_s: { title: "requests/s", show: (value) => value.toFixed(0) },
  cpu_us_per_handshake: { title: "CPU µs/handshake", show: (value) => value.toFixed(0) },
  handshakes_per_s: { title: "handshakes/s", show: (value) => value.toFixed(0) },
  cpu_us_per_mb: { title: "CPU µs/MB", show: (value) => value.toFixed(0) },
  up_mb_per_s: { title: "MB/s up", show: (value) => value.toFixed(0) },
  down_mb_per_s: { title: "MB/s down", show: (value) => value.toFixed(0) },
  cpu_us_per_connect: { title: "CPU µs/connection", show: (value) => value.toFixed(0) },
  connects_per_s: { title: "connections/s", show: (value) => value.toFixed(0) },
  idle_connection_kb: { title: "KB/idle connection", show: (value) => value.toFixed(1) },
  open_exchange_kb: { title: "KB/open exchange", show: (value) => value.toFixed(1) },
  call_p50_us: { title: "p50 µs/call", show: (value) => value.toFixed(2) },
  call_p99_us: { title: "p99 µs/call", show: (value) => value.toFixed(2) },
  p50_us: { title: "p50 µs, 1 connection", show: (value) => value.toFixed(0) },
  p99_us: { title: "p99 µs, 64 connections", show: (value) => value.toFixed(0) },
  pss_kb: { title: "PSS MB", show: (value) => (value / 1024).toFixed(1) },
  rss_kb: { title: "RSS MB", show: (value) => (value / 1024).toFixed(1) },
  chain_us_per_call: { title: "stages alone µs/call", show: (value) => value.toFixed(2) },
  success_percent: { title: "success %", show: (value) => value.toFixed(1) },
  brown_out_success_percent: { title: "in the brown-out %", show: (value) => value.toFixed(1) },
  amplification: { title: "attempts/call", show: (value) => value.toFixed(2) },
  recover_s: { title: "recovered after s", show: (value) => value.toFixed(1) },
};

/** Collects what each round measured of each subject, and gives rows in the order in which subjects were named. */
export class Samples {
  readonly #bySubject = new Map<string, Map<MetricName, number[]>>();

  /** `subjects` fixes the order of the rows. */
  constructor(subjects: readonly string[]) {
    for (const subject of subjects) this.#bySubject.set(subject, new Map());
  }

  /** Adds one round of one subject. A metric that does not apply to the subject is left out. */
  add(subject: string, round: Readonly<Partial<Record<MetricName, number>>>): void {
    const metrics = this.#bySubject.get(subject);
    if (!metrics) throw new Error(`samples: ${subject} was not announced`);
    for (const [name, value] of Object.entries(round) as [MetricName, number][]) {
      const values = metrics.get(name);
      if (values) values.push(value);
      else metrics.set(name, [value]);
    }
  }

  /** What the rounds measured, in their order; empty when the subject did not run or has no such metric. */
  values(subject: string, metric: MetricName): readonly number[] {
    return this.#bySubject.get(subject)?.get(metric) ?? [];
  }

  /** How many times as much of a metric `subject` has as `reference`, round by round; see `pairedRatio`. */
  ratio(metric: MetricName, subject: string, reference: string): number | undefined {
    return pairedRatio(this.values(subject, metric), this.values(reference, metric));
  }

  /** The ratio of every subject to `reference`, for the last column of the table. */
  ratios(metric: MetricName, reference: string): Ratios {
    const bySubject: Record<string, number> = {};
    for (const subject of this.#bySubject.keys()) {
      const value = this.ratio(metric, subject, reference);
      if (value !== undefined) bySubject[subject] = value;
    }
    return { metric, reference, bySubject };
  }

  /** A row for each subject that has at least one round. */
  rows(): Row[] {
    return [...this.#bySubject]
      .filter(([, metrics]) => metrics.size > 0)
      .map(([subject, metrics]) => ({ subject, metrics: flattened(metrics) }));
  }
}

function flattened(metrics: ReadonlyMap<MetricName, readonly number[]>): Record<string, number> {
  const flat: Record<string, number> = {};
  for (const [name, values] of metrics) {
    const { median, min, max } = spreadOf(values);
    flat[name] = rounded(median);
    flat[`${name}_min`] = rounded(min);
    flat[`${name}_max`] = rounded(max);
  }
  return flat;
}

/** Holds a bar's figure against its limit and its aim. */
export function verdictOf(bar: Bar): Verdict {
  if (bar.measured === undefined) return "not measured";
  const { measured } = bar;
  const reaches = (mark: number) => (bar.better === "more" ? measured >= mark : measured <= mark);
  if (!reaches(bar.limit)) return "not met";
  return bar.aim !== undefined && reaches(bar.aim) ? "aim met" : "met";
}

/** The machine-readable form of a result. */
export function toJson({ bench, machine, versions, seed, rows }: BenchResult): object {
  return { bench, machine, versions, seed, rows };
}

/** The whole result as Markdown, which reads well on a terminal too; headed by `## bench`. */
export function toMarkdown(result: BenchResult, date: string): string {
  const { machine } = result;
  const versions = Object.entries(result.versions).map(([name, version]) => `${name} ${version}`);
  const lines = [
    `## ${result.bench}`,
    "",
    `- Date: ${date}`,
    `- Machine: ${machine.cpu}, ${machine.cores} cores, ${machine.memory_mb} MB, ${machine.os} ${machine.arch}, ` +
      `load ${machine.load_1m} before the run`,
    `- Versions: ${versions.join(", ")}`,
    `- Seed: ${result.seed}, rounds: ${result.rounds}`,
    "",
    "Medians of the rounds, with the smallest and the largest round in parentheses; a ratio is the median of the ratios " +
      "within the rounds.",
    "",
    ...rowTable(result),
    "",
    ...barTable(result.bars),
  ];
  if (result.picture !== undefined) lines.push("", `![${result.bench}](${result.picture.file})`);
  const remarks = [...result.notes, ...result.skipped];
  if (remarks.length > 0) lines.push("", ...remarks.map((remark) => `- ${remark}`));
  return `${lines.join("\n")}\n`;
}

/**
 * Replaces the section headed `## bench` in a document, or appends it; other sections stay as they are.
 * A section ends where the next one begins.
 */
export function replaceSection(document: string, bench: string, section: string): string {
  const start = document.search(new RegExp(`^## ${bench}$`, "m"));
  if (start < 0) return `${document.trimEnd()}\n\n${section}`;
  const next = document.indexOf("\n## ", start + 1);
  const rest = next < 0 ? "" : `\n${document.slice(next + 1)}`;
  return document.slice(0, start) + section + rest;
}

function rowTable({ rows, ratios }: BenchResult): string[] {
  const shown = (Object.keys(columns) as MetricName[]).filter((name) =>
    rows.some((row) => name in row.metrics),
  );
  const header = ["subject", ...shown.map((name) => columns[name].title)];
  const body = rows.map(({ subject, metrics }) => [subject, ...shown.map((name) => cell(metrics, name))]);
  if (Object.keys(ratios.bySubject).length > 0) {
    header.push(`${columns[ratios.metric].title} ÷ ${ratios.reference}`);
    rows.forEach(({ subject }, at) => {
      body[at]!.push(ratios.bySubject[subject]?.toFixed(2) ?? "-");
    });
  }
  return table(header, body);
}

function cell(metrics: Readonly<Record<string, number>>, name: MetricName): string {
  const median = metrics[name];
  if (median === undefined) return "-";
  const { show } = columns[name];
  return `${show(median)} (${show(metrics[`${name}_min`]!)}-${show(metrics[`${name}_max`]!)})`;
}

function barTable(bars: readonly Bar[]): string[] {
  const figure = (value: number | undefined, unit: Bar["unit"]) => {
    if (value === undefined) return "-";
    return unit === "×" ? `${value.toFixed(2)}×` : `${value.toFixed(1)} ${unit}`;
  };
  const sign = ({ better }: Bar) => (better === "more" ? "≥" : "≤");
  const body = bars.map((bar) => [
    bar.what,
    figure(bar.measured, bar.unit),
    `${sign(bar)} ${figure(bar.limit, bar.unit)}`,
    bar.aim === undefined ? "-" : `${sign(bar)} ${figure(bar.aim, bar.unit)}`,
    verdictOf(bar),
  ]);
  if (bars.length === 0) return ["A quick run counts too little to judge a bar."];
  return table(["bar", "measured", "limit", "aim", "verdict"], body);
}

function table(header: readonly string[], body: readonly (readonly string[])[]): string[] {
  const widths = header.map((title, at) => Math.max(title.length, ...body.map((row) => row[at]!.length)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((text, at) => (at === 0 ? text.padEnd(widths[at]!) : text.padStart(widths[at]!))).join(" | ")} |`;
  const rule = widths.map((width, at) => (at === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`));
  return [line(header), line(rule), ...body.map(line)];
}

/** Four significant digits at least, and no noise behind them. */
function rounded(value: number): number {
  return Math.abs(value) >= 1000 ? Math.round(value) : Number(value.toPrecision(4));
}
