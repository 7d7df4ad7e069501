/**
 * Text → a plain value and the place of each part of it. YAML 1.2 (core schema), of which JSON is a part.
 *
 * Owns what can be wrong with the text itself, and keeps a hostile text cheap: nesting, aliases and the number of values are
 * bounded. What the value must look like is in `validate.ts`. The only importer of the YAML library.
 */
import { isAlias, isMap, isScalar, isSeq, Lexer, LineCounter, parseDocument } from "yaml";
import type { Path } from "./problem.ts";
import { show } from "./show.ts";

/** Depth of lists and mappings, aliases included. The policy file needs 7. */
const DEPTH_MAX = 32;

const TOO_DEEP = `lists and mappings are nested more than ${DEPTH_MAX} deep`;

/** Values in all, each use of an alias counted anew: bounds what a few nested aliases can grow to ("billion laughs"). */
const VALUES_MAX = 200_000;

/** Characters of a message of the library that are shown; it may quote the text at any length. */
const MESSAGE_LENGTH_MAX = 160;

/** Line and column, both from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** What is wrong with the text, and where. */
export interface TextProblem extends Position {
  readonly message: string;
}

/** A text that could be read. */
export interface ReadValue {
  readonly ok: true;
  /** Mappings have no prototype, so that no key means more than it says. */
  readonly value: unknown;
  /** Where the value at `path` stands, or its key; the nearest part around it when it is not in the text. */
  locate(path: Path, at: "key" | "value"): Position;
}

/** The outcome of reading a text. */
export type ReadResult = ReadValue | { readonly ok: false; readonly problems: readonly TextProblem[] };

/** Reads a policy's text. Never throws for what stands in it. */
export function readYaml(text: string): ReadResult {
  const control = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/.exec(text);
  if (control !== null) {
    const code = control[0].charCodeAt(0).toString(16).padStart(2, "0");
    return refused(text, control.index, `the control character 0x${code} has no place in YAML or JSON`);
  }
  try {
    const deep = offsetTooDeep(text);
    return deep === null ? read(text) : refused(text, deep, TOO_DEEP);
  } catch (error) {
    // Nothing is known to make the library throw; if something does, it is still the text that cannot be used.
    return refused(text, 0, plain("", error instanceof Error ? error.message : String(error)));
  }
}

function read(text: string): ReadResult {
  const lines = new LineCounter();
  const document = parseDocument(text, {
    version: "1.2",
    schema: "core",
    merge: false,
    stringKeys: true,
    // `Reader` does it: the library compares each key with each, which a mapping of many keys turns into minutes.
    uniqueKeys: false,
    lineCounter: lines,
    prettyErrors: false,
    logLevel: "error",
  });
  const position = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { line, column: col };
  };
  const faults = [...document.errors, ...document.warnings];
  if (faults.length > 0) {
    const problems = faults.map(({ code, message, pos }) => ({
      ...position(pos[0]),
      message: plain(code, message),
    }));
    return { ok: false, problems };
  }
  const reader = new Reader();
  const root = reader.read(document.contents, 0, 0);
  if (reader.problems.length > 0) {
    return {
      ok: false,
      problems: reader.problems.map(({ offset, message }) => ({ ...position(offset), message })),
    };
  }
  return { ok: true, value: root.value, locate: (path, at) => position(offsetOf(root, path, at)) };
}

/** A value, and where it and its parts stand. */
interface Part {
  readonly value: unknown;
  readonly offset: number;
  /** Of the key that the value belongs to; in a list, of the value. */
  readonly keyOffset: number;
  readonly parts: ReadonlyMap<string | number, Part>;
}

/** What a node holds, before its place is known. */
type Content = Pick<Part, "value" | "parts">;

const leaf = (value: unknown): Content => ({ value, parts: new Map() });

/** One walk over the nodes of a document. */
class Reader {
  readonly problems: { readonly offset: number; readonly message: string }[] = [];
  readonly #anchors = new Map<string, unknown>();
  #values = 0;

  read(node: unknown, depth: number, keyOffset: number): Part {
    const offset = offsetIn(node) ?? keyOffset;
    const content = this.#content(node, offset, depth);
    // Known only after its own content, so that an anchor cannot be used inside itself.
    const anchor = (node as { anchor?: string } | null | undefined)?.anchor;
    if (anchor !== undefined) this.#anchors.set(anchor, node);
    return { ...content, offset, keyOffset };
  }

