/** From an event to bytes in a file or a pipe. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock, VirtualClock } from "../../src/clock.ts";
import { EgressError } from "../../src/errors.ts";
import { openDestination } from "../../src/telemetry/destination.ts";
import { factsOf } from "../../src/telemetry/facts.ts";
import {
  asciiBytes,
  FAILED_WAIT_MS,
  FULL_PIPE_WAIT_MS,
  LineWriter,
  UNWRITTEN_BYTES_MAX,
} from "../../src/telemetry/line-writer.ts";
import { openLog } from "../../src/telemetry/log.ts";
import { recordOf } from "../../src/telemetry/record.ts";
import { unprivileged } from "../kit/unprivileged.ts";
import { aRequest } from "./calls.ts";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "outrider-log-"));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

let files = 0;
function freshPath(): string {
  files += 1;
  return join(folder, `log-${files}`);
}

/** Resolves when what was given to `log` is in the kernel. */
function written(log: { readonly idle: boolean; onProgress: (() => void) | null }): Promise<void> {
  if (log.idle) return Promise.resolve();
  return new Promise((resolve) => {
    log.onProgress = () => void (log.idle && resolve());
  });
}

describe("a file", () => {
  test("gets one line of JSON for each event, the level as a word, undefined fields left out", async () => {
    const path = freshPath();
    const log = await openLog(`file:${path}`, systemClock);
    log.write("info", { event: "call", a: 1, b: undefined });
    log.write("warn", { event: "call", a: 2 });
    log.send();
    await written(log);
    await log.close();
    expect(readFileSync(path, "utf8")).toBe(
      '{"level":"info","event":"call","a":1}\n{"level":"warn","event":"call","a":2}\n',
    );
  });

  test("is only its owner's and is appended to", async () => {
    const path = freshPath();
    for (const n of [1, 2]) {
      const log = await openLog(`file:${path}`, systemClock);
      log.write("info", { n });
      log.send();
      await written(log);
      await log.close();
    }
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readFileSync(path, "utf8").split("\n")).toHaveLength(3);
  });

  test("that is a symbolic link is refused with a remedy", async () => {
    const path = freshPath();
    symlinkSync("/dev/null", path);
    await expect(openDestination(`file:${path}`)).rejects.toThrow(/symbolic link; name the file itself/);
  });

  test.each([
    ["a missing folder", "/log", /cannot be opened \(ENOENT\): make its folder/],
    ["a folder", "", /cannot be opened \(EISDIR\): it is a folder/],
  ])("in %s is refused with a remedy", async (_what, suffix, message) => {
    const path = suffix === "" ? folder : `${folder}/missing${suffix}`;
    await expect(openDestination(`file:${path}`)).rejects.toThrow(message);
  });

  test("on a full disk loses its lines, counted, and is tried again after a while", async () => {
    const clock = new VirtualClock();
    const log = await openLog("file:/dev/full", clock);
    const write = async () => {
      log.write("info", { event: "call" });
      log.send();
      await written(log);
    };
    await write();
    expect(log.lostLines).toBe(1);
    await write();
    expect(log.lostLines).toBe(2);
    await clock.advance(FAILED_WAIT_MS);
    log.write("info", { event: "call" });
    log.send();
    expect(log.idle).toBe(false);
    await written(log);
    expect(log.lostLines).toBe(3);
    await log.close();
  });
});

test("a destination of another kind is refused with the kinds there are", async () => {
  await expect(openDestination("syslog")).rejects.toThrow('is "syslog": write stdout, stderr or file:/path');
});

describe("a pipe", () => {
  let path = "";
  let reader = -1;

  /** A pipe that this test reads: opened for both ways, so that no open waits for the other end. */
  function makePipe(): void {
    path = freshPath();
    execFileSync("mkfifo", [path]);
    reader = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  }

  function drain(): string {
    const bytes = Buffer.alloc(1 << 20);
    let length = 0;
    for (;;) {
      try {
        length += readSync(reader, bytes, length, bytes.length - length, null);
      } catch (error) {
        expect((error as NodeJS.ErrnoException).code).toBe("EAGAIN");
        return bytes.latin1Slice(0, length);
      }
    }
  }

  test("has the lines in the kernel when send returns: a freeze right after loses nothing", async () => {
    makePipe();
    const log = await openLog(`file:${path}`, systemClock);
    log.write("info", { event: "summary" });
    log.send();
    expect(log.idle).toBe(true);
    expect(drain()).toBe('{"level":"info","event":"summary"}\n');
    await log.close();
    closeSync(reader);
  });

  test("that is full neither blocks nor loses a byte, and stops taking lines at its bound", async () => {
    makePipe();
    const clock = new VirtualClock();
    const log = await openLog(`file:${path}`, clock);
    const filler = "x".repeat(900);
    let given = 0;
    while (!log.full) {
      log.write("info", { n: given, filler });
      log.send();
      given += 1;
    }
    expect(given * 900).toBeGreaterThan(UNWRITTEN_BYTES_MAX);
    expect(given * 900).toBeLessThan(3 * UNWRITTEN_BYTES_MAX);
    expect(log.idle).toBe(false);
    let text = "";
    while (!log.idle) {
      text += drain();
      await clock.advance(FULL_PIPE_WAIT_MS);
    }
    text += drain();
    const lines = text.trimEnd().split("\n");
    expect(lines.map((line) => (JSON.parse(line) as { n: number }).n)).toEqual(
      Array.from({ length: given }, (_, n) => n),
    );
    expect(log.lostLines).toBe(0);
    await log.close();
    closeSync(reader);
  });

  test("that nobody reads is refused with a remedy", async () => {
    makePipe();
    closeSync(reader);
    await expect(openDestination(`file:${path}`)).rejects.toThrow(/a pipe that nobody reads/);
  });

  test("whose reader is gone costs lines, not the process", async () => {
    makePipe();
    const log = await openLog(`file:${path}`, systemClock);
    closeSync(reader);
    log.write("info", { event: "call" });
    log.send();
    expect(log.idle).toBe(true);
    expect(log.lostLines).toBe(1);
    await log.close();
  });
});

