import { describe, expect, test } from "vitest";
import { askedWaitMs } from "../../src/policy/retry-after.ts";

const NOON = Date.UTC(2026, 8, 1, 12);
const NOON_SECONDS = NOON / 1000;

/** Field lines from `name: value` lines. */
const lines = (...fields: string[]): string => fields.map((field) => `${field}\r\n`).join("");

describe("an upstream asks for a wait", () => {
  test.each<[string, number, number, string[]]>([
    ["Retry-After in seconds", 503, 2000, ["Retry-After: 2"]],
    ["Retry-After as a date", 503, 3000, ["Retry-After: Tue, 01 Sep 2026 12:00:03 GMT"]],
    ["retry-after-ms", 503, 1500, ["retry-after-ms: 1500"]],
    ["retry-after-ms with a fraction", 503, 0.5, ["retry-after-ms: 0.5"]],
    ["the finer of both", 429, 150, ["Retry-After: 1", "Retry-After-Ms: 150"]],
    ["the one that can be read", 429, 1000, ["Retry-After: 1", "Retry-After-Ms: soon"]],
    ["gRPC pushback", 200, 25, ["grpc-status: 14", "grpc-retry-pushback-ms: 25"]],
    ["gRPC pushback before everything else", 429, 0, ["Retry-After: 9", "grpc-retry-pushback-ms: 0"]],
    ["RateLimit of the draft", 429, 30_000, ['RateLimit: "default";r=0;t=30']],
    ["RateLimit of a 503 that is out of quota", 503, 30_000, ['RateLimit: "default"; r=0; t=30']],
    ["the quota that is used up", 429, 5000, ['RateLimit: "day";r=900;t=40000, "burst";r=0;t=5']],
    ["the later of two that are used up", 429, 60_000, ['RateLimit: "burst";r=0;t=5, "hour";r=0;t=60']],
    ["quotas in fields of their own", 429, 60_000, ['RateLimit: "a";r=0;t=5', 'RateLimit: "b";r=0;t=60']],
    ["a 429 that names no used quota", 429, 7000, ['RateLimit: "burst";r=1;t=7']],
    ["a name that looks like a parameter", 429, 4000, ['RateLimit: "a;r=0;t=99,b";r=0;t=4']],
    ["RateLimit of the older drafts", 429, 9000, ["RateLimit: limit=100, remaining=0, reset=9"]],
    ["RateLimit-Reset", 429, 8000, ["RateLimit-Reset: 8"]],
    ["RateLimit-Reset of a used quota", 503, 8000, ["RateLimit-Remaining: 0", "RateLimit-Reset: 8"]],
    ["X-RateLimit-Reset in seconds", 429, 12_000, ["X-RateLimit-Reset: 12"]],
    ["X-RateLimit-Reset of the epoch", 429, 12_000, [`X-RateLimit-Reset: ${NOON_SECONDS + 12}`]],
    ["X-RateLimit-Reset of the epoch in ms", 429, 250, [`X-RateLimit-Reset: ${NOON + 250}`]],
    ["X-RateLimit-Reset that has passed", 429, 0, [`X-RateLimit-Reset: ${NOON_SECONDS - 60}`]],
    ["a 403 that is out of quota", 403, 5000, ["X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 5"]],
    ["x-ratelimit-reset-after", 429, 1250, ["X-RateLimit-Reset-After: 1.25", "X-RateLimit-Reset: 99"]],
  ])("%s", (_, status, waitMs, fields) => {
    expect(askedWaitMs({ status, fields: lines(...fields) }, NOON)).toBe(waitMs);
  });
});

describe("an upstream asks not to be called again", () => {
  test.each(["-1", "soon", "", "1.5", "99999999999"])("by grpc-retry-pushback-ms: %j", (value) => {
    const fields = lines(`grpc-retry-pushback-ms: ${value}`);
    expect(askedWaitMs({ status: 200, fields }, NOON)).toBe(Number.POSITIVE_INFINITY);
  });
});

describe("an upstream asks for nothing", () => {
  test.each<[string, number, string[]]>([
    ["no field", 503, []],
    ["a quota that is not used up", 503, ['RateLimit: "day";r=900;t=40000']],
    ["a quota of the older drafts that is not used up", 503, ["RateLimit: limit=9, remaining=1, reset=9"]],
    [
      "RateLimit-Reset beside a quota that is not used up",
      503,
      ["RateLimit-Remaining: 3", "RateLimit-Reset: 9"],
    ],
    ["X-RateLimit-Reset of a 503", 503, ["X-RateLimit-Reset: 3600"]],
    ["X-RateLimit-Reset beside what remains", 503, ["X-RateLimit-Remaining: 4", "X-RateLimit-Reset: 3600"]],
    ["a quota without a reset", 429, ['RateLimit: "default";r=0']],
    ["a reset that is none", 429, ["X-RateLimit-Reset: tomorrow"]],
    ["a negative reset", 429, ["RateLimit-Reset: -1"]],
    ["an unfinished string", 429, ['RateLimit: "default;r=0;t=x']],
    ["a Retry-After that is none", 503, ["Retry-After: soon"]],
  ])("%s", (_, status, fields) => {
    expect(askedWaitMs({ status, fields: lines(...fields) }, NOON)).toBeNull();
  });
});
