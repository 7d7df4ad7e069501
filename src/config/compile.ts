/**
 * The text of a policy file → its configuration, or every problem as a line that editors can follow. The one way from source to
 * `Config`: `run`, `check`, `compile` and `explain` all take it.
 */
import { ConfigError, loadPolicy, POLICY_BYTES_MAX } from "./load.ts";
import type { Problem } from "./problem.ts";
import { type Position, type ReadValue, readYaml } from "./read-yaml.ts";
import { resolve } from "./resolve.ts";
import type { PolicyFile } from "./schema.ts";
import { showPath } from "./show.ts";
import type { Config } from "./types.ts";
import { validate } from "./validate.ts";

/** Problems that are listed; more are only counted. */
const LISTED_MAX = 100;

/** A policy that can be used. */
export interface CompiledPolicy {
  readonly ok: true;
  readonly config: Config;
  /** What the configuration was made from, for `explain`. */
  readonly file: PolicyFile;
  /** `FILE:LINE:COLUMN: path: warning: …`, in the order of the file. */
  readonly warnings: readonly string[];
}

/** A policy that cannot: `FILE:LINE:COLUMN: path: …`, in the order of the file. */
export interface RefusedPolicy {
  readonly ok: false;
  readonly problems: readonly string[];
}

/**
 * Compiles `text`; `fileName` is how messages call it, `wallMs` as for `validate`.
 * Never throws for what stands in the text.
 */
export function compile(text: string, fileName: string, wallMs?: number): CompiledPolicy | RefusedPolicy {
  const read = readYaml(text);
  if (!read.ok) return { ok: false, problems: listed(read.problems, fileName) };
  if (read.value === null)
    return { ok: false, problems: [`${fileName}:1:1: the file is empty; a policy begins with version: 1`] };
  const validated = validate(read.value, wallMs);
  if (!validated.ok) return { ok: false, problems: listed(located(validated.problems, read), fileName) };
  const config = resolve(validated.file);
  const size = Buffer.byteLength(compiledText(config));
  if (size > POLICY_BYTES_MAX) {
    return {
      ok: false,
      problems: [`${fileName}:1:1: compiles to ${size} bytes, more than 1 MiB; split the policy by function`],
    };
  }
  return {
    ok: true,
    config,
    file: validated.file,
    warnings: listed(located(validated.warnings, read), fileName),
  };
}

/**
 * As `compile`, for callers that can only go on with a policy.
 * @throws ConfigError with all problems, a line each
 */
export function compileOrThrow(text: string, fileName: string): CompiledPolicy {
  const compiled = compile(text, fileName);
  if (!compiled.ok) throw new ConfigError(compiled.problems.join("\n"));
  return compiled;
}

/** A policy that was read from a file. */
export interface OpenedPolicy {
  readonly config: Config;
  /** `null` when the file was compiled: what came from which level is not in it. */
  readonly file: PolicyFile | null;
  readonly warnings: readonly string[];
}

/**
 * Reads the policy at `path`, compiled or not; messages call it `name`.
 * @throws ConfigError
 */
export function openPolicy(path: string, name = path): OpenedPolicy {
  const loaded = loadPolicy(path, name);
  if (loaded.kind === "compiled") return { config: loaded.config, file: null, warnings: [] };
  return compileOrThrow(loaded.text, name);
}

/** What `outrider compile` writes and `load.ts` reads. */
export function compiledText(config: Config): string {
  return `${JSON.stringify(config)}\n`;
}

/** A message and its place. */
interface Line extends Position {
  readonly message: string;
}

function located(problems: readonly Problem[], read: ReadValue): Line[] {
  return problems.map(({ severity, path, at, message }) => {
    const subject = path.length === 0 ? "the policy" : `${showPath(path)}:`;
    return {
      ...read.locate(path, at),
      message: `${subject} ${severity === "warning" ? "warning: " : ""}${message}`,
    };
  });
}

function listed(lines: readonly Line[], fileName: string): string[] {
  const sorted = lines.toSorted((a, b) => a.line - b.line || a.column - b.column);
  const shown = sorted
    .slice(0, LISTED_MAX)
    .map(({ line, column, message }) => `${fileName}:${line}:${column}: ${message}`);
  const more = sorted.length - shown.length;
  return more === 0 ? shown : [...shown, `${fileName}: ${more} more problems; mend the ones above first`];
}
