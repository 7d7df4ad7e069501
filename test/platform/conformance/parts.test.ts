/** The small parts that the emulator is made of: time, lines, trace headers, words. */
import { describe, expect, test } from "vitest";
import { goJson } from "../../../adapters/local/answers.ts";
import { Budget, Budgets } from "../../../adapters/local/budget.ts";
import { coldStartLine } from "../../../adapters/local/cold-start.ts";
import { acceptInvocation, traceHeader } from "../../../adapters/local/invocation.ts";
import { LineSplitter, LOG_TAIL_BYTES_MAX, LogTail } from "../../../adapters/local/logs.ts";
import { describeExit } from "../../../adapters/local/processes.ts";
import { SerialQueue } from "../../../adapters/local/queue.ts";
import { Timeline, type TimelineKind } from "../../../adapters/local/timeline.ts";
import { VirtualClock } from "../../../src/clock.ts";

describe("a budget", () => {
  const watch = (budget: Budget) => {
    const seen = { expired: false };
    void budget.expired.then(() => {
      seen.expired = true;
    });
    return seen;
  };

  test("expires when its time has run", async () => {
    const clock = new VirtualClock();
    const budget = new Budget(clock, 100);
    const seen = watch(budget);
    await clock.advance(99);
    expect([seen.expired, budget.leftMs()]).toEqual([false, 1]);
    await clock.advance(1);
    expect([seen.expired, budget.leftMs()]).toEqual([true, 0]);
  });

  test("does not run while it is paused, however long and however often", async () => {
    const clock = new VirtualClock();
    const budget = new Budget(clock, 100);
    const seen = watch(budget);
    for (let round = 0; round < 3; round++) {
      await clock.advance(30);
      budget.pause();
      budget.pause();
      await clock.advance(1_000_000);
      budget.resume();
      budget.resume();
    }
    expect([seen.expired, budget.leftMs()]).toEqual([false, 10]);
    await clock.advance(10);
    expect(seen.expired).toBe(true);
  });

  test("never expires once it is cancelled", async () => {
    const clock = new VirtualClock();
    const budget = new Budget(clock, 100);
    const seen = watch(budget);
    budget.cancel();
    budget.resume();
    await clock.advance(1_000);
    expect(seen.expired).toBe(false);
  });

  test("that begins during a freeze stands still until the thaw", async () => {
    const clock = new VirtualClock();
    const budgets = new Budgets(clock);
    budgets.pause();
    const seen = watch(budgets.begin(100));
    await clock.advance(1_000);
    expect(seen.expired).toBe(false);
    budgets.resume();
    await clock.advance(100);
    expect(seen.expired).toBe(true);
  });
});

describe("lines", () => {
  const split = (...chunks: (string | Buffer)[]) => {
    const lines: string[] = [];
    const splitter = new LineSplitter((line) => lines.push(line));
    for (const chunk of chunks) splitter.write(Buffer.from(chunk));
    splitter.end();
    return lines;
  };

  test.each([
    [["a\nb\n"], ["a", "b"]],
    [
      ["a", "b\nc"],
      ["ab", "c"],
    ],
    [["a\r\nb\r\n"], ["a", "b"]],
    [["two\rparts\n"], ["two\rparts"]],
    [["\n\n"], ["", ""]],
    [[], []],
  ])("of %j are %j", (chunks, lines) => {
    expect(split(...chunks)).toEqual(lines);
  });

  test("do not break a character that two chunks share", () => {
    const bytes = Buffer.from("é\n");
    expect(split(bytes.subarray(0, 1), bytes.subarray(1))).toEqual(["é"]);
  });

  test("are cut when they never end", () => {
    const lines = split("x".repeat(600_000), "\n");
    expect(lines.map(({ length }) => length)).toEqual([262_144, 262_144, 75_712]);
  });

  test("leave a tail of at most 4 KB that begins with a whole character", () => {
    const tail = new LogTail();
    for (let i = 0; i < 1_000; i++) tail.add(`${i} éééé`);
    const text = tail.toString();
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(LOG_TAIL_BYTES_MAX);
    expect(Buffer.byteLength(text)).toBeGreaterThan(LOG_TAIL_BYTES_MAX - 4);
    expect(text).not.toContain("\uFFFD");
    expect(text.endsWith("999 éééé\n")).toBe(true);
  });
});

