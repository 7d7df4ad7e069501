/**
 * Reads the file that holds the policy: the compiled form at once, the source form as text for whoever can afford to compile it.
 *
 * Cold tier: plain JSON and the file system, no library. A compiled file is trusted to be what `outrider compile` wrote, apart from
 * its format and its outline.
 */

import { isUtf8 } from "node:buffer";
import { closeSync, openSync, readSync } from "node:fs";
import { CONFIG_FORMAT, type Config } from "./types.ts";

/** Bytes of a policy file, compiled or not. Overflow: the file is refused. */
export const POLICY_BYTES_MAX = 1024 * 1024;

/** The policy cannot be used. The message is for the user: the file, the reason, the remedy; one line for each problem. */
export class ConfigError extends Error {}

/** What a policy file held. */
export type Loaded =
  | { readonly kind: "compiled"; readonly config: Config }
  /** Written by people: to be handed to `compile` of `compile.ts`, which needs the libraries that the cold path does not load. */
  | { readonly kind: "source"; readonly text: string };

/**
 * Reads the policy at `path`; messages call it `name`.
 * @throws ConfigError when the file cannot be read, is too large, is no text, or was compiled for another version
 */
export function loadPolicy(path: string, name = path): Loaded {
  const bytes = readBounded(path, name);
  if (bytes.length > POLICY_BYTES_MAX) {
    throw new ConfigError(
      `${name}: larger than 1 MiB (${POLICY_BYTES_MAX} bytes); split the policy by function`,
    );
  }
  if (!isUtf8(bytes))
    throw new ConfigError(`${name}: is no UTF-8 text, so it is no policy; write it in YAML or JSON`);
  const text = bytes.toString("utf8").replace(/^\uFEFF/, "");
  const compiled = compiledIn(text);
  return compiled === null
    ? { kind: "source", text }
    : { kind: "compiled", config: asConfig(compiled, name) };
}

/** At most one byte more than allowed, so that a device or an endless pipe ends too. */
function readBounded(path: string, name: string): Buffer {
  let file: number | undefined;
  try {
    file = openSync(path, "r");
    const buffer = Buffer.allocUnsafe(POLICY_BYTES_MAX + 1);
    let length = 0;
    for (let read = -1; read !== 0 && length < buffer.length; length += read) {
      read = readSync(file, buffer, length, buffer.length - length, null);
    }
    return buffer.subarray(0, length);
  } catch (error) {
    throw new ConfigError(`${name}: ${reasonOf(error)}`, { cause: error });
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === "ENOENT" || code === "ENOTDIR")
    return "there is no such file; name the policy with --config FILE or OUTRIDER_CONFIG";
  if (code === "EACCES" || code === "EPERM")
    return "may not be read by this user; make the file readable (chmod 644)";
  if (code === "EISDIR") return "is a directory; name the policy file in it";
  return `cannot be read (${code ?? message})`;
}

/** The object in a text that is compiled: JSON with a `format`, which the source form does not know. */
function compiledIn(text: string): Record<string, unknown> | null {
  if (!text.trimStart().startsWith("{")) return null;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && Object.hasOwn(value, "format")
      ? (value as Record<string, unknown>)
      : null;
  } catch {
    // Flow-style YAML, or JSON with a mistake: the compiler will say where.
    return null;
  }
}

function asConfig(value: Record<string, unknown>, name: string): Config {
  if (value.format !== CONFIG_FORMAT) {
    throw new ConfigError(
      `${name}: was compiled by another version of Outrider (format ${JSON.stringify(value.format)}, this one reads ${CONFIG_FORMAT}); compile the policy again`,
    );
  }
  if (!hasOutline(value))
    throw new ConfigError(`${name}: is no whole compiled policy; compile the policy again`);
  return value as unknown as Config;
}

/** Whether every section is there; catches a file that was edited or cut. */
function hasOutline(value: Record<string, unknown>): boolean {
  const sections = ["listen", "limits", "acl", "telemetry"];
  const { destinations, version } = value;
  return (
    typeof version === "string" &&
    sections.every((section) => typeof value[section] === "object" && value[section] !== null) &&
    Array.isArray(destinations) &&
    destinations.length > 0
  );
}