  #content(node: unknown, offset: number, depth: number): Content {
    this.#values += 1;
    if (this.#values > VALUES_MAX) {
      const isFirst = this.#values === VALUES_MAX + 1;
      return isFirst
        ? this.#refuse(offset, `more than ${VALUES_MAX} values, each use of an alias counted`)
        : leaf(null);
    }
    if (depth > DEPTH_MAX) return this.#refuse(offset, TOO_DEEP);
    if (node === null || node === undefined) return leaf(null);
    if (isMap(node)) return this.#mapping(node.items, offset, depth);
    if (isSeq(node)) return this.#list(node.items, offset, depth);
    if (isAlias(node)) return this.#alias(node.source, offset, depth);
    const value = isScalar(node) ? node.value : undefined;
    if (value === null || ["string", "number", "boolean"].includes(typeof value)) return leaf(value);
    return this.#refuse(offset, "this is neither text, number, true, false, list nor mapping");
  }

  #alias(name: string, offset: number, depth: number): Content {
    if (!this.#anchors.has(name))
      return this.#refuse(offset, `*${name} is used here, but &${name} does not stand before it`);
    return this.#content(this.#anchors.get(name), offset, depth + 1);
  }

  #list(items: readonly unknown[], offset: number, depth: number): Content {
    const entries = items.map((item) => this.read(item, depth + 1, offsetIn(item) ?? offset));
    return { value: entries.map(({ value }) => value), parts: new Map(entries.entries()) };
  }

  #mapping(items: readonly { key: unknown; value: unknown }[], offset: number, depth: number): Content {
    const parts = new Map<string, Part>();
    const value: Record<string, unknown> = Object.create(null);
    for (const item of items) {
      const keyOffset = offsetIn(item.key) ?? offset;
      const key = isScalar(item.key) ? String(item.key.value) : "";
      if (parts.has(key))
        this.#refuse(keyOffset, `the key ${show(key)} stands here a second time; keep one of them`);
      const part = this.read(item.value, depth + 1, keyOffset);
      parts.set(key, part);
      value[key] = part.value;
    }
    return { value, parts };
  }

  #refuse(offset: number, message: string): Content {
    this.problems.push({ offset, message });
    return leaf(null);
  }
}

function offsetIn(node: unknown): number | undefined {
  return (node as { range?: readonly number[] | null } | null | undefined)?.range?.[0];
}

/** Of what is not in the text, the mapping that lacks it, at its own key where it has one. */
function offsetOf(root: Part, path: Path, at: "key" | "value"): number {
  let part = root;
  for (const step of path) {
    const next = part.parts.get(step);
    if (next === undefined) return part.keyOffset;
    part = next;
  }
  return at === "key" ? part.keyOffset : part.offset;
}

/** Where brackets nest deeper than `DEPTH_MAX`; asked before parsing, because the parser needs seconds for a megabyte of brackets. */
function offsetTooDeep(text: string): number | null {
  let depth = 0;
  let offset = 0;
  for (const token of new Lexer().lex(text)) {
    // Marks of the lexer's own that do not stand in the text: document, error in a flow, scalar follows.
    if (token === "\x02" || token === "\x18" || token === "\x1f") continue;
    if (token === "[" || token === "{") depth += 1;
    else if (token === "]" || token === "}") depth = Math.max(0, depth - 1);
    if (depth > DEPTH_MAX) return offset;
    offset += token.length;
  }
  return null;
}

/** The library's message, or ours where it says more. */
function plain(code: string, message: string): string {
  if (code === "MULTIPLE_DOCS") return "a second document begins here; a policy file holds one";
  if (code === "TAG_RESOLVE_FAILED") return "tags have no meaning in a policy; delete the one here";
  if (/call stack|stack overflow/i.test(message)) return TOO_DEEP;
  const line = message.replace(/\s+/g, " ");
  return `not valid YAML: ${line.length > MESSAGE_LENGTH_MAX ? `${line.slice(0, MESSAGE_LENGTH_MAX)}…` : line}`;
}

function refused(text: string, offset: number, message: string): ReadResult {
  const before = text.slice(0, offset);
  const line = before.split("\n").length;
  return { ok: false, problems: [{ line, column: offset - before.lastIndexOf("\n"), message }] };
}
