/**
 * `outrider emulate`: runs a function in the local Lambda execution environment.
 *
 * Owns the command line and what is printed. The emulator itself is loaded when the command runs.
 */
import { readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs, parseEnv } from "node:util";
import type { Emulator } from "../../adapters/local/emulator.ts";
import type { LogLine } from "../../adapters/local/logs.ts";
import type { EmulatorOptions, RuntimeKind } from "../../adapters/local/options.ts";
import { type Command, Failure, type Terminal, UsageError } from "./command.ts";

const HELP = `outrider emulate: run a function in a local AWS Lambda execution environment

Usage: outrider emulate --handler index.handler [options]

The function
  --task-root DIR      folder of the function's code (default: .)
  --handler NAME       file.function; not needed with --runtime custom
  --runtime KIND       node, python or custom, which runs the file bootstrap (default: node)
  --opt DIR            tree of the layers, with extensions/ in it (default: none)
  --env NAME=VALUE     a variable of the function; may be repeated
  --env-file FILE      variables, one NAME=VALUE a line; --env wins
  --name NAME          name of the function (default: function)
  --timeout TIME       function timeout, e.g. 3s or 500ms (default: 3s)
  --memory MB          memory size that the function is told (default: 512)
  --tmp DIR            folder that stands for /tmp (default: a new one)
  --no-freeze          let the processes run between invocations

What to do
  --event JSON|FILE    invoke with this event and exit; without it, serve until Ctrl-C
  --count N            how many times to invoke (default: 1)
  --port N             port of the Invoke endpoint (default: 9000, or any with --event)

Logs, the time line of the cold start and reports go to standard error, answers to standard output.
The exit code is 1 when an invocation failed. AWS_LAMBDA_EXEC_WRAPPER may be given as /opt/...: it is looked for in --opt.

Examples
  outrider emulate --handler index.handler --event '{"hello":1}'
  outrider emulate --handler index.handler --opt ./dist/layer/opt --env AWS_LAMBDA_EXEC_WRAPPER=/opt/outrider-wrapper
  curl -d '{}' http://127.0.0.1:9000/2015-03-31/functions/function/invocations
`;

const FLAGS = {
  "task-root": { type: "string", default: "." },
  handler: { type: "string" },
  runtime: { type: "string" },
  opt: { type: "string" },
  env: { type: "string", multiple: true, default: [] as string[] },
  "env-file": { type: "string" },
  name: { type: "string" },
  timeout: { type: "string" },
  memory: { type: "string" },
  tmp: { type: "string" },
  "no-freeze": { type: "boolean", default: false },
  event: { type: "string" },
  count: { type: "string" },
  port: { type: "string" },
} as const;

/** The flag that sets an option of the emulator, for messages about it. */
const FLAG_OF: Readonly<Record<string, string>> = {
  taskRoot: "--task-root",
  optRoot: "--opt",
  tmpDir: "--tmp",
  timeoutMs: "--timeout",
  memoryMb: "--memory",
  invokePort: "--port",
  functionName: "--name",
  handler: "--handler",
  runtime: "--runtime",
  env: "--env",
};

/** What the command line says. */
interface Wish {
  readonly options: EmulatorOptions;
  /** The event to invoke with; absent to serve. */
  readonly event: string | undefined;
  readonly count: number;
}

/** See HELP. */
export const command: Command = {
  summary: "run a function in a local AWS Lambda execution environment",
  help: HELP,
  async run(argv, terminal) {
    const wish = parse(argv, terminal);
    const { startEmulator } = await import("../../adapters/local/emulator.ts");
    const { coldStartLine } = await import("../../adapters/local/cold-start.ts");
    const emulator = await startEmulator(wish.options).catch((error: unknown) => {
      throw asFailure(error);
    });
    // An init phase runs again after a reset, so every one of them is shown; the first may be over already.
    const show = () => terminal.err(`${coldStartLine(emulator.timeline)}\n`);
    if (emulator.timeline.some(({ kind }) => kind === "init-done")) show();
    emulator.onEvent(({ kind }) => {
      if (kind === "init-done") show();
    });
    try {
      return wish.event === undefined
        ? await serve(emulator, terminal)
        : await invoke(emulator, wish.event, wish.count, terminal);
    } finally {
      await emulator.shutdown({ now: true });
    }
  },
};

