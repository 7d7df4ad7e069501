/**
 * The command `npm run bench`: reads the command line, runs the benches it names and hands their results out.
 * Results go to stdout, progress and errors to stderr. Exit code 0: measured; 1: a bench failed; 2: wrong use.
 */

import { randomInt } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { Bench, BenchOptions, BenchResult } from "./bench.ts";
import { coldStart } from "./cold-start.ts";
import { fleet } from "./fleet.ts";
import { h2 } from "./h2.ts";
import { intercept } from "./intercept.ts";
import { passthrough } from "./passthrough.ts";
import { policyChain } from "./policy-chain.ts";
import { replaceSection, toJson, toMarkdown } from "./report.ts";
import { resilience } from "./resilience.ts";
import { tunnel } from "./tunnel.ts";

const benches: readonly Bench[] = [
  passthrough,
  coldStart,
  tunnel,
  intercept,
  h2,
  resilience,
  policyChain,
  fleet,
];

const besides = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const resultsFile = besides("RESULTS.md");
const resultsHead =
  "# Measured\n\nWritten by `npm run bench -- NAME --write-results`; each run replaces the section of its bench.\n";

const seedMax = 2 ** 32 - 1;
const roundsMax = 1000;

const help = `Usage: npm run bench -- NAME... [options]

Benches:
${benches.map(({ name, question }) => `  ${name.padEnd(14)} ${question}`).join("\n")}

Options:
  --json FILE        write {bench, machine, versions, seed, rows} to FILE; a list of these for several benches
  --write-results    replace the section of each bench in bench/RESULTS.md, and its picture
  --seed N           repeat the order of subjects and the payloads of an earlier run (0..${seedMax})
  --rounds N         measure each subject N times (1..${roundsMax})
  --quick            tiny counts: shows that a bench works, measures nothing worth keeping
  --only A,B         run these subjects only: ${[...new Set(benches.flatMap(({ subjects }) => subjects))].join(", ")}
  --help             this text
`;

/** The command line is wrong. */
class WrongUse extends Error {}

interface Request {
  readonly chosen: readonly Bench[];
  readonly options: BenchOptions;
  readonly json: string | undefined;
  readonly writeResults: boolean;
}

function readCommandLine(argv: readonly string[]): Request | "help" {
  const { values, positionals } = parse(argv);
  if (values.help || positionals.length === 0) return "help";
  const chosen = positionals.map((name) => {
    const bench = benches.find((candidate) => candidate.name === name);
    if (!bench) throw new WrongUse(`there is no bench ${JSON.stringify(name)}`);
    return bench;
  });
  const only = values.only?.split(",");
  const strange = only?.find((name) => !chosen.some(({ subjects }) => subjects.includes(name)));
  if (strange !== undefined)
    throw new WrongUse(`--only: no chosen bench has a subject ${JSON.stringify(strange)}`);
  if (values["write-results"] && (values.quick || only)) {
    throw new WrongUse("--write-results keeps whole measurements: leave out --quick and --only");
  }
  const options: BenchOptions = {
    seed: integer("--seed", values.seed, 0, seedMax) ?? randomInt(seedMax),
    rounds: integer("--rounds", values.rounds, 1, roundsMax),
    quick: values.quick,
    only,
    progress: (line) => process.stderr.write(`${line}\n`),
  };
  return { chosen, options, json: values.json, writeResults: values["write-results"] };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        json: { type: "string" },
        "write-results": { type: "boolean", default: false },
        seed: { type: "string" },
        rounds: { type: "string" },
        quick: { type: "boolean", default: false },
        only: { type: "string" },
        help: { type: "boolean", default: false },
      },
    });
  } catch (error) {
    // Some of its messages have several lines; ours have one.
    throw new WrongUse((error as Error).message.replaceAll("\n", " "));
  }
}

function integer(option: string, text: string | undefined, min: number, max: number): number | undefined {
  if (text === undefined) return undefined;
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new WrongUse(`${option} takes a whole number from ${min} to ${max}, not ${JSON.stringify(text)}`);
}

async function run({ chosen, options, json, writeResults }: Request): Promise<void> {
  const date = new Date().toISOString().slice(0, 10);
  const results: BenchResult[] = [];
  for (const bench of chosen) {
    options.progress(`${bench.name}: ${bench.question}`);
    const result = await bench.run(options);
    results.push(result);
    const section = toMarkdown(result, date);
    process.stdout.write(coloured(`${section}\n`));
    if (writeResults) {
      writeFileSync(resultsFile, replaceSection(readResults(), result.bench, section));
      if (result.picture !== undefined) writeFileSync(besides(result.picture.file), result.picture.svg);
    }
  }
  if (json !== undefined) {
    const written = results.length === 1 ? toJson(results[0]!) : results.map(toJson);
    writeFileSync(json, `${JSON.stringify(written, null, 2)}\n`);
  }
}

function readResults(): string {
  try {
    return readFileSync(resultsFile, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return resultsHead;
    throw error;
  }
}

/** Verdicts in green and red on a terminal that wants colour (no-color.org). */
function coloured(text: string): string {
  if (!process.stdout.isTTY || process.env.NO_COLOR || process.env.TERM === "dumb") return text;
  return text
    .replace(/(?<= )(not met)(?= \|$)/gm, "\x1b[31m$1\x1b[0m")
    .replace(/(?<= )(aim met|met)(?= \|$)/gm, "\x1b[32m$1\x1b[0m");
}

async function main(): Promise<void> {
  // Ending by `exit` runs the handler that ends the processes which the bench has started.
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));
  try {
    const request = readCommandLine(process.argv.slice(2));
    if (request === "help") process.stdout.write(help);
    else await run(request);
  } catch (error) {
    const wrongUse = error instanceof WrongUse;
    process.stderr.write(`bench: ${(error as Error).message}${wrongUse ? "; see --help" : ""}\n`);
    process.exitCode = wrongUse ? 2 : 1;
  }
}

await main();