test("after a write that broke off in the middle of a line the next one starts on its own line", async () => {
  const path = freshPath();
  execFileSync("mkfifo", [path]);
  const reader = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  const clock = new VirtualClock();
  const writer = new LineWriter(await openDestination(`file:${path}`), clock);
  writer.add(`${"x".repeat(100_000)}\n`);
  writer.send();
  const first = Buffer.alloc(200_000);
  const broken = readSync(reader, first);
  closeSync(reader);
  await clock.advance(FULL_PIPE_WAIT_MS);
  expect(writer.lostLines).toBe(1);
  const again = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  await clock.advance(FAILED_WAIT_MS);
  writer.add("next\n");
  writer.send();
  const second = Buffer.alloc(1000);
  expect(broken).toBeLessThan(100_000);
  expect(second.latin1Slice(0, readSync(again, second))).toBe("\nnext\n");
  closeSync(again);
});

const injections: readonly [what: string, text: string][] = [
  ["CR LF and a line of its own", 'x\r\n{"level":"info","event":"call","status":200}'],
  ["a line feed", "a\nb"],
  ["an ANSI escape", "\x1b[31mred\x1b[0m"],
  ["an eight-bit CSI", "\x9b31m"],
  ["NUL and DEL", "\x00\x7f"],
  ["U+2028 and U+2029", "a\u2028b\u2029c"],
  ["a bidirectional override", "a\u202eb"],
  ["a quote and a backslash", '","status":200,"x":"\\'],
  ["a lone surrogate", "a\ud800b"],
  ["what is not ASCII at all", "überweisung 😀"],
];

describe("text that an attacker chose", () => {
  test.each(injections)("stays inside its field: %s", async (_what, text) => {
    const path = freshPath();
    const log = await openLog(`file:${path}`, systemClock);
    const request = aRequest({ id: text, method: text, host: text, path: `/${text}` });
    const error = new EgressError("UPSTREAM_INVALID", text);
    const record = recordOf(request, factsOf(request, null, error, 1), {
      invocationId: text,
      destination: text,
      route: text,
      policyVersion: "v",
      wallMs: 0,
    });
    log.write("warn", record);
    log.send();
    await written(log);
    await log.close();
    const bytes = readFileSync(path, "latin1");
    expect(bytes).toMatch(/^[\x20-\x7e]+\n$/);
    const parsed = JSON.parse(bytes) as Record<string, unknown>;
    expect(parsed).toMatchObject({
      level: "warn",
      event: "call",
      status: 502,
      destination: text,
      error_detail: text,
    });
  });

  test("takes at most 1 KiB of the line for each field", async () => {
    const path = freshPath();
    const log = await openLog(`file:${path}`, systemClock);
    const text = "\x1b".repeat(10_000);
    const request = aRequest({ method: text, host: text, path: text });
    log.write(
      "warn",
      recordOf(request, factsOf(request, null, new EgressError("INTERNAL", text), 1), {
        invocationId: text,
        destination: text,
        route: text,
        policyVersion: "v",
        wallMs: 0,
      }),
    );
    log.send();
    await written(log);
    await log.close();
    const line = readFileSync(path, "latin1");
    for (const [, value] of line.matchAll(/:"((?:[^"\\]|\\.)*)"/g))
      expect(value!.length).toBeLessThanOrEqual(1024);
    expect(line.length).toBeLessThan(10_000);
  });
});

test("escaping changes nothing that JSON reads", () => {
  const value = { a: "plain", b: "\u2028\x7f\x9b😀\ud800" };
  const bytes = asciiBytes(`${JSON.stringify(value)}\n`);
  expect(bytes.every((byte) => (byte >= 0x20 && byte <= 0x7e) || byte === 10)).toBe(true);
  expect(JSON.parse(bytes.toString("latin1"))).toEqual(value);
});

test("a file that may not be written is refused", async () => {
  const path = freshPath();
  closeSync(openSync(path, "w"));
  chmodSync(dirname(path), 0o755);
  chmodSync(path, 0o400);
  // The system judges when the call is made on a pool thread, which has the identity of the process at that time.
  await unprivileged(() => expect(openDestination(`file:${path}`)).rejects.toThrow(/EACCES/));
});
