/** `outrider emulate`: what it takes, prints and returns. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Failure, type Terminal, UsageError } from "../../../src/cli/command.ts";
import { command } from "../../../src/cli/emulate.ts";
import { eventually } from "./kit/emulate.ts";

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "outrider-emulate-"));
  await mkdir(join(folder, "task"));
  const code = `export const handler = async (event) => {
    if (event.fail) throw new Error("failed");
    return { event, a: process.env.ENV_A, b: process.env.ENV_B };
  };`;
  await writeFile(join(folder, "task", "index.mjs"), code);
  await writeFile(join(folder, "event.json"), '{"from":"file"}');
  await writeFile(join(folder, "function.env"), "ENV_A=file\nENV_B=file\n");
});

afterAll(() => rm(folder, { recursive: true, force: true }));

/** Runs the command in the folder; `interrupt` ends it. */
function run(...argv: string[]) {
  const printed = { out: "", err: "" };
  const { promise: interrupted, resolve: interrupt } = Promise.withResolvers<string>();
  const terminal: Terminal = {
    env: {},
    cwd: folder,
    out: (text) => void (printed.out += text),
    err: (text) => void (printed.err += text),
    colour: false,
    interrupted,
  };
  return { exit: command.run(argv, terminal), printed, interrupt };
}

const FUNCTION = ["--task-root", "task", "--handler", "index.handler"];

test("invokes with an event as often as told, and prints answers apart from logs", async () => {
  const { exit, printed } = run(
    ...FUNCTION,
    "--event",
    "event.json",
    "--count",
    "2",
    "--env-file",
    "function.env",
    "--env",
    "ENV_B=flag=1",
  );
  expect(await exit).toBe(0);
  const answer = '{"event":{"from":"file"},"a":"file","b":"flag=1"}\n';
  expect(printed.out).toBe(answer + answer);
  expect(printed.err).toMatch(/^cold start \d+ ms: runtime spawned \d+, ready \d+$/m);
  expect(printed.err.match(/^\[platform\] REPORT RequestId: .*$/gm)).toHaveLength(2);
  expect(printed.out + printed.err).not.toMatch(/\x1b\[/);
});

test("returns 1 when an invocation failed", async () => {
  const { exit, printed } = run(...FUNCTION, "--event", '{"fail":true}');
  expect(await exit).toBe(1);
  expect(JSON.parse(printed.out)).toMatchObject({ errorType: "Error", errorMessage: "failed" });
});

test("serves until it is interrupted", async () => {
  const { exit, printed, interrupt } = run(
    ...FUNCTION,
    "--port",
    "0",
    "--timeout",
    "5s",
    "--memory",
    "256",
    "--no-freeze",
  );
  const url = await eventually(() => /^invoke with: curl -d '\{\}' (\S+)$/m.exec(printed.err)?.[1]);
  expect(await (await fetch(url, { method: "POST", body: '{"n":1}' })).json()).toEqual({ event: { n: 1 } });
  interrupt("SIGINT");
  expect(await exit).toBe(0);
  await expect(fetch(url)).rejects.toThrow();
});

describe("wrong use", () => {
  test.each([
    [["--bogus"], UsageError, /--bogus/],
    [["--count", "2"], UsageError, /--count needs --event/],
    [["--count", "x", "--event", "{}"], UsageError, /--count: "x" is no whole number/],
    [["--timeout", "3"], UsageError, /--timeout: "3" is no time; write it as 3s or 500ms/],
    [["--env", "NOPAIR"], UsageError, /--env: "NOPAIR" is no pair; write NAME=VALUE/],
    [["--event", "nope.json"], Failure, /--event: "nope.json" \(there is no such file\) is not JSON/],
    [["--env-file", "nope.env"], Failure, /--env-file: .*nope\.env cannot be read/],
    [
      ["--task-root", "nowhere"],
      Failure,
      /^--task-root: .*nowhere is not a folder.*; --handler: the node runtime needs one/,
    ],
    [[...FUNCTION, "--runtime", "ruby"], Failure, /--runtime: "ruby" is unknown/],
    [[...FUNCTION, "--env", "AWS_REGION=x"], Failure, /--env: AWS_REGION is set by Lambda itself/],
  ])("%j", async (argv, kind, message) => {
    const error = await run(...argv).exit.catch((reason: Error) => reason);
    expect(error).toBeInstanceOf(kind);
    expect((error as Error).message).toMatch(message);
    expect((error as Error).message).not.toContain("\n");
  });
});

test("its help names every option", () => {
  expect(command.help.endsWith("\n")).toBe(true);
  for (const flag of [
    "task-root",
    "handler",
    "runtime",
    "opt",
    "env",
    "env-file",
    "name",
    "timeout",
    "memory",
    "tmp",
    "no-freeze",
    "event",
    "count",
    "port",
  ])
    expect(command.help).toContain(`--${flag}`);
});
