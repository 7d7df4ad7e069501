/** The built program in a process of its own, for what has to be measured or broken from outside. Needs `dist/` (npm test builds it). */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compiledText } from "../../src/config/compile.ts";
import { eventually } from "./eventually.ts";
import { type ProxyOptions, testConfig } from "./proxy.ts";

/** A running `outrider run`. */
export interface Program extends AsyncDisposable {
  readonly port: number;
  readonly pid: number;
  /** Whether it is still running. */
  readonly alive: boolean;
  /** What it has said on its standard error. */
  readonly said: string;
  /** Resident bytes, from /proc: Linux only. */
  resident(): number;
}

const OUTRIDER = fileURLToPath(new URL("../../dist/outrider.js", import.meta.url));
/** The V8 flags that the layer sets: they decide how much garbage may pile up. */
const V8_FLAGS = ["--max-semi-space-size=4", "--single-threaded-gc"];

/** What `startProgram` may be told. */
export interface ProgramOptions {
  readonly policy?: ProxyOptions["policy"];
  /** Flags of Node's in front of the program. */
  readonly nodeFlags?: readonly string[];
  /** Open files that the process may have (`ulimit -n`). */
  readonly filesMax?: number;
}

/** Starts the program on a free port and waits until it serves. */
export async function startProgram({
  policy,
  nodeFlags = [],
  filesMax,
}: ProgramOptions = {}): Promise<Program> {
  const folder = mkdtempSync(join(tmpdir(), "outrider-program-"));
  const file = join(folder, "policy.json");
  writeFileSync(file, compiledText(testConfig(policy)));
  const command = [
    process.execPath,
    ...V8_FLAGS,
    ...nodeFlags,
    OUTRIDER,
    "run",
    "--port",
    "0",
    "--config",
    file,
  ];
  const child =
    filesMax === undefined
      ? spawn(command[0]!, command.slice(1), { stdio: ["ignore", "ignore", "pipe"] })
      : spawn("/bin/sh", ["-c", `ulimit -n ${filesMax}; exec "$@"`, "sh", ...command], {
          stdio: ["ignore", "ignore", "pipe"],
        });
  let said = "";
  child.stderr!.on("data", (text) => (said += text));
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const port = (): number => Number(/ on http:\/\/127\.0\.0\.1:(\d+)/.exec(said)?.[1] ?? 0);
  await Promise.race([
    eventually("the program to serve", () => port() > 0),
    exited.then(() => Promise.reject(new Error(`the program ended: ${said}`))),
  ]);
  return {
    port: port(),
    pid: child.pid!,
    get alive() {
      return child.exitCode === null && child.signalCode === null;
    },
    get said() {
      return said;
    },
    resident: () =>
      Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, "latin1"))![1]) * 1024,
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
