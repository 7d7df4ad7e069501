/** Pages and code say the same, and the house style that a linter does not know is kept. */
import { execFileSync } from "node:child_process";
import { existsSync, globSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { ERROR_CODES, type ErrorCode } from "../../src/errors.ts";
import { grpcStatusFor } from "../../src/listener/grpc-reply.ts";

/** Text files of the project, as git knows them (a package that was unpacked has no git: then as the folders hold them). */
function trackedFiles(): string[] {
  try {
    const listed = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
      encoding: "utf8",
    });
    return listed.split("\n").filter((file) => file !== "" && existsSync(file));
  } catch {
    return globSync([
      "{src,adapters,layers,test,bench,examples,docs}/**/*.{ts,mjs,md,sh,py,yaml}",
      "*.{md,mjs,ts}",
    ]);
  }
}

const read = (file: string): string => readFileSync(file, "utf8");

const FILES = trackedFiles().filter(
  (file) => /\.(ts|mjs|js|md|sh|py|yaml|yml)$|^layers\/opt\//.test(file) && !/\/vectors\//.test(file),
);

describe("docs/errors.md", () => {
  const MAY_REPEAT = {
    unsent: "yes, nothing was sent",
    sent: "only if the method may be repeated",
    final: "no",
  };
  const rows = new Map(
    [...read("docs/errors.md").matchAll(/^\| <a id="([a-z_]+)"><\/a>`([A-Z_]+)` \| (.+) \|$/gm)].map(
      (row) => [row[2]!, { anchor: row[1]!, cells: row[3]!.split(" | ") }],
    ),
  );

  test("lists every error code, and none that does not exist", () => {
    expect([...rows.keys()]).toEqual(Object.keys(ERROR_CODES));
  });

  test.each(Object.entries(ERROR_CODES))("says of %s what the table says, and a remedy", (code, facts) => {
    const { anchor, cells } = rows.get(code)!;
    const { status, stage, blame, meaning, reached } = facts;
    expect(anchor).toBe(code.toLowerCase());
    expect(cells.slice(0, 5)).toEqual([
      status === 0 ? "none" : `${status}`,
      stage,
      blame,
      meaning,
      MAY_REPEAT[reached],
    ]);
    expect(cells[5]).toMatch(/^[A-Z].{10,}\.$/);
    expect(cells).toHaveLength(6);
  });
});

describe("docs/errors.md, in a gRPC call", () => {
  const listed = [...read("docs/errors.md").matchAll(/^\| (\d+) [A-Z_]+ \| (.+) \|$/gm)].map(
    ([, status, codes]) => ({
      status: Number(status),
      codes: [...codes!.matchAll(/`([A-Z_]+)`/g)].map(([, code]) => code!),
    }),
  );

  test.each(Object.keys(ERROR_CODES) as ErrorCode[])("says what %s becomes", (code) => {
    const status = grpcStatusFor(code);
    const row = listed.find(({ codes }) => codes.includes(code));
    expect(row?.status ?? (status === null ? null : 14)).toBe(status);
  });

  test("names no code that does not exist, and none twice", () => {
    const codes = listed.flatMap((row) => row.codes);
    expect(codes.filter((code) => !Object.hasOwn(ERROR_CODES, code))).toEqual([]);
    expect(new Set(codes).size).toBe(codes.length);
    expect(codes.length).toBeGreaterThan(10);
  });
});

/** What may not stand in a file, where, and what to write instead. Files under `but` may. */
interface Ban {
  readonly what: RegExp;
  readonly where: RegExp;
  readonly but: RegExp;
  readonly instead: string;
}

const NOWHERE = /^$/;
const SELF = /^test\/shape\/docs\.test\.ts$/;

