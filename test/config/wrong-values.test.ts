/**
 * A bad policy: every wrong value is reported at once with its path, the reason and the nearest valid key; nothing starts with a
 * half-valid policy. Made from the schema, so that no key that is added is left out.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { compile, openPolicy } from "../../src/config/compile.ts";
import { definitionOf, jsonSchema, type SchemaNode } from "../../src/config/json-schema.ts";
import { ConfigError } from "../../src/config/load.ts";
import { showPath } from "../../src/config/show.ts";
import { validate } from "../../src/config/validate.ts";

const schema = jsonSchema();

type Path = readonly (string | number)[];

/** What a walk through the schema makes of each of its mappings. */
interface Walk {
  /** The mapping's content. */
  readonly value: unknown;
  /** Where something is wrong in it. */
  readonly wrong: readonly Path[];
}

/** A mapping of definition `id` in which every plain value is one that no key takes. */
function allWrong(id: string, path: Path): Walk {
  const entries: [string, unknown][] = [];
  const wrong: Path[] = [];
  for (const [key, node] of Object.entries(schema.$defs[id]!.properties!)) {
    const at = [...path, key];
    const inner = definitionOf(node);
    const item = definitionOf(node.items);
    const walk =
      inner !== undefined ? allWrong(inner, at) : item !== undefined ? allWrong(item, [...at, 0]) : null;
    entries.push([key, walk === null ? WRONG : item === undefined ? walk.value : [walk.value]]);
    wrong.push(...(walk?.wrong ?? [at]));
  }
  return { value: Object.fromEntries(entries), wrong };
}

/** `null` is a value of YAML that no key takes. */
const WRONG = null;

/** Definitions by the paths at which they stand; the first suffices. */
function mappings(): [id: string, path: Path][] {
  const found = new Map<string, Path>();
  const visit = (node: SchemaNode, path: Path): void => {
    const id = definitionOf(node);
    if (id !== undefined) {
      if (found.has(id)) return;
      found.set(id, path);
      for (const [key, inner] of Object.entries(schema.$defs[id]!.properties!)) visit(inner, [...path, key]);
    } else if (node.items !== undefined) visit(node.items, [...path, 0]);
  };
  visit({ $ref: schema.$ref }, []);
  return [...found];
}

/** A file that holds `value` at `path` and nothing else. */
function fileWith(path: Path, value: unknown): unknown {
  const [first, ...rest] = path;
  if (first === undefined) return value;
  return typeof first === "number" ? [fileWith(rest, value)] : { [first]: fileWith(rest, value) };
}

describe("every wrong value of a policy", () => {
  test("is reported at once, each with its own path and a reason", () => {
    const { value, wrong } = allWrong("policy", []);
    const validated = validate(value);
    if (validated.ok) throw new Error("a policy in which everything is wrong is taken");
    const reported = validated.problems.map(({ path }) => showPath(path));
    expect(reported.toSorted()).toEqual(wrong.map(showPath).toSorted());
    expect(wrong.length).toBeGreaterThan(250);
    for (const { severity, message } of validated.problems) {
      expect(severity).toBe("error");
      expect(message).toMatch(/^must be .+/);
    }
  });

  test("does not bring a password of the store into the message", () => {
    const validated = validate({ version: 1, fleet: { store: "redis://:hunter2@cache:6379" } });
    expect(validated).toMatchObject({ ok: false, problems: [{ path: ["fleet", "store"] }] });
    expect(JSON.stringify(validated)).not.toContain("hunter2");
  });

  test.each(mappings().map(([id, path]) => [showPath(path) || "the file", id, path] as const))(
    "in %s: a mistyped key is reported with the nearest valid one",
    (_, id, path) => {
      for (const key of Object.keys(schema.$defs[id]!.properties!)) {
        const mistyped = `${key[0]}${key}`;
        const validated = validate(fileWith(path, { [mistyped]: 1 }));
        const problems = validated.ok ? [] : validated.problems;
        const problem = problems.find((one) => showPath(one.path) === showPath([...path, mistyped]));
        expect(problem, mistyped).toMatchObject({ severity: "error", at: "key" });
        expect(problem!.message).toBe(`unknown key; did you mean "${key}"?`);
      }
    },
  );
});

describe("a policy of which one value is wrong", () => {
  const folder = mkdtempSync(join(tmpdir(), "outrider-wrong-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const TEXT = `version: 1
destinations:
  - { name: good, hosts: [a.example], timeout: 1s }
  - { name: bad, hosts: [b.example], circuit_breaker: { open_for: soon } }
`;

  test("is refused as a whole: there is no configuration of the rest", () => {
    const compiled = compile(TEXT, "p");
    expect(compiled).toEqual({
      ok: false,
      problems: [
        'p:4:67: destinations[1].circuit_breaker.open_for: "soon": write a duration such as 250ms, 8s, 2m or 1h',
      ],
    });
  });

  test("is not opened for whoever would start with it", () => {
    const file = join(folder, "outrider.yaml");
    writeFileSync(file, TEXT);
    expect(() => openPolicy(file, "outrider.yaml")).toThrow(ConfigError);
  });
});
