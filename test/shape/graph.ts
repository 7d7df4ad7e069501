/**
 * What imports what: read from esbuild's own metafile for values, and from the text for `import type`, which esbuild drops.
 *
 * Owns reading the graph and following it. What is allowed is in the tests.
 */
import { readFile } from "node:fs/promises";
import { dirname, join, normalize, resolve } from "node:path";
import { build, type Metafile } from "esbuild";

/** One import. */
export interface Edge {
  /** Paths from the root of the repository; `to` is the name of a package or of a module of Node when it is neither. */
  readonly from: string;
  readonly to: string;
  readonly kind: "static" | "dynamic" | "type";
}

const OPTIONS = {
  bundle: true,
  platform: "node",
  format: "esm",
  packages: "external",
  metafile: true,
  write: false,
  outdir: "nowhere",
  logLevel: "silent",
} as const;

/** The edges between the modules that `entries` reach, packages and Node's modules as leaves. */
export async function edgesOf(entries: readonly string[]): Promise<Edge[]> {
  const { metafile } = await build({ ...OPTIONS, entryPoints: [...entries] });
  const files = Object.keys(metafile.inputs);
  const types = await Promise.all(files.map(async (file) => typeEdges(file, await readFile(file, "utf8"))));
  return [...valueEdges(metafile.inputs), ...types.flat()];
}

/** The edges of a module that is on no disk but has the place `file`, so that a test can show that a wrong one is found. */
export async function edgesOfText(file: string, text: string): Promise<Edge[]> {
  const { metafile } = await build({
    ...OPTIONS,
    stdin: { contents: text, sourcefile: resolve(file), resolveDir: dirname(file), loader: "ts" },
  });
  return [...valueEdges(metafile.inputs).filter(({ from }) => from === file), ...typeEdges(file, text)];
}

function valueEdges(inputs: Metafile["inputs"]): Edge[] {
  return Object.entries(inputs).flatMap(([from, { imports }]) =>
    imports.map(({ path, kind }) => ({
      from,
      to: path,
      kind: kind === "dynamic-import" ? ("dynamic" as const) : ("static" as const),
    })),
  );
}

const TYPE_IMPORT = /^import type\s[^;]*?\sfrom "([^"]+)";/gm;

/** The `import type` declarations of a module. */
export function typeEdges(from: string, text: string): Edge[] {
  return [...text.matchAll(TYPE_IMPORT)].map((found) => {
    const path = found[1]!;
    return {
      from,
      to: path.startsWith(".") ? normalize(join(dirname(from), path)) : path,
      kind: "type" as const,
    };
  });
}

/** Which bundled file holds what, and which source files and outside modules load with an output, by metafile. */
export interface Closure {
  /** Files of the output that are loaded, the first included. */
  readonly outputs: readonly string[];
  /** Source files that contribute at least a byte to them. */
  readonly sources: readonly string[];
  /** Modules that are not in the bundle: Node's own. */
  readonly outside: readonly string[];
  /** Bytes of all outputs. */
  readonly bytes: number;
}

/** Everything that is loaded when `output` is, following static imports only. */
export function staticClosure({ outputs }: Metafile, output: string): Closure {
  const reached = new Set<string>();
  const outside = new Set<string>();
  const waiting = [output];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (reached.has(next)) continue;
    reached.add(next);
    for (const { path, kind, external } of outputs[next]!.imports) {
      if (kind === "dynamic-import") continue;
      if (external) outside.add(path);
      else waiting.push(path);
    }
  }
  const files = [...reached];
  const sources = files.flatMap((file) =>
    Object.entries(outputs[file]!.inputs)
      .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
      .map(([source]) => source),
  );
  return {
    outputs: files.sort(),
    sources: sources.sort(),
    outside: [...outside].sort(),
    bytes: files.reduce((sum, file) => sum + outputs[file]!.bytes, 0),
  };
}

/** The output whose entry point is `source`. */
export function outputOf({ outputs }: Metafile, source: string): string {
  const found = Object.entries(outputs).find(([, { entryPoint }]) => entryPoint === source);
  if (found === undefined) throw new Error(`no output has ${source} as its entry point`);
  return found[0];
}

/** The name of the package that `path` inside node_modules belongs to, or "". */
export function packageOf(path: string): string {
  const inside = path.split("node_modules/").at(-1)!;
  if (inside === path) return "";
  return inside
    .split("/")
    .slice(0, inside.startsWith("@") ? 2 : 1)
    .join("/");
}
