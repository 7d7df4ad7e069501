/** What the programs of this folder want of the system, and how a test says that it is not there. */
import { spawnSync } from "node:child_process";
import type { TestContext } from "vitest";

/** Debian's own interpreter, which alone finds Debian's packages; it leaves no compiled files in the tree. */
export const PYTHON = ["/usr/bin/python3", "-B"] as const;

/** A sentence when `command` is not installed, else `null`. `debianPackage` is where it comes from. */
export function missingCommand(command: string, debianPackage: string): string | null {
  const { status } = spawnSync("/bin/sh", ["-c", 'command -v "$1"', "sh", command], { stdio: "ignore" });
  return status === 0 ? null : `SKIPPED: needs ${command} (Debian ${debianPackage})`;
}

/** The same for a module of Debian's Python. */
export function missingModule(module: string): string | null {
  const find = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)";
  const { status } = spawnSync(PYTHON[0], ["-c", find, module], { stdio: "ignore" });
  return status === 0 ? null : `SKIPPED: needs ${module} for ${PYTHON[0]} (Debian python3-${module})`;
}

/** Skips the test when something is missing; the run's closing line names it, and under CI it fails. */
export function skipWithout(context: TestContext, missing: string | null): void {
  if (missing !== null) context.skip(missing);
}
