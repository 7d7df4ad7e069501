/**
 * What a passthrough run needs to know of a subject, and where programs that may be absent are found.
 */

import { spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { join } from "node:path";
import type { TargetForm } from "../load/messages.ts";
import type { ServerProcess } from "./server-process.ts";

/** What a subject gets to start with. */
export interface Surroundings {
  /** Port of the origin on 127.0.0.1. */
  readonly originPort: number;
  /** A temporary folder for its configuration. */
  readonly folder: string;
}

/** One contender of a run. */
export interface Subject {
  readonly name: string;
  /** How a client names the target to it: absolute-form to a forward proxy, origin-form to a reverse proxy. */
  readonly form: TargetForm;
  /** Its version for the report; undefined when it is no software of its own. */
  readonly version: string | undefined;
  /** Why it cannot run here, as a sentence that names what is missing; undefined when it can. */
  readonly absence: string | undefined;
  /** Starts it, or returns undefined when there is nothing between the client and the origin. */
  start(surroundings: Surroundings): Promise<ServerProcess | undefined>;
  /** Headers that the origin must see although the client did not send them, as proof that a feature is on. */
  readonly addedHeaders: readonly string[];
}

/** Debian and others install servers where an ordinary user's PATH does not look. */
const serverFolders = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/** The path of a program on PATH or in the folders for servers; undefined when it is not installed. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? "").split(":"), ...serverFolders];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

/** The version that a program prints when it is asked by `flag`, by the first group of `pattern` over its stdout and stderr. */
export function programVersion(path: string, pattern: RegExp, flag = "-v"): string | undefined {
  const { stdout, stderr } = spawnSync(path, [flag], { encoding: "utf8" });
  return pattern.exec(`${stdout}${stderr}`)?.[1];
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
