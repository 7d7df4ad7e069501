/** What a command of the `outrider` program is. Each lives in one file, `src/cli/<name>.ts`, and is loaded only when named. */

/** The process, as far as a command may touch it; handed in so that tests can run commands. */
export interface Terminal {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Writes results. */
  out(text: string): void;
  /** Writes progress and errors. */
  err(text: string): void;
  /** Whether colour is welcome on `out` (a terminal, no NO_COLOR, TERM not dumb). */
  readonly colour: boolean;
  /** Resolves at SIGINT or SIGTERM. */
  readonly interrupted: Promise<string>;
}

/** One command. */
export interface Command {
  /** One line for the list of commands. */
  readonly summary: string;
  /** The whole help text, ending in a newline. */
  readonly help: string;
  /** Returns the exit code: 0 done, 1 failed, 2 wrong use. Throws `UsageError` for wrong use, `Failure` for what the user can mend. */
  run(argv: readonly string[], terminal: Terminal): Promise<number>;
}

/** The command line is wrong; printed as one line with a pointer to the help, exit code 2. */
export class UsageError extends Error {}

/** Something that the user can mend; printed as one line (file, key, remedy), exit code 1, never with a stack. */
export class Failure extends Error {}
