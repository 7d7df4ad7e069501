/**
 * What an emulator can be told, its one table of defaults, and the check of all of it.
 *
 * Owns reading the file system as far as the check needs it. Every problem is reported at once, each with its remedy.
 */
import { randomBytes } from "node:crypto";
import { accessSync, constants, existsSync, statSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { environmentProblems } from "./environment.ts";
import type { LogLine } from "./logs.ts";

/** How a function is run: two bundled runtimes, or a `bootstrap` of its own as on `provided.*`. */
export type RuntimeKind = "node" | "python" | "custom";

/** What `startEmulator` takes. Only `taskRoot` is always needed; `node` and `python` need `handler` too. */
export interface EmulatorOptions {
  /** The folder of the function's code, /var/task on Lambda. */
  readonly taskRoot: string;
  /** `file.function`, with folders before the file as in `src/app.handler`. */
  readonly handler?: string;
  readonly runtime?: RuntimeKind;
  /** The tree that layers make, /opt on Lambda; without it there are no layers and no extensions. */
  readonly optRoot?: string;
  /** What stands for /tmp: kept across resets, `TMPDIR` of every process. Made and removed by the emulator when absent. */
  readonly tmpDir?: string;
  /** The function's own variables. `AWS_LAMBDA_EXEC_WRAPPER` may name /opt/… or /var/task/…; it is looked for in the local folder. */
  readonly env?: Readonly<Record<string, string>>;
  readonly functionName?: string;
  readonly functionVersion?: string;
  readonly region?: string;
  readonly accountId?: string;
  readonly credentials?: Credentials;
  /** Given to the process, not enforced: 128 to 10 240. */
  readonly memoryMb?: number;
  /** The function timeout, which also covers extensions after it: 1 to 900 000. */
  readonly timeoutMs?: number;
  /** The limit of the init phase of an on-demand function. */
  readonly initTimeoutMs?: number;
  /** Whether the sandbox is frozen between invocations. */
  readonly freeze?: boolean;
  /** Port of the Runtime, Extensions and Telemetry APIs; 0 takes a free one. */
  readonly runtimeApiPort?: number;
  /** Port of the Invoke endpoint; 0 takes a free one. */
  readonly invokePort?: number;
  /** Invocations that may wait for the one that runs; the next is refused with 429. */
  readonly queueMax?: number;
  readonly logFormat?: "Text" | "JSON";
  /** `Sampled` of a trace that begins here. */
  readonly traceSampled?: boolean;
  /** The Node executable of the `node` runtime; its folder is in PATH. */
  readonly nodePath?: string;
  /** The Python executable of the `python` runtime; the first python3 on the emulator's PATH when absent. */
  readonly pythonPath?: string;
  /** Every line that a process or the platform writes. Must not throw. */
  readonly onLog?: (line: LogLine) => void;
}

/** What the function's processes get as AWS_ACCESS_KEY_ID and so on. */
export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string;
}

/** The options with every default filled in and every path absolute. */
export interface ResolvedOptions
  extends Required<Omit<EmulatorOptions, "optRoot" | "tmpDir" | "pythonPath">> {
  readonly optRoot: string | undefined;
  /** Empty until the emulator has made one. */
  readonly tmpDir: string;
  readonly pythonPath: string;
  /** The folder of the bundled bootstraps, /var/runtime on Lambda. */
  readonly runtimeDir: string;
  /** `nodejs24.x` or `python3.11`: what AWS_EXECUTION_ENV and the telemetry name. */
  readonly runtimeName: string;
  readonly functionArn: string;
  readonly logStreamName: string;
}

/** The credentials are syntactically valid and open nothing. */
const DEFAULTS = {
  handler: "",
  runtime: "node",
  tmpDir: "",
  env: {},
  functionName: "function",
  functionVersion: "$LATEST",
  region: "eu-west-1",
  accountId: "123456789012",
  credentials: {
    accessKeyId: "EMULATORACCESSKEY000",
    secretAccessKey: "emulator-secret",
    sessionToken: "emulator-session",
  },
  memoryMb: 512,
  timeoutMs: 3_000,
  initTimeoutMs: 10_000,
  freeze: true,
  runtimeApiPort: 0,
  invokePort: 0,
  queueMax: 32,
  logFormat: "Text",
  traceSampled: true,
  nodePath: process.execPath,
  onLog: () => {},
} as const satisfies Partial<EmulatorOptions>;

/** Bounds of the numbers, ends included. */
const BOUNDS = {
  memoryMb: [128, 10_240],
  timeoutMs: [1, 900_000],
  initTimeoutMs: [1, 900_000],
  runtimeApiPort: [0, 65_535],
  invokePort: [0, 65_535],
  queueMax: [0, 1_000],
} as const;

