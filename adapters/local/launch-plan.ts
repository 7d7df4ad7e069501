/**
 * Which files are started for a function.
 *
 * Owns finding the extensions and building the argv of the runtime as the AWS bootstraps do. Starts nothing. Sources: "Modifying
 * the runtime environment" and "Lambda Extensions API" of the AWS Lambda Developer Guide.
 */
import { accessSync, constants, existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Fatal } from "./invocation.ts";
import type { ResolvedOptions } from "./options.ts";

/** An empty file of this name in the layers' tree switches extensions off. */
const DISABLE_FILE = "disable-extensions-jwigqn8j";

/** A program and its arguments. */
export interface Command {
  readonly file: string;
  readonly args: readonly string[];
}

/** Whether extensions, their APIs and the Telemetry API exist. */
export function extensionsEnabled({ optRoot }: ResolvedOptions): boolean {
  return optRoot === undefined || !existsSync(join(optRoot, DISABLE_FILE));
}

/** Every entry of <opt>/extensions that is not a folder, by name; none when extensions are switched off. A link to a folder counts, and will fail to start. */
export function extensionFiles(options: ResolvedOptions): { name: string; file: string }[] {
  const { optRoot } = options;
  if (optRoot === undefined || !extensionsEnabled(options)) return [];
  const folder = join(optRoot, "extensions");
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map(({ name }) => ({ name, file: join(folder, name) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Why a file that should be executed cannot be, in the words of Go's `exec`; `undefined` when it can. */
export function launchObstacle(file: string): string | undefined {
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat === undefined) return `fork/exec ${file}: no such file or directory`;
  if (stat.isDirectory() || !canExecute(file)) return `fork/exec ${file}: permission denied`;
  return undefined;
}

/** The command of the runtime, or why there is none. */
export function runtimeCommand(options: ResolvedOptions): Command | Fatal {
  if (options.runtime === "custom") return customBootstrap(options);
  // The shell script exports nothing; it only chooses between the interpreter and the wrapper, as the script on Lambda does.
  return {
    file: "/bin/sh",
    args: [join(options.runtimeDir, "bootstrap.sh"), ...interpreter(options)],
  };
}

/** The argv that a managed runtime hands to AWS_LAMBDA_EXEC_WRAPPER. */
function interpreter({ runtime, runtimeDir, pythonPath, nodePath, memoryMb }: ResolvedOptions): string[] {
  if (runtime === "python") return [pythonPath, join(runtimeDir, "python.py")];
  return [
    nodePath,
    "--expose-gc",
    "--max-http-header-size",
    "81920",
    `--max-semi-space-size=${Math.max(1, Math.floor((memoryMb * 5) / 100))}`,
    `--max-old-space-size=${Math.floor((memoryMb * 90) / 100)}`,
    join(runtimeDir, "node.mjs"),
  ];
}

/** `provided.*` looks for a bootstrap in the function, then in the layers, and honours no wrapper. */
function customBootstrap({ taskRoot, optRoot }: ResolvedOptions): Command | Fatal {
  const candidates = [taskRoot, ...(optRoot ? [optRoot] : [])].map((folder) => join(folder, "bootstrap"));
  const file = candidates.find((path) => statSync(path, { throwIfNoEntry: false })?.isFile());
  if (file === undefined)
    return {
      type: "Runtime.InvalidEntrypoint",
      message: `Couldn't find valid bootstrap(s): [${candidates.join(" ")}]`,
    };
  const obstacle = launchObstacle(file);
  return obstacle === undefined
    ? { file, args: [] }
    : { type: "Runtime.InvalidEntrypoint", message: obstacle };
}

function canExecute(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
