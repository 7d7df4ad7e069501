/**
 * One life of the sandbox, from the start of its processes to the reset or shutdown that ends it.
 *
 * Owns its processes and roster, notices the first fatal failure, and lets the flows wait for a condition, that failure or the end
 * of a budget, whichever comes first. Holds no flow itself (sandbox.ts).
 */
import type { Budget } from "./budget.ts";
import type { Fatal } from "./invocation.ts";
import { extensionFiles, launchObstacle, runtimeCommand } from "./launch-plan.ts";
import type { LogLine } from "./logs.ts";
import type { ResolvedOptions } from "./options.ts";
import { describeExit, launch, type ProcessExit, type ProcessGroup } from "./processes.ts";
import { EXTENSIONS_MAX, Roster } from "./roster.ts";
import type { Timeline } from "./timeline.ts";

/** How waiting ended. */
export type Outcome =
  | { readonly kind: "done" }
  | { readonly kind: "failed"; readonly fatal: Fatal }
  | { readonly kind: "timeout" };

/** What a generation is made of. */
export interface GenerationParts {
  readonly options: ResolvedOptions;
  readonly timeline: Timeline;
  readonly functionEnv: Readonly<Record<string, string>>;
  readonly extensionEnv: Readonly<Record<string, string>>;
  readonly onLog: (line: LogLine) => void;
  /** Told once, when the generation cannot go on. */
  readonly onFailure: () => void;
}

interface Waiter {
  readonly holds: () => boolean;
  readonly settle: (outcome: Outcome) => void;
}

/** See the file's header. */
export class Generation {
  readonly roster: Roster;
  /** The processes of the external extensions, by name. */
  readonly extensions = new Map<string, ProcessGroup>();
  runtime: ProcessGroup | undefined;
  /** Set when the processes are being ended on purpose: exits are no failures any more. */
  closing = false;
  readonly #parts: GenerationParts;
  readonly #waiters = new Set<Waiter>();
  #firstFatalType: string | undefined;
  #failed: Fatal | undefined;

  constructor(parts: GenerationParts) {
    this.#parts = parts;
    this.roster = new Roster(() => this.recheck());
  }

  /** The failure, once there is one. */
  get failed(): Fatal | undefined {
    return this.#failed;
  }

  /** Every process that was started. */
  processes(): ProcessGroup[] {
    return [...this.extensions.values(), ...(this.runtime === undefined ? [] : [this.runtime])];
  }

  /** Remembers the type of a failure that its process will complete by exiting; the first one wins. */
  noteFatal(type: string): void {
    this.#firstFatalType ??= type;
  }

  /** The generation cannot go on. Only the first call counts. */
  fail(type: string, message: string): void {
    if (this.#failed !== undefined || this.closing) return;
    this.#failed = { type: this.#firstFatalType ?? type, message };
    this.recheck();
    this.#parts.onFailure();
  }

  /** Waits until `holds`, checked at every change in the roster. A condition that holds already wins over a failure. */
  until(holds: () => boolean, budget: Budget): Promise<Outcome> {
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    const waiter: Waiter = {
      holds,
      settle: (outcome) => {
        this.#waiters.delete(waiter);
        resolve(outcome);
      },
    };
    this.#waiters.add(waiter);
    void budget.expired.then(() => waiter.settle({ kind: "timeout" }));
    this.recheck();
    return promise;
  }

  /** Looks at the waiting conditions again; the roster calls it, and so does whoever changes something outside the roster. */
  recheck(): void {
    for (const { holds, settle } of this.#waiters) {
      if (holds()) settle({ kind: "done" });
      else if (this.#failed !== undefined) settle({ kind: "failed", fatal: this.#failed });
    }
  }

  /** Starts every extension, side by side. One that cannot start fails the generation. */
  async startExtensions(): Promise<void> {
    let files: ReturnType<typeof extensionFiles>;
    try {
      files = extensionFiles(this.#parts.options);
    } catch (error) {
      return this.fail("Extension.LaunchError", (error as Error).message);
    }
    await Promise.all(files.map(({ name, file }, index) => this.#startExtension(name, file, index)));
  }

  /** Starts the runtime; fails the generation when there is nothing to start. */
  async startRuntime(): Promise<void> {
    const { options, functionEnv, timeline } = this.#parts;
    const command = runtimeCommand(options);
    if ("type" in command) return this.fail(command.type, command.message);
    timeline.add("runtime-start", { process: "runtime" });
    const spec = { name: "runtime", ...command, cwd: options.taskRoot, env: functionEnv };
    try {
      const group = await launch({ ...spec, onLine: this.#logger("function", "runtime") });
      this.runtime = group;
      void group.exited.then((exit) => this.#runtimeExited(exit));
    } catch (error) {
      this.fail("Runtime.InvalidEntrypoint", (error as Error).message);
    }
  }

  async #startExtension(name: string, file: string, index: number): Promise<void> {
    const extension = this.roster.expect(name);
    const obstacle = launchObstacle(file);
    if (index >= EXTENSIONS_MAX) extension.errorType = "TooManyExtensions";
    else if (obstacle !== undefined)
      extension.errorType = obstacle.endsWith("permission denied") ? "PermissionDenied" : "UnknownError";
    if (extension.errorType !== undefined) {
      this.roster.advance(extension, "launchError");
      return this.fail("Extension.LaunchError", obstacle ?? "ErrTooManyExtensions");
    }
    const { extensionEnv, timeline } = this.#parts;
    timeline.add("spawn", { process: name });
    try {
      const onLine = this.#logger("extension", name);
      const group = await launch({ name, file, args: [], cwd: "/", env: extensionEnv, onLine });
      this.extensions.set(name, group);
      void group.exited.then((exit) => this.#extensionExited(name, exit));
    } catch (error) {
      extension.errorType = "UnknownError";
      this.roster.advance(extension, "launchError");
      this.fail("Extension.LaunchError", (error as Error).message);
    }
  }

  /** Any exit outside a shutdown is fatal, even a clean one. */
  #extensionExited(name: string, exit: ProcessExit): void {
    const words = describeExit(exit);
    this.#parts.timeline.add("exit", { process: name, detail: words });
    this.fail("Extension.Crash", exit.code === 0 ? "exit code 0" : words);
  }

  #runtimeExited(exit: ProcessExit): void {
    const words = describeExit(exit);
    this.#parts.timeline.add("exit", { process: "runtime", detail: words });
    this.fail(
      "Runtime.ExitError",
      exit.code === 0 ? "Runtime exited without providing a reason" : `Runtime exited with error: ${words}`,
    );
  }

  #logger(source: LogLine["source"], process: string): (text: string) => void {
    return (text) => this.#parts.onLog({ source, process, text });
  }
}
