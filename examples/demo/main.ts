/**
 * `npm run demo`: one function, four awkward upstreams, once without Outrider and once with it.
 *
 * Exit code 0 only when every call failed or went ungoverned without Outrider and went right with it. Progress and problems go to
 * standard error, the page to standard output. All traffic stays on loopback.
 */
import { ConfigError } from "../../src/config/load.ts";
import { DemoError, runFunction } from "./run.ts";
import { openStage } from "./stage.ts";
import { page, paint } from "./table.ts";
import { UpstreamError } from "./upstreams/upstream.ts";
import { surprises } from "./verdict.ts";

async function main(): Promise<number> {
  const stage = openStage();
  const interrupt = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interrupt.abort());
  try {
    progress("the function alone ...");
    const without = await runFunction(stage, false, interrupt.signal);
    progress("the same function with Outrider ...");
    const governed = await runFunction(stage, true, interrupt.signal);
    const colour = process.stdout.isTTY && !process.env.NO_COLOR && process.env.TERM !== "dumb";
    process.stdout.write(page(without, governed, paint(colour)));
    const problems = surprises(without, governed);
    for (const problem of problems) progress(`unexpected: ${problem}`);
    return problems.length === 0 ? 0 : 1;
  } finally {
    stage.close();
  }
}

function progress(line: string): void {
  process.stderr.write(`demo: ${line}\n`);
}

main().then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    const known =
      error instanceof DemoError || error instanceof UpstreamError || error instanceof ConfigError;
    progress(known ? error.message : String((error as Error).stack ?? error));
    process.exit(1);
  },
);