const BANS: readonly Ban[] = [
  { what: /\bTODO\b|\bFIXME\b|\bXXX\b/, where: /./, but: SELF, instead: "an issue, or the work itself" },
  {
    what: /\bconsole\.\w+\(/,
    where: /^(src|adapters)\//,
    but: /^adapters\/local\/bootstrap\//,
    instead: "Terminal.out, Terminal.err or telemetry",
  },
  {
    what: /\bprocess\.env\b/,
    where: /^src\//,
    but: /^src\/cli\/main\.ts$/,
    instead: "an environment that is handed in",
  },
  {
    what: /\bDate\.now\(|\bperformance\.now\(|\bsetTimeout\(|\bsetInterval\(/,
    where: /^(src|adapters\/lambda)\//,
    // The outlet's interval does nothing but keep a process alive that is flushing.
    but: /^src\/(clock|telemetry\/outlet)\.ts$/,
    instead: "the Clock that is handed in",
  },
  {
    what: /^export default\b/m,
    where: /\.(ts|mjs)$/,
    but: /^[a-z.]+\.config\.(ts|mjs)$/,
    instead: "a named export",
  },
  {
    what: /^\s*(export )?(const )?enum\b|^\s*(export )?namespace\b/m,
    where: /\.ts$/,
    but: NOWHERE,
    instead: "a union or a module",
  },
  {
    what: /from "\.{1,2}\/[^"]*(?<!\.(ts|mjs|json))"/,
    where: /\.ts$/,
    but: SELF,
    instead: "the import with its .ts",
  },
  { what: /@ts-(ignore|nocheck)/, where: /\.ts$/, but: SELF, instead: "a type that is true" },
  {
    what: /rejectUnauthorized: false/,
    where: /^(src|adapters)\//,
    but: NOWHERE,
    instead: "verification; it cannot be turned off",
  },
];

/** Lines of `text` that a ban is about; comments count too, but not for what only code can do. */
function offences(file: string, text: string, bans: readonly Ban[] = BANS): string[] {
  return bans
    .filter(
      ({ what, where, but }) =>
        where.test(file) && !but.test(file) && what.test(withoutComments(file, text, what)),
    )
    .map(
      ({ what, instead }) =>
        `${file}: ${what.exec(withoutComments(file, text, what))![0].trim()}: write ${instead}`,
    );
}

function withoutComments(file: string, text: string, what: RegExp): string {
  if (what.source.includes("TODO") || !/\.(ts|mjs)$/.test(file)) return text;
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
}

/** Lines a file may have at the most. */
const LINES_MAX = 400;

/** Longer files, each with its reason. */
const LONG: ReadonlyMap<string, string> = new Map([
  ["test/telemetry/telemetry.test.ts", "the whole room, behaviour by behaviour"],
]);

describe("the house style", () => {
  test("finds its files", () => {
    expect(FILES.length).toBeGreaterThan(150);
    expect(FILES).toEqual(expect.arrayContaining(["src/proxy.ts", "layers/opt/outrider-wrapper"]));
  });

  test("is free of what it bans", () => {
    expect(FILES.flatMap((file) => offences(file, read(file)))).toEqual([]);
  });

  test.each([
    ["src/policy/x.ts", "const now = Date.now();", "the Clock"],
    ["src/upstream/x.ts", "setTimeout(() => {}, 1);", "the Clock"],
    ["src/policy/x.ts", 'console.log("here");', "telemetry"],
    ["src/telemetry/x.ts", "const debug = process.env.DEBUG;", "handed in"],
    ["src/x.ts", "// TODO: later", "an issue"],
    ["layers/opt/outrider-wrapper", "# FIXME", "an issue"],
    ["src/x.ts", "export default function x() {}", "a named export"],
    ["src/x.ts", "export const enum X { A }", "a union"],
    ["src/x.ts", 'import { x } from "./y";', "its .ts"],
    ["src/upstream/x.ts", "const options = { rejectUnauthorized: false };", "cannot be turned off"],
  ])("would find in %s: %s", (file, text, instead) => {
    expect(offences(file, text)).toEqual([expect.stringContaining(instead)]);
  });

  test("lets pass what is allowed where it is", () => {
    expect(offences("src/clock.ts", "Date.now();")).toEqual([]);
    expect(offences("src/x.ts", "/** Like setTimeout(f) of Node. */")).toEqual([]);
    expect(offences("vitest.config.ts", "export default {};")).toEqual([]);
  });

  test("keeps files under the limit of lines", () => {
    const code = FILES.filter((file) => /\.(ts|mjs|py)$/.test(file) && !LONG.has(file));
    const long = code.filter((file) => read(file).split("\n").length > LINES_MAX + 1);
    expect(long).toEqual([]);
  });

  test.each([...LONG.keys()])("still needs the exception for %s", (file) => {
    expect(read(file).split("\n").length).toBeGreaterThan(LINES_MAX);
  });
});

/** The tests that SECURITY.md's table of statements names and that do not exist. A row is `| S7 | statement | \`file\`: name |`. */
function missingTests(page: string, tests: ReadonlyMap<string, string>): string[] {
  const rows = page.split("\n").filter((line) => /^\|\s*S\d+\s*\|/.test(line));
  return rows.flatMap((row) => {
    const statement = /^\|\s*(S\d+)/.exec(row)![1]!;
    const named = [...row.matchAll(/`(test\/[^`]+?\.test\.ts)`/g)].map((found) => found[1]!);
    const holding = new RegExp(`["'\`]${statement}\\b`);
    return named
      .filter((file) => !holding.test(tests.get(file) ?? ""))
      .map(
        (file) =>
          `${statement}: ${file} ${tests.has(file) ? `has no test whose name begins with "${statement}"` : "does not exist"}`,
      );
  });
}

describe("SECURITY.md", () => {
  const tests = new Map(globSync("test/**/*.test.ts").map((file) => [file, read(file)]));

  // The page comes with the first release; as soon as it is there it is held to its word.
  test("names only tests that exist, each by the number of its statement", () => {
    const page = existsSync("SECURITY.md") ? read("SECURITY.md") : "";
    expect(missingTests(page, tests)).toEqual([]);
  });

  test("would be found to name a test that does not exist, or one about something else", () => {
    const page =
      "| S1 | loopback | `test/hostile/gone.test.ts` |\n| S2 | strict | `test/a.test.ts` |\n| S3 | x | `test/a.test.ts` |";
    expect(missingTests(page, new Map([["test/a.test.ts", 'test("S3: refuses x", …']]))).toEqual([
      "S1: test/hostile/gone.test.ts does not exist",
      'S2: test/a.test.ts has no test whose name begins with "S2"',
    ]);
  });
});