describe("a trace header", () => {
  const EPOCH_MS = 0x5f35ae12 * 1000;
  const TRACE = { sampled: true, epochMs: EPOCH_MS };
  const ROOT = "Root=1-5f35ae12-0c0fec141ab77a00bc047aa2";

  test.each([
    [undefined, true, /^Root=1-5f35ae12-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=1;Lineage=1:[0-9a-f]{8}:0$/],
    [undefined, false, /;Sampled=0;/],
    ["", true, /^Root=1-5f35ae12-/],
    ["nonsense", true, /^Root=1-5f35ae12-/],
    [ROOT, true, /^Root=1-5f35ae12-0c0fec141ab77a00bc047aa2;Parent=[0-9a-f]{16};Sampled=1$/],
    [`${ROOT};Parent=2be948a625588e32;Sampled=0`, true, /;Parent=2be948a625588e32;Sampled=0$/],
    [
      `Self=x;${ROOT};Sampled=?;Lineage=25:a87bd80c:1|68fd508a:5`,
      true,
      /^Self=x;.*Lineage=25:a87bd80c:1\|68fd508a:5$/,
    ],
    [`root=1-a-b;parent=c;sampled=1`, true, /^root=1-a-b;parent=c;sampled=1$/],
  ])("from %s", (given, sampled, expected) => {
    expect(traceHeader(given, sampled, EPOCH_MS)).toMatch(expected);
  });

  test("fits in a header, whatever it was made from", () => {
    const { traceId } = acceptInvocation("arn", Buffer.alloc(0), { traceId: "Root=1-a\r\nb: c" }, TRACE);
    expect(traceId).toMatch(/^Root=1-ab: c;Parent=/);
  });

  test("differs every time it begins", () => {
    expect(traceHeader(undefined, true, EPOCH_MS)).not.toBe(traceHeader(undefined, true, EPOCH_MS));
  });
});

test.each([
  [{ code: 0, signal: null }, "exit status 0"],
  [{ code: 127, signal: null }, "exit status 127"],
  [{ code: null, signal: "SIGKILL" as const }, "signal: killed"],
  [{ code: null, signal: "SIGTERM" as const }, "signal: terminated"],
  [{ code: null, signal: "SIGSEGV" as const }, "signal: segmentation fault"],
])("%o is said as %s", (exit, words) => {
  expect(describeExit(exit)).toBe(words);
});

test("JSON is spelled as Go spells it", () => {
  expect(goJson({ a: "<b>&\u2028\u2029é" })).toBe('{"a":"\\u003cb\\u003e\\u0026\\u2028\\u2029é"}');
});

test("a queue runs one task after another, whatever became of the last", async () => {
  const queue = new SerialQueue();
  const order: string[] = [];
  const gate = Promise.withResolvers<void>();
  const first = queue.push(async () => {
    await gate.promise;
    order.push("first");
    throw new Error("broken");
  });
  const second = queue.push(async () => void order.push("second"));
  expect(queue.pending).toBe(2);
  gate.resolve();
  await expect(first).rejects.toThrow("broken");
  await second;
  expect(order).toEqual(["first", "second"]);
  expect(queue.pending).toBe(0);
});

describe("the timeline", () => {
  test("tells listeners until they stop", () => {
    const timeline = new Timeline(new VirtualClock());
    const seen: TimelineKind[] = [];
    const stop = timeline.onEvent(({ kind }) => seen.push(kind));
    timeline.add("freeze");
    stop();
    timeline.add("thaw");
    expect(seen).toEqual(["freeze"]);
    expect(timeline.events.map(({ kind }) => kind)).toEqual(["freeze", "thaw"]);
  });

  test("reads as one line for the last cold start", async () => {
    const clock = new VirtualClock();
    const timeline = new Timeline(clock);
    expect(coldStartLine(timeline.events)).toBe("");
    const steps: [number, TimelineKind, (string | undefined)?, string?][] = [
      [0, "init-start"],
      [0, "init-done", undefined, "error"],
      [5, "init-start"],
      [1, "spawn", "outrider"],
      [30, "register", "outrider"],
      [0, "runtime-start", "runtime"],
      [4, "first-next", "outrider"],
      [90, "first-next", "runtime"],
      [1, "init-done", undefined, "success"],
      [7, "freeze"],
    ];
    for (const [afterMs, kind, process, detail] of steps) {
      await clock.advance(afterMs);
      timeline.add(kind, { ...(process ? { process } : {}), ...(detail ? { detail } : {}) });
    }
    expect(coldStartLine(timeline.events)).toBe(
      "cold start 126 ms: outrider spawned 1, registered 31, ready 35; runtime spawned 31, ready 125",
    );
    expect(coldStartLine(timeline.events.slice(0, 2))).toBe("cold start 0 ms (error): ");
  });
});
