/**
 * The `outrider` program: finds the command, runs it, and turns what it throws into one line and an exit code.
 *
 * Owns the list of commands and the process; what a command does is in the file of its name, loaded only when named.
 * Exit codes: 0 done, 1 failed in a way the user can mend, 2 wrong use, 70 defect of the program (EX_SOFTWARE of sysexits).
 */
import { ConfigError } from "../config/load.ts";
import { nearest } from "../config/nearest.ts";
import { show } from "../config/show.ts";
import { type Command, Failure, type Terminal, UsageError } from "./command.ts";

// Names are resolved on libuv's threads, of which there are four: eight names whose servers are silent would hold up all others. Read
// when the first of them starts.
process.env.UV_THREADPOOL_SIZE ??= "32";

/** Set by the build; from source the version is read from the package. */
declare const OUTRIDER_VERSION: string | undefined;

/** Every command, in the order of the help. */
const COMMANDS: ReadonlyMap<string, () => Promise<{ readonly command: Command }>> = new Map([
  ["run", () => import("./run.ts")],
  ["emulate", () => import("./emulate.ts")],
  ["check", () => import("./check.ts")],
  ["compile", () => import("./compile.ts")],
  ["explain", () => import("./explain.ts")],
  ["suggest", () => import("./suggest.ts")],
  ["schema", () => import("./schema.ts")],
  ["capture", () => import("./capture.ts")],
]);

/** Runs one command line and returns the exit code. Never rejects. */
export async function main(argv: readonly string[], terminal: Terminal): Promise<number> {
  const [name, ...rest] = argv;
  try {
    return await dispatch(name, rest, terminal);
  } catch (error) {
    return report(error, name, terminal);
  }
}

async function dispatch(
  name: string | undefined,
  argv: readonly string[],
  terminal: Terminal,
): Promise<number> {
  if (name === "--version" || name === "-v" || name === "version") {
    terminal.out(`outrider ${await version()}\n`);
    return 0;
  }
  if (name === "--help" || name === "-h" || name === "help") {
    terminal.out(argv[0] === undefined ? await overview() : (await load(argv[0])).help);
    return 0;
  }
  if (name === undefined) {
    terminal.err(await overview());
    return 2;
  }
  const command = await load(name);
  if (asksForHelp(argv)) {
    terminal.out(command.help);
    return 0;
  }
  return command.run(argv, terminal);
}

async function load(name: string): Promise<Command> {
  const load = COMMANDS.get(name);
  if (load !== undefined) return (await load()).command;
  const meant = nearest(name, [...COMMANDS.keys()]);
  throw new UsageError(
    `there is no command ${show(name)}${meant === null ? "" : `; did you mean "${meant}"?`}`,
  );
}

/** What stands behind `--` belongs to another program. */
function asksForHelp(argv: readonly string[]): boolean {
  const end = argv.indexOf("--");
  const own = end < 0 ? argv : argv.slice(0, end);
  return own.includes("--help") || own.includes("-h");
}

async function overview(): Promise<string> {
  const lines = await Promise.all(
    [...COMMANDS].map(async ([name, load]) => `  ${name.padEnd(10)}${(await load()).command.summary}`),
  );
  return `outrider: governs the outbound calls of a function that was not changed for it

Usage: outrider COMMAND [options]

${lines.join("\n")}

  outrider help COMMAND   all about one command
  outrider --version
`;
}

async function version(): Promise<string> {
  if (typeof OUTRIDER_VERSION === "string") return OUTRIDER_VERSION;
  const { default: manifest } = await import("../../package.json", { with: { type: "json" } });
  return manifest.version;
}

/** Prints what went wrong and returns the exit code for it. */
function report(error: unknown, name: string | undefined, terminal: Terminal): number {
  if (error instanceof UsageError || isArgumentError(error)) {
    const help = COMMANDS.has(name ?? "") ? `outrider help ${name}` : "outrider --help";
    terminal.err(`outrider: ${error.message}; see ${help}\n`);
    return 2;
  }
  if (error instanceof ConfigError) {
    // Lines that begin with the file, for editors to follow.
    terminal.err(`${error.message}\n`);
    return 1;
  }
  if (error instanceof Failure) {
    terminal.err(`outrider: ${error.message}\n`);
    return 1;
  }
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  const isDebug = (terminal.env.OUTRIDER_DEBUG ?? "") !== "";
  terminal.err(`outrider: defect: ${message}${isDebug ? "" : " (OUTRIDER_DEBUG=1 shows where)"}\n`);
  if (isDebug) terminal.err(`${stack}\n`);
  return 70;
}

/** What `parseArgs` of node:util throws for a wrong option. */
function isArgumentError(error: unknown): error is Error {
  return error instanceof Error && "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS_");
}

/** The process as a command sees it. Signals are taken over only when a command waits for them. */
function processTerminal(): Terminal {
  const { env, stdout, stderr } = process;
  let interrupted: Promise<string> | undefined;
  return {
    env,
    cwd: process.cwd(),
    out: (text) => void stdout.write(text),
    err: (text) => void stderr.write(text),
    colour: stdout.isTTY === true && (env.NO_COLOR ?? "") === "" && env.TERM !== "dumb",
    get interrupted() {
      interrupted ??= nextSignal();
      return interrupted;
    },
  };
}

/** The second signal finds no listener, so it ends the process at once. */
function nextSignal(): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, resolve);
  return promise.then((signal) => {
    process.removeListener("SIGINT", resolve);
    process.removeListener("SIGTERM", resolve);
    return signal;
  });
}

if (import.meta.main) {
  // A reader that has seen enough (`outrider schema | head`) is no defect.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 70));
  process.exitCode = await main(process.argv.slice(2), processTerminal());
}
