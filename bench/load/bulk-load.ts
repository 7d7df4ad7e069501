/**
 * Starts the origin and the generator of the bench `tunnel` as processes of their own. The work is in `bulk-origin.ts` and
 * `bulk-generator.ts`.
 */

import type { BulkAnswer, BulkCommand, BulkOriginAnswer, BulkOriginCommand } from "./bulk.ts";
import { Child } from "./child.ts";

/** A running origin. */
export interface BulkOrigin {
  /** Its port on 127.0.0.1. */
  readonly port: number;
  readonly pid: number;
  /** Connections and bytes of the pattern since the last report. */
  report(): Promise<BulkOriginAnswer>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** A running generator. */
export interface BulkGenerator {
  readonly pid: number;
  /** Resolves to the ms that the command took; throws an Error that says what was wrong. */
  run(command: BulkCommand): Promise<number>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Starts an origin whose pattern is drawn from `seed`. */
export async function startBulkOrigin(seed: number): Promise<BulkOrigin> {
  const child = new Child("bulk-origin.ts");
  const ask = async (command: BulkOriginCommand) => (await child.ask(command)) as BulkOriginAnswer;
  const { port } = await ask({ kind: "listen", seed });
  return {
    port,
    pid: child.pid,
    report: () => ask({ kind: "report" }),
    [Symbol.asyncDispose]: () => child.stop(),
  };
}

/** Starts a generator whose pattern is drawn from `seed`. */
export async function startBulkGenerator(seed: number): Promise<BulkGenerator> {
  const child = new Child("bulk-generator.ts");
  const run = async (command: BulkCommand): Promise<number> => {
    const answer = (await child.ask(command)) as BulkAnswer;
    if ("failure" in answer) throw new Error(answer.failure);
    return answer.elapsedMs;
  };
  await run({ kind: "pattern", seed });
  return { pid: child.pid, run, [Symbol.asyncDispose]: () => child.stop() };
}