/** The options do not describe a function that could run. One problem a line, each with its remedy. */
export class EmulatorOptionsError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join("\n"));
    this.name = "EmulatorOptionsError";
    this.problems = problems;
  }
}

/** Fills in the defaults and checks everything. Throws `EmulatorOptionsError`. */
export function resolveOptions(given: EmulatorOptions): ResolvedOptions {
  const merged = withDefaults(given);
  const runtime: RuntimeKind = merged.runtime;
  const options: ResolvedOptions = {
    ...merged,
    runtime,
    taskRoot: resolve(merged.taskRoot),
    optRoot: given.optRoot === undefined ? undefined : resolve(given.optRoot),
    tmpDir: merged.tmpDir === "" ? "" : resolve(merged.tmpDir),
    pythonPath: given.pythonPath ?? (runtime === "python" ? (onPath("python3") ?? "") : ""),
    runtimeDir: bootstrapFolder(),
    runtimeName: runtimeName(runtime),
    functionArn: `arn:aws:lambda:${merged.region}:${merged.accountId}:function:${merged.functionName}`,
    logStreamName: `${new Date().toISOString().slice(0, 10).replaceAll("-", "/")}/[${merged.functionVersion}]${randomBytes(16).toString("hex")}`,
  };
  const problems = [
    ...unknownKeys(given),
    ...folderProblems(options),
    ...runtimeProblems(options),
    ...boundProblems(options),
    ...environmentProblems(options.env),
  ];
  if (problems.length > 0) throw new EmulatorOptionsError(problems);
  return options;
}

type Defaulted = Required<Omit<EmulatorOptions, "optRoot" | "pythonPath">>;

/** An option that is given as `undefined` counts as absent. */
function withDefaults(given: EmulatorOptions): Defaulted {
  const set = Object.entries(given).filter(([, value]) => value !== undefined);
  return { ...DEFAULTS, ...(Object.fromEntries(set) as Pick<EmulatorOptions, "taskRoot">) };
}

const KNOWN: ReadonlySet<string> = new Set([...Object.keys(DEFAULTS), "taskRoot", "optRoot", "pythonPath"]);

function unknownKeys(given: object): string[] {
  return Object.keys(given)
    .filter((key) => !KNOWN.has(key))
    .map((key) => `${key}: there is no such option; known are ${[...KNOWN].sort().join(", ")}`);
}

function folderProblems({ taskRoot, optRoot, tmpDir }: ResolvedOptions): string[] {
  const folders = { taskRoot, optRoot, tmpDir: tmpDir === "" ? undefined : tmpDir };
  return Object.entries(folders)
    .filter(([, path]) => path !== undefined && !isFolder(path))
    .map(([name, path]) => `${name}: ${path} is not a folder; name one that exists`);
}

function runtimeProblems(options: ResolvedOptions): string[] {
  const { runtime, handler } = options;
  if (!["node", "python", "custom"].includes(runtime))
    return [`runtime: "${runtime}" is unknown; use node, python or custom`];
  const problems: string[] = [];
  if (runtime !== "custom" && handler === "")
    problems.push(`handler: the ${runtime} runtime needs one; name it as file.function, e.g. index.handler`);
  if (runtime === "python" && options.pythonPath === "")
    problems.push("runtime: python needs python3 on the PATH of the emulator; install it or set pythonPath");
  return problems;
}

function boundProblems(options: ResolvedOptions): string[] {
  return Object.entries(BOUNDS)
    .filter(([name, [min, max]]) => {
      const value = options[name as keyof typeof BOUNDS];
      return !(Number.isInteger(value) && value >= min && value <= max);
    })
    .map(([name, [min, max]]) => {
      const value = options[name as keyof typeof BOUNDS];
      return `${name}: ${value} is out of bounds; use a whole number from ${min} to ${max}`;
    });
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/** The first executable of that name on the emulator's own PATH. */
function onPath(name: string): string | undefined {
  return (process.env.PATH ?? "")
    .split(delimiter)
    .filter((folder) => folder !== "")
    .map((folder) => join(folder, name))
    .find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

function runtimeName(runtime: RuntimeKind): string {
  if (runtime === "node") return `nodejs${process.versions.node.split(".")[0]}.x`;
  return runtime === "python" ? "python3" : "provided.al2023";
}

/** The bootstraps are files of their own, beside this one in the source tree and beside or above the bundle that holds it. */
function bootstrapFolder(): string {
  const candidates = ["./bootstrap/", "../bootstrap/"].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  );
  const found = candidates.find((path) => existsSync(join(path, "bootstrap.sh")));
  if (found === undefined)
    throw new EmulatorOptionsError([
      `the runtime bootstraps are missing, looked for in ${candidates.join(" and ")}; install the package again`,
    ]);
  return resolve(found);
}
