/** Reading the policy's file on the cold path, and finding it. */
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { compiledText, compileOrThrow, openPolicy } from "../../src/config/compile.ts";
import { findPolicy } from "../../src/config/find.ts";
import { ConfigError, loadPolicy, POLICY_BYTES_MAX } from "../../src/config/load.ts";
import { unprivileged } from "../kit/unprivileged.ts";

const folder = mkdtempSync(join(tmpdir(), "outrider-load-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
function fileOf(content: string | Uint8Array): string {
  files += 1;
  const path = join(folder, `policy-${files}`);
  writeFileSync(path, content);
  return path;
}

/** The message of the refusal. */
function refusal(path: string): string {
  try {
    loadPolicy(path, "policy");
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).message;
  }
  throw new Error("the file was read");
}

const { config } = compileOrThrow(
  "version: 1\ndestinations: [{ name: __proto__, hosts: [constructor] }]",
  "p",
);

describe("a file", () => {
  test("that was compiled is the configuration", () => {
    expect(loadPolicy(fileOf(compiledText(config)))).toEqual({ kind: "compiled", config });
  });

  test.each(["version: 1\n", '{ "version": 1 }', "{ version: 1 }", "{ broken", "", "[1]"])(
    "that was not compiled (%j) is handed on as text",
    (text) => {
      expect(loadPolicy(fileOf(text))).toEqual({ kind: "source", text });
    },
  );

  test("that begins with a byte order mark is read without it", () => {
    expect(loadPolicy(fileOf("\uFEFFversion: 1\n"))).toEqual({ kind: "source", text: "version: 1\n" });
  });

  test("of the largest size is read, one byte more is refused", () => {
    expect(loadPolicy(fileOf("#".repeat(POLICY_BYTES_MAX))).kind).toBe("source");
    expect(refusal(fileOf("#".repeat(POLICY_BYTES_MAX + 1)))).toBe(
      "policy: larger than 1 MiB (1048576 bytes); split the policy by function",
    );
  });

  test("without an end is refused after its first megabyte", () => {
    expect(refusal("/dev/zero")).toContain("larger than 1 MiB");
  });

  test("compiled for another format is refused with the remedy", () => {
    const text = JSON.stringify({ ...config, format: 0 });
    expect(refusal(fileOf(text))).toBe(
      "policy: was compiled by another version of Outrider (format 0, this one reads 3); compile the policy again",
    );
  });

  test.each(["destinations", "listen", "limits", "acl", "telemetry", "version"])(
    "compiled and then robbed of %s is refused",
    (section) => {
      const text = JSON.stringify({ ...config, [section]: undefined });
      expect(refusal(fileOf(text))).toBe("policy: is no whole compiled policy; compile the policy again");
    },
  );

  test("that does not exist is refused", () => {
    expect(refusal(join(folder, "absent"))).toBe(
      "policy: there is no such file; name the policy with --config FILE or OUTRIDER_CONFIG",
    );
  });

  test("that is a directory is refused", () => {
    const path = join(folder, "directory");
    mkdirSync(path);
    expect(refusal(path)).toBe("policy: is a directory; name the policy file in it");
  });

  test("under a file is refused", () => {
    expect(refusal(join(fileOf(""), "x"))).toContain("there is no such file");
  });

  test("that is no UTF-8 is refused", () => {
    expect(refusal(fileOf(Uint8Array.of(0x76, 0xff, 0xfe)))).toContain("is no UTF-8 text");
  });

  test("that may not be read is refused", async () => {
    const path = fileOf("version: 1");
    chmodSync(folder, 0o755);
    chmodSync(path, 0o000);
    expect(await unprivileged(() => refusal(path))).toContain("may not be read by this user");
  });
});

describe("openPolicy", () => {
  test("compiles a source and keeps what it was made from", () => {
    const opened = openPolicy(fileOf("version: 1\nacl: { default: deny }\n"), "p.yaml");
    expect(opened.config.acl.default).toBe("deny");
    expect({ ...opened.file }).toMatchObject({ version: 1 });
    expect(opened.warnings[0]).toMatch(/^p\.yaml:2:17: acl\.default: warning: /);
  });

  test("takes a compiled policy as it is", () => {
    expect(openPolicy(fileOf(compiledText(config)))).toEqual({ config, file: null, warnings: [] });
  });

  test("refuses a source with all its problems", () => {
    expect(() => openPolicy(fileOf("version: 1\nx: 1\ny: 1"), "p.yaml")).toThrow(
      /^p\.yaml:2:1.*\np\.yaml:3:1.*$/,
    );
  });
});

describe("the policy is looked for", () => {
  const places = { env: {}, candidates: ["a.yaml", "b.yaml"], exists: (path: string) => path === "b.yaml" };

  test.each([
    [
      "where the command line says",
      { ...places, explicit: "x", env: { OUTRIDER_CONFIG: "y" } },
      { path: "x", from: "argument" },
    ],
    [
      "where the environment says",
      { ...places, env: { OUTRIDER_CONFIG: "y" } },
      { path: "y", from: "environment" },
    ],
    ["at the first candidate that exists", places, { path: "b.yaml", from: "candidate" }],
    [
      "at the candidates when the variable is empty",
      { ...places, env: { OUTRIDER_CONFIG: "" } },
      { path: "b.yaml", from: "candidate" },
    ],
    ["in vain when none exists", { ...places, exists: () => false }, null],
  ])("%s", (_, where, found) => {
    expect(findPolicy(where)).toEqual(found);
  });
});

test("the cold path loads neither the YAML nor the schema library", () => {
  // Prints every module that importing load.ts and find.ts resolves; the hook also sees the positive control.
  const script = `
    import { registerHooks } from "node:module";
    const seen = [];
    registerHooks({ resolve: (specifier, context, next) => { seen.push(specifier); return next(specifier, context); } });
    await import(process.argv[1]);
    console.log(JSON.stringify(seen));
  `;
  const modulesOf = (file: string): string[] => {
    const path = new URL(`../../src/config/${file}`, import.meta.url).href;
    return JSON.parse(
      execFileSync(process.execPath, ["--input-type=module", "-e", script, path], { encoding: "utf8" }),
    );
  };
  expect(modulesOf("compile.ts")).toEqual(expect.arrayContaining(["zod", "yaml"]));
  for (const file of ["load.ts", "find.ts"]) {
    expect(modulesOf(file).filter((specifier) => !/^(node:|\.|file:)/.test(specifier))).toEqual([]);
  }
});