async function serve(emulator: Emulator, terminal: Terminal): Promise<number> {
  terminal.err(`invoke with: curl -d '{}' ${emulator.invokeUrl}\n`);
  await terminal.interrupted;
  return 0;
}

async function invoke(emulator: Emulator, event: string, count: number, terminal: Terminal): Promise<number> {
  let failed = 0;
  let interrupted = false;
  void terminal.interrupted.then(() => {
    interrupted = true;
    void emulator.shutdown({ now: true });
  });
  for (let done = 0; done < count && !interrupted; done++) {
    const { payload, status } = await emulator.invoke(event);
    terminal.out(`${payload.toString()}\n`);
    if (status !== "success") failed++;
  }
  return failed > 0 || interrupted ? 1 : 0;
}

function parse(argv: readonly string[], terminal: Terminal): Wish {
  const flags = parseFlags(argv);
  const event = flags.event === undefined ? undefined : readEvent(flags.event, terminal.cwd);
  if (flags.count !== undefined && event === undefined)
    throw new UsageError("--count needs --event: without an event nothing is invoked");
  const port = flags.port === undefined ? undefined : wholeNumber("--port", flags.port);
  const path = (given: string | undefined) =>
    given === undefined ? undefined : resolve(terminal.cwd, given);
  const options = {
    taskRoot: resolve(terminal.cwd, flags["task-root"]),
    handler: flags.handler,
    runtime: flags.runtime as RuntimeKind | undefined,
    optRoot: path(flags.opt),
    tmpDir: path(flags.tmp),
    env: { ...envFile(path(flags["env-file"])), ...envPairs(flags.env) },
    functionName: flags.name,
    timeoutMs: flags.timeout === undefined ? undefined : durationMs(flags.timeout),
    memoryMb: flags.memory === undefined ? undefined : wholeNumber("--memory", flags.memory),
    freeze: !flags["no-freeze"],
    invokePort: port ?? (event === undefined ? 9000 : 0),
    // In the log a carriage return stands for the line feeds of one entry.
    onLog: ({ process, text }: LogLine) => terminal.err(`[${process}] ${text.replaceAll("\r", "\n    ")}\n`),
  };
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return {
    options: Object.fromEntries(given) as unknown as EmulatorOptions,
    event,
    count: flags.count === undefined ? 1 : wholeNumber("--count", flags.count),
  };
}

function parseFlags(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options: FLAGS, strict: true, allowPositionals: false }).values;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** A file's content when there is such a file, else the text itself; either must be JSON. */
function readEvent(given: string, cwd: string): string {
  const file = resolve(cwd, given);
  const isFile = statSync(file, { throwIfNoEntry: false })?.isFile() ?? false;
  const text = isFile ? readFileSync(file, "utf8") : given;
  try {
    JSON.parse(text);
  } catch (error) {
    const what = isFile ? `the file ${file}` : `"${given}" (there is no such file)`;
    throw new Failure(`--event: ${what} is not JSON: ${(error as Error).message}`);
  }
  return text;
}

function envFile(file: string | undefined): NodeJS.Dict<string> {
  if (file === undefined) return {};
  try {
    return parseEnv(readFileSync(file, "utf8"));
  } catch (error) {
    throw new Failure(`--env-file: ${file} cannot be read: ${(error as Error).message}`);
  }
}

function envPairs(pairs: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf("=");
      if (at <= 0) throw new UsageError(`--env: "${pair}" is no pair; write NAME=VALUE`);
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}

function durationMs(given: string): number {
  const match = /^(\d+)(ms|s)$/.exec(given);
  if (match === null) throw new UsageError(`--timeout: "${given}" is no time; write it as 3s or 500ms`);
  return Number(match[1]) * (match[2] === "s" ? 1000 : 1);
}

function wholeNumber(flag: string, given: string): number {
  if (!/^\d+$/.test(given)) throw new UsageError(`${flag}: "${given}" is no whole number`);
  return Number(given);
}

/** A problem with an option is worded after its flag; everything else that stops a start is a clear sentence already. */
function asFailure(error: unknown): Failure {
  const problems: readonly string[] = (error as { problems?: readonly string[] }).problems ?? [
    (error as Error).message,
  ];
  return new Failure(
    problems.map((text) => text.replace(/^(\w+)(?=:)/, (option) => FLAG_OF[option] ?? option)).join("; "),
  );
}
