/** Durations, sizes, rates and status sets, read and written. */
import { describe, expect, test } from "vitest";
import {
  formatDuration,
  formatInstant,
  formatRate,
  formatSize,
  formatStatuses,
  headerNamed,
  parseDuration,
  parseInstant,
  parseRate,
  parseSize,
  parseStatuses,
} from "../../src/config/units.ts";

describe("durations", () => {
  test.each([
    ["0ms", 0],
    ["1ms", 1],
    ["250ms", 250],
    ["8s", 8000],
    ["2m", 120_000],
    ["1h", 3_600_000],
    ["999999999h", 999_999_999 * 3_600_000],
  ])("%s is %i ms", (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  test.each([
    "",
    "8",
    "s",
    "8 s",
    "8S",
    "-8s",
    "+8s",
    "0.5s",
    "8sec",
    "1d",
    "1m30s",
    "8s\n",
    "1000000000ms",
    "NaNs",
    "0x8s",
  ])("%j is no duration", (text) => {
    expect(parseDuration(text)).toBeNull();
  });

  test.each([
    [0, "0ms"],
    [1, "1ms"],
    [1500, "1500ms"],
    [8000, "8s"],
    [90_000, "90s"],
    [3_600_000, "1h"],
  ])("%i ms is written %s", (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
    expect(parseDuration(text)).toBe(ms);
  });
});

describe("sizes", () => {
  test.each([
    ["0B", 0],
    ["512B", 512],
    ["16kB", 16_000],
    ["16KiB", 16_384],
    ["1MB", 1_000_000],
    ["1MiB", 1_048_576],
  ])("%s is %i bytes", (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
    expect(formatSize(bytes)).toBe(text);
  });

  test.each(["", "16", "16k", "16K", "16KB", "16kib", "16 KiB", "1GiB", "1.5MiB", "-1B"])(
    "%j is no size",
    (text) => {
      expect(parseSize(text)).toBeNull();
    },
  );
});

describe("rates", () => {
  test.each([
    ["100/s", 100],
    ["600/m", 10],
    ["90/m", 1.5],
    ["30/h", 30 / 3600],
  ])("%s is %f a second", (text, perSecond) => {
    expect(parseRate(text)).toBe(perSecond);
  });

  test.each(["", "100", "0/s", "00/s", "/s", "100/d", "100 / s", "1.5/s", "-1/s", "100/sec", "100/s "])(
    "%j is no rate",
    (text) => {
      expect(parseRate(text)).toBeNull();
    },
  );

  test.each([
    [100, "100/s"],
    [10, "10/s"],
    [1.5, "90/m"],
    [30 / 3600, "30/h"],
    [7 / 3600, "7/h"],
  ])("%f a second is written %s", (perSecond, text) => {
    expect(formatRate(perSecond)).toBe(text);
  });
});

describe("statuses", () => {
  test.each([
    [400, [400]],
    [599, [599]],
    ["502-504", [502, 503, 504]],
    ["503-503", [503]],
  ] as const)("%j means %j", (entry, statuses) => {
    expect(parseStatuses(entry)).toEqual(statuses);
  });

  test("a class means its hundred statuses", () => {
    expect(parseStatuses("5xx")).toEqual(Array.from({ length: 100 }, (_, i) => 500 + i));
  });

  test.each([
    399,
    600,
    502.5,
    Number.NaN,
    "503",
    "504-502",
    "399-404",
    "502-600",
    "3xx",
    "5XX",
    "5x",
    "",
    "502 - 504",
  ])("%j means none", (entry) => {
    expect(parseStatuses(entry)).toBeNull();
  });

  test.each([
    [[], ""],
    [[503], "503"],
    [[502, 503], "502, 503"],
    [[429, 502, 503, 504], "429, 502-504"],
  ])("%j is written %j", (statuses, text) => {
    expect(formatStatuses(statuses)).toBe(text);
  });
});

describe("instants", () => {
  test.each([
    ["2027-01-31", Date.UTC(2027, 0, 31)],
    ["2028-02-29", Date.UTC(2028, 1, 29)],
    ["2027-01-31T12:00Z", Date.UTC(2027, 0, 31, 12)],
    ["2027-01-31T12:00:30Z", Date.UTC(2027, 0, 31, 12, 0, 30)],
    ["2027-01-31T12:00:00+02:00", Date.UTC(2027, 0, 31, 10)],
    ["2027-02-29", null],
    ["2027-02-30", null],
    ["2027-13-01", null],
    ["2027-01-31T25:00Z", null],
    ["2027-01-31T12:00", null],
    ["31.01.2027", null],
    ["tomorrow", null],
    ["", null],
  ])("%s", (text, expected) => {
    expect(parseInstant(text)).toBe(expected);
  });

  test("are written without a fraction of a second", () => {
    expect(formatInstant(Date.UTC(2027, 0, 31, 12) + 5)).toBe("2027-01-31T12:00:00Z");
  });
});

test.each([
  ["header:X-Should-Retry", "x-should-retry"],
  ["header:", null],
  ["header:a b", null],
  ["X-Should-Retry", null],
  [503, null],
])("%s as a condition is the header %s", (entry, expected) => {
  expect(headerNamed(entry)).toBe(expected);
});
