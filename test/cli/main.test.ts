/** The `outrider` program: its commands, its help, its exit codes. */
import { type SpawnSyncReturns, spawn as spawnProcess, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { command as check } from "../../src/cli/check.ts";
import { type Command, Failure, UsageError } from "../../src/cli/command.ts";
import { outrider } from "./terminal.ts";

const COMMANDS = ["run", "emulate", "check", "compile", "explain", "schema", "capture"];

const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));

describe("help", () => {
  test.each([["--help"], ["-h"], ["help"]])("%s lists every command with one line", async (argument) => {
    const { code, out, err } = await outrider([argument]);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    for (const name of COMMANDS) expect(out).toMatch(new RegExp(`^  ${name} +\\S.*$`, "m"));
  });

  test("no command at all is wrong use, answered with the list", async () => {
    const { code, out, err } = await outrider([]);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toContain("Usage: outrider COMMAND");
  });

  test.each(COMMANDS)("%s has a help of its own, by either way of asking", async (name) => {
    const asked = await outrider(["help", name]);
    expect(asked).toMatchObject({ code: 0, err: "" });
    expect(asked.out).toContain(`outrider ${name}`);
    expect(await outrider([name, "--help"])).toEqual(asked);
    expect(await outrider([name, "-h"])).toEqual(asked);
  });

  test("a --help behind -- is not ours", async () => {
    expect((await outrider(["check", "--", "--help"])).err).toContain("--help: there is no such file");
  });
});

describe("the version", () => {
  test.each([["--version"], ["-v"], ["version"]])("is printed by %s", async (argument) => {
    expect(await outrider([argument])).toEqual({ code: 0, out: `outrider ${version}\n`, err: "" });
  });
});

describe("wrong use ends with code 2 and one line", () => {
  test.each([
    [["chek"], 'outrider: there is no command "chek"; did you mean "check"?; see outrider --help\n'],
    [["frobnicate"], 'outrider: there is no command "frobnicate"; see outrider --help\n'],
    [["constructor"], 'outrider: there is no command "constructor"; see outrider --help\n'],
    [["__proto__"], 'outrider: there is no command "__proto__"; see outrider --help\n'],
    [["--frob"], 'outrider: there is no command "--frob"; see outrider --help\n'],
    [["help", "chek"], 'outrider: there is no command "chek"; did you mean "check"?; see outrider --help\n'],
    [["check", "--frob"], /^outrider: Unknown option '--frob'.*; see outrider help check\n$/],
    [["check", "a", "b"], "outrider: check takes one file; see outrider help check\n"],
    [
      ["check"],
      /^outrider: no policy is named, and there is none of outrider\.yaml, .*; see outrider help check\n$/,
    ],
    [["compile"], "outrider: compile takes one file; see outrider help compile\n"],
    [["explain"], "outrider: explain takes one URL; see outrider help explain\n"],
  ] as const)("%j", async (argv, message) => {
    const { code, out, err } = await outrider(argv);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    if (typeof message === "string") expect(err).toBe(message);
    else expect(err).toMatch(message);
    expect(err.split("\n")).toHaveLength(2);
  });
});

describe("what a command throws", () => {
  /** Runs `check` with another body. */
  async function throwing(error: unknown, env: Record<string, string> = {}) {
    const { run } = check;
    const patched = check as { run: Command["run"] };
    patched.run = () => Promise.reject(error);
    try {
      return await outrider(["check"], { env });
    } finally {
      patched.run = run;
    }
  }

  test("a failure is one line and code 1", async () => {
    expect(await throwing(new Failure("port 80: in use; choose another"))).toEqual({
      code: 1,
      out: "",
      err: "outrider: port 80: in use; choose another\n",
    });
  });

  test("a wrong use is one line and code 2", async () => {
    expect(await throwing(new UsageError("no"))).toEqual({
      code: 2,
      out: "",
      err: "outrider: no; see outrider help check\n",
    });
  });

  test("anything else is a defect: one line and code 70, with the stack only when asked for", async () => {
    const error = new TypeError("x is not a function");
    expect(await throwing(error)).toEqual({
      code: 70,
      out: "",
      err: "outrider: defect: x is not a function (OUTRIDER_DEBUG=1 shows where)\n",
    });
    expect((await throwing(error, { OUTRIDER_DEBUG: "1" })).err).toContain("\n    at ");
  });

  test("even what is no error", async () => {
    expect(await throwing("text")).toMatchObject({ code: 70, err: expect.stringContaining("defect: text") });
  });
});

describe("the process", () => {
  const folder = mkdtempSync(join(tmpdir(), "outrider-main-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const program = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
  const spawn = (...argv: string[]): SpawnSyncReturns<string> =>
    spawnSync(process.execPath, [program, ...argv], {
      cwd: folder,
      encoding: "utf8",
      env: { PATH: process.env.PATH },
    });

  test("exits with the command's code and writes to both streams", () => {
    writeFileSync(join(folder, "outrider.yaml"), "version: 1\ntelemetry: { sample: 1 }\n");
    const { status, stdout, stderr } = spawn("check");
    expect({ status, stderr }).toMatchObject({
      status: 0,
      stderr: expect.stringContaining("outrider.yaml:2:22: telemetry.sample: warning:"),
    });
    expect(stdout).toContain("outrider.yaml: valid");
    expect(stdout).not.toContain("\u001b");
  });

  test("exits with 1 for a policy that cannot be used", () => {
    writeFileSync(join(folder, "bad.yaml"), "version: 1\nx: 1\n");
    expect(spawn("check", "bad.yaml")).toMatchObject({
      status: 1,
      stdout: "",
      stderr: expect.stringMatching(/^bad\.yaml:2:1: x: unknown key.*\n$/),
    });
  });

  test("exits with 2 for wrong use", () => {
    expect(spawn("nothing").status).toBe(2);
  });

  test("ends quietly when nobody reads what it writes", async () => {
    const child = spawnProcess(process.execPath, [program, "schema"], { stdio: ["ignore", "pipe", "pipe"] });
    child.stdout.destroy();
    let stderr = "";
    child.stderr.on("data", (chunk) => void (stderr += chunk));
    const [status] = await once(child, "close");
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  });
});
