/**
 * The operating system's side: processes, each leader of its own process group.
 *
 * Owns spawning, signalling, the detection of an exit and the cutting of output into lines. Signals only groups that it
 * started, and none after the group is known to be gone. Source of the words for an exit: Go's `ProcessState.String`, which the
 * runtime interface emulator prints (internal/lambda/supervisor/model/model.go).
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { LineSplitter } from "./logs.ts";
import { forgetGroup, watchGroup } from "./watchdog.ts";

/** How a process ended. */
export interface ProcessExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** What to start. */
export interface LaunchSpec {
  /** `runtime` or the name of the extension. */
  readonly name: string;
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  /** Every line on either output stream. */
  readonly onLine: (line: string) => void;
}

/** How long the output of a process that has exited may stay open (a descendant that left the group can hold it). */
const OUTPUT_CLOSE_MS_MAX = 250;

const SIGNAL_WORDS: Readonly<Record<string, string>> = {
  SIGHUP: "hangup",
  SIGINT: "interrupt",
  SIGQUIT: "quit",
  SIGILL: "illegal instruction",
  SIGTRAP: "trace/breakpoint trap",
  SIGABRT: "aborted",
  SIGBUS: "bus error",
  SIGFPE: "floating point exception",
  SIGKILL: "killed",
  SIGSEGV: "segmentation fault",
  SIGPIPE: "broken pipe",
  SIGALRM: "alarm clock",
  SIGTERM: "terminated",
};

/** `exit status 1` or `signal: killed`. */
export function describeExit({ code, signal }: ProcessExit): string {
  return signal === null ? `exit status ${code}` : `signal: ${SIGNAL_WORDS[signal] ?? signal}`;
}

/** A process and its descendants, as far as they stay in its group. */
export class ProcessGroup {
  readonly name: string;
  readonly pid: number;
  /** Resolves once the leader has exited and its output is complete. The rest of the group is killed first. */
  readonly exited: Promise<ProcessExit>;
  #exit: ProcessExit | undefined;

  constructor(name: string, child: ChildProcess) {
    this.name = name;
    this.pid = child.pid!;
    watchGroup(this.pid);
    this.exited = this.#follow(child);
  }

  /** Whether the leader has exited. */
  get gone(): boolean {
    return this.#exit !== undefined;
  }

  /** How the leader ended, once it did. */
  get exit(): ProcessExit | undefined {
    return this.#exit;
  }

  /** Signals the whole group. Returns false when there is nobody left. */
  signal(signal: NodeJS.Signals): boolean {
    if (this.gone) return false;
    try {
      return process.kill(-this.pid, signal);
    } catch {
      return false;
    }
  }

  #follow(child: ChildProcess): Promise<ProcessExit> {
    const { promise, resolve } = Promise.withResolvers<ProcessExit>();
    let timer: NodeJS.Timeout | undefined;
    child.once("exit", (code, signal) => {
      // At once, while the number of the group cannot have been given to anybody else.
      this.signal("SIGKILL");
      forgetGroup(this.pid);
      this.#exit = { code, signal };
      timer = setTimeout(() => {
        child.stdout?.destroy();
        child.stderr?.destroy();
      }, OUTPUT_CLOSE_MS_MAX);
    });
    child.once("close", () => {
      clearTimeout(timer);
      resolve(this.#exit!);
    });
    return promise;
  }
}

/** Starts `spec` in a process group of its own. Rejects with the system's error when the file cannot be executed. */
export async function launch(spec: LaunchSpec): Promise<ProcessGroup> {
  const child = spawn(spec.file, spec.args, {
    cwd: spec.cwd,
    env: spec.env,
    stdio: ["ignore", "pipe", "pipe"],
    // A new session, and so a new process group, whose number is the process id.
    detached: true,
  });
  if (child.pid === undefined) {
    const [error] = await once(child, "error");
    throw error;
  }
  child.on("error", () => {});
  for (const stream of [child.stdout!, child.stderr!]) {
    const splitter = new LineSplitter(spec.onLine);
    stream.on("data", (chunk: Buffer) => splitter.write(chunk));
    stream.on("end", () => splitter.end());
    stream.on("error", () => {});
  }
  return new ProcessGroup(spec.name, child);
}
