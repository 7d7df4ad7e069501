/**
 * Starts the origin and the load generator as processes of their own and speaks to them over IPC.
 * Owns their life and the pairing of commands with answers; the work is in `origin.ts` and `generator.ts`.
 */

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { LoadAnswer, LoadReport, LoadRun } from "./generator.ts";
import type { OriginAnswer, OriginCommand } from "./origin.ts";

/** A running origin. */
export interface Origin {
  /** Its port on 127.0.0.1. */
  readonly port: number;
  /** How many requests it has answered since the last report, and the head of the last one. */
  report(): Promise<{ readonly answered: number; readonly lastHead: string }>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** A running load generator. */
export interface Generator {
  /** Throws an Error that says what was wrong as soon as one answer is not the expected one. */
  run(run: LoadRun): Promise<LoadReport>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Starts an origin that answers every request with `response`. */
export async function startOrigin(response: string): Promise<Origin> {
  const child = new Child("origin.ts");
  const ask = async (command: OriginCommand) => (await child.ask(command)) as OriginAnswer;
  const listening = await ask({ kind: "listen", response });
  if (listening.kind !== "listening") throw new Error("the origin did not start to listen");
  return {
    port: listening.port,
    report: async () => {
      const report = await ask({ kind: "report" });
      if (report.kind !== "report") throw new Error("the origin did not report");
      return report;
    },
    [Symbol.asyncDispose]: () => child.stop(),
  };
}

/** Starts a load generator that waits for runs. */
export function startGenerator(): Generator {
  const child = new Child("generator.ts");
  return {
    run: async (run) => {
      const answer = (await child.ask(run)) as LoadAnswer;
      if ("failure" in answer) throw new Error(answer.failure);
      return answer.report;
    },
    [Symbol.asyncDispose]: () => child.stop(),
  };
}

/** One child process with one question in flight at a time. */
class Child {
  readonly #name: string;
  readonly #process: ChildProcess;
  readonly #exited: Promise<unknown>;

  constructor(file: string) {
    this.#name = file;
    this.#process = fork(fileURLToPath(new URL(file, import.meta.url)), { stdio: "inherit" });
    this.#exited = once(this.#process, "exit");
  }

  async ask(question: object): Promise<unknown> {
    const ended = this.#exited.then(() => {
      throw new Error(`${this.#name} ended before it answered`);
    });
    const answer = once(this.#process, "message");
    this.#process.send(question);
    const [message] = await Promise.race([answer, ended]);
    return message;
  }

  /** Both children end by themselves when the IPC channel closes. */
  async stop(): Promise<void> {
    if (this.#process.connected) this.#process.disconnect();
    await this.#exited;
  }
}
