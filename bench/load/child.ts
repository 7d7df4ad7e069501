/**
 * One helper process of the bench, forked from a file of this folder, with one question in flight at a time over IPC.
 * Owns its life and the pairing of questions with answers; what is asked is between the caller and the file.
 */

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** A running helper process. It must end by itself when its IPC channel closes. */
export class Child {
  readonly #name: string;
  readonly #process: ChildProcess;
  readonly #exited: Promise<unknown>;

  /** Forks `file` of this folder at once. */
  constructor(file: string) {
    this.#name = file;
    this.#process = fork(fileURLToPath(new URL(file, import.meta.url)), { stdio: "inherit" });
    this.#exited = once(this.#process, "exit");
  }

  /** For the accounting of its CPU time. */
  get pid(): number {
    return this.#process.pid!;
  }

  /** Sends a question and waits for its answer; throws an Error that names the file when the process ends first. */
  async ask(question: object): Promise<unknown> {
    const ended = this.#exited.then(() => {
      throw new Error(`${this.#name} ended before it answered`);
    });
    const answer = once(this.#process, "message");
    this.#process.send(question);
    const [message] = await Promise.race([answer, ended]);
    return message;
  }

  /** Closes the IPC channel and waits for the end. */
  async stop(): Promise<void> {
    if (this.#process.connected) this.#process.disconnect();
    await this.#exited;
  }
}
