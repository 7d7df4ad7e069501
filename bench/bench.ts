/**
 * What a bench is, and what it hands back. Each bench answers one question and lives in a file of its own.
 */

import type { Machine } from "./machine.ts";
import type { Bar, Ratios, Row } from "./report.ts";

/** How a bench is asked to run. */
export interface BenchOptions {
  /** Repeats the order of the subjects and the filler of the payloads. */
  readonly seed: number;
  /** Tiny counts: shows that the bench works, and measures nothing worth keeping. */
  readonly quick: boolean;
  /** How often each subject is measured; undefined takes the bench's own number. */
  readonly rounds: number | undefined;
  /** The subjects to run; undefined runs all of them. */
  readonly only: readonly string[] | undefined;
  /** Takes one line of progress. */
  readonly progress: (line: string) => void;
}

/** What a bench measured. */
export interface BenchResult {
  readonly bench: string;
  readonly machine: Machine;
  /** Name of a program or library to its version. */
  readonly versions: Readonly<Record<string, string>>;
  readonly seed: number;
  readonly rounds: number;
  readonly rows: readonly Row[];
  readonly ratios: Ratios;
  /** Empty after a quick run, which counts too little to judge. */
  readonly bars: readonly Bar[];
  /** What a reader must know to read the table. */
  readonly notes: readonly string[];
  /** A sentence for each subject that did not run, with its name and the reason. */
  readonly skipped: readonly string[];
  /** What the rows look like; `--write-results` writes it beside RESULTS.md. */
  readonly picture?: { readonly file: string; readonly svg: string };
}

/** One question, answered by a measurement. */
export interface Bench {
  readonly name: string;
  /** One line for the list of benches. */
  readonly question: string;
  /** The names that `only` may hold. */
  readonly subjects: readonly string[];
  /** Throws an Error that names the subject when an answer is wrong: nothing that answers wrongly is timed. */
  run(options: BenchOptions): Promise<BenchResult>;
}
