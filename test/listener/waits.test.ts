import { describe, expect, test } from "vitest";
import { type Phase, waitMsMax, waitOf } from "../../src/listener/waits.ts";
import { Patience } from "../../src/patience.ts";
import { testConfig } from "../kit/proxy.ts";

const calm = { writableLength: 0, writableNeedDrain: false, isPaused: () => false };
const full = { ...calm, writableLength: 100_000, writableNeedDrain: true };
const paused = { ...calm, isPaused: () => true };

describe("what a connection waits for:", () => {
  test.each<[Phase, typeof calm, boolean, boolean, string]>([
    ["head", calm, false, false, "request"],
    ["head", calm, true, false, "head"],
    // The answers before it have not been taken: that comes first.
    ["head", full, true, false, "taking"],
    ["exchange", calm, false, false, "nothing"],
    ["exchange", calm, false, true, "body"],
    ["exchange", paused, false, true, "nothing"],
    ["exchange", full, false, true, "taking"],
    ["closing", calm, false, false, "leaving"],
    ["closing", { ...calm, writableLength: 1 }, false, false, "taking"],
    ["opening", calm, false, false, "nothing"],
    ["tunnel", full, false, false, "nothing"],
  ])("%s %o %s %s: %s", (phase, traffic, headBegun, owesBody, wait) => {
    expect(waitOf(phase, traffic, headBegun, owesBody)).toBe(wait);
  });
});

test("how long each may last", () => {
  const { limits } = testConfig();
  const waits = ["request", "head", "body", "taking", "leaving", "nothing"] as const;
  expect(waits.map((wait) => waitMsMax(wait, limits, 60_000))).toEqual([
    65_000,
    10_000,
    60_000,
    60_000,
    1000,
    Number.POSITIVE_INFINITY,
  ]);
  expect(waitMsMax("body", limits, 0)).toBe(Number.POSITIVE_INFINITY);
});

describe("patience", () => {
  test("ends when the same thing has been waited for without progress for the whole limit", () => {
    const patience = new Patience();
    const asked = [0, 500, 999, 1000, 1500].map((nowMs) => patience.exhausted("head", 1, nowMs, 1000));
    expect(asked).toEqual([false, false, false, true, true]);
  });

  test("begins anew with progress, and with another wait", () => {
    const patience = new Patience();
    patience.exhausted("body", 1, 0, 1000);
    expect(patience.exhausted("body", 2, 1000, 1000)).toBe(false);
    expect(patience.exhausted("body", 2, 1999, 1000)).toBe(false);
    expect(patience.exhausted("taking", 2, 2000, 1000)).toBe(false);
    expect(patience.exhausted("body", 2, 3000, 1000)).toBe(false);
    expect(patience.exhausted("body", 2, 4000, 1000)).toBe(true);
  });

  test("without a limit never ends", () => {
    const patience = new Patience();
    patience.exhausted("nothing", 0, 0, Number.POSITIVE_INFINITY);
    expect(patience.exhausted("nothing", 0, 1e15, Number.POSITIVE_INFINITY)).toBe(false);
  });
});
