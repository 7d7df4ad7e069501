/**
 * An emulator over a temporary function and a temporary tree of layers, for tests.
 *
 * Most tests need processes only because Lambda has them: theirs are inert, and the test itself calls the APIs in their name.
 */
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type Emulator, startEmulator } from "../../../../adapters/local/emulator.ts";
import type { LogLine } from "../../../../adapters/local/logs.ts";
import type { EmulatorOptions } from "../../../../adapters/local/options.ts";
import type { TimelineEvent, TimelineKind } from "../../../../adapters/local/timeline.ts";
import { Api } from "./api.ts";

/** Does nothing until it is killed. */
export const INERT = "#!/bin/sh\nexec sleep 600\n";

/** Waits for the file `name` in the temporary folder, takes it away, and exits with `code`. */
export function exitsWhenTold(name: string, code: number): string {
  return `#!/bin/sh\nwhile [ ! -e "$TMPDIR/${name}" ]; do sleep 0.02; done\nrm "$TMPDIR/${name}"\nexit ${code}\n`;
}

/** What is on disk. Files are executable; a bootstrap and no handler means the custom runtime. */
export interface Tree {
  /** Path below the task root → content; `undefined` for a file that must not be there. */
  readonly task?: Readonly<Record<string, string | undefined>>;
  /** Path below the tree of layers → content. */
  readonly opt?: Readonly<Record<string, string>>;
  /** Name → script; short for `opt: { "extensions/<name>": … }`. */
  readonly extensions?: Readonly<Record<string, string>>;
  /** Files that are not executable, as paths below the root of all (`task/…`, `opt/…`). */
  readonly plain?: Readonly<Record<string, string>>;
}

/** An emulator under test. */
export interface Subject extends AsyncDisposable {
  readonly emulator: Emulator;
  readonly api: Api;
  readonly logs: readonly LogLine[];
  readonly root: string;
  /** The folder that stands for /tmp. */
  readonly tmp: string;
  /** Resolves at the next (or a past) event of that kind, by default of any process. */
  happened(kind: TimelineKind, process?: string): Promise<TimelineEvent>;
  /** Times an event of that kind happened. */
  count(kind: TimelineKind, process?: string): number;
  /** Writes a file to /tmp. */
  tell(name: string): Promise<void>;
  /** Reads a file of /tmp, as soon as it is there and not empty. */
  told(name: string): Promise<string>;
}

/** Starts an emulator over `tree`. By default the runtime is custom and inert and nothing is frozen. */
export async function emulate(tree: Tree = {}, options: Partial<EmulatorOptions> = {}): Promise<Subject> {
  const root = await mkdtemp(join(tmpdir(), "outrider-conformance-"));
  const tmp = join(root, "tmp");
  const custom = options.runtime === undefined;
  const extensions = Object.entries(tree.extensions ?? {}).map(([name, script]) => [
    `extensions/${name}`,
    script,
  ]);
  const files = {
    ...prefixed("task", { ...(custom ? { bootstrap: INERT } : {}), ...tree.task }),
    ...prefixed("opt", { ...Object.fromEntries(extensions), ...tree.opt }),
  };
  for (const folder of ["task", "opt", "tmp"]) await mkdir(join(root, folder), { recursive: true });
  for (const [path, content] of Object.entries(files)) await put(join(root, path), content, 0o755);
  for (const [path, content] of Object.entries(tree.plain ?? {})) await put(join(root, path), content, 0o644);
  const logs: LogLine[] = [];
  const emulator = await startEmulator({
    taskRoot: join(root, "task"),
    optRoot: join(root, "opt"),
    tmpDir: tmp,
    runtime: "custom",
    freeze: false,
    timeoutMs: 30_000,
    onLog: (line) => logs.push(line),
    ...options,
  }).catch(async (error: unknown) => {
    await rm(root, { recursive: true, force: true });
    throw error;
  });
  return subject(emulator, logs, root, tmp);
}

function subject(emulator: Emulator, logs: LogLine[], root: string, tmp: string): Subject {
  const matching = (kind: TimelineKind, process?: string) => (event: TimelineEvent) =>
    event.kind === kind && (process === undefined || event.process === process);
  return {
    emulator,
    api: new Api(emulator.runtimeApi),
    logs,
    root,
    tmp,
    count: (kind, process) => emulator.timeline.filter(matching(kind, process)).length,
    happened(kind, process) {
      const past = emulator.timeline.find(matching(kind, process));
      if (past !== undefined) return Promise.resolve(past);
      return new Promise((resolve) => {
        const stop = emulator.onEvent((event) => {
          if (!matching(kind, process)(event)) return;
          stop();
          resolve(event);
        });
      });
    },
    tell: (name) => writeFile(join(tmp, name), "x"),
    told: (name) =>
      eventually(async () => (await readFile(join(tmp, name), "utf8").catch(() => "")) || undefined),
    async [Symbol.asyncDispose]() {
      await emulator.shutdown({ now: true });
      await rm(root, { recursive: true, force: true });
    },
  };
}

/** Asks again until there is an answer; the test's own timeout ends it. */
export async function eventually<T>(ask: () => Promise<T | undefined> | T | undefined): Promise<T> {
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function prefixed(
  folder: string,
  files: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(files).flatMap(([path, content]) =>
      content === undefined ? [] : [[join(folder, path), content]],
    ),
  );
}

async function put(path: string, content: string, mode: number): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
  await chmod(path, mode);
}

/** An emulator whose init is over, with the test as the runtime: its first `next` is open and is returned with it. */
export async function emulateReady(
  tree: Tree = {},
  options: Partial<EmulatorOptions> = {},
): Promise<Subject & { next: ReturnType<Api["next"]> }> {
  const subject = await emulate(tree, options);
  await subject.happened("runtime-start");
  const next = subject.api.next();
  await subject.emulator.init;
  return Object.assign(subject, { next });
}
