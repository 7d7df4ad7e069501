/** What one invocation did on the network. */
import { describe, expect, test } from "vitest";
import { EgressError } from "../../src/errors.ts";
import type { Work } from "../../src/lifecycle.ts";
import { factsOf } from "../../src/telemetry/facts.ts";
import { InvocationTally, SUMMARY_DESTINATIONS_MAX, summaryLine } from "../../src/telemetry/summary.ts";
import { anAttempt, aRequest, aResponse } from "./calls.ts";

function work(startedMs: number, sequence = 1): Work {
  return { id: `inv-${sequence}`, deadlineMs: Number.POSITIVE_INFINITY, trace: "", sequence, startedMs };
}

/** Blocked time of an invocation from `start` to `end` with calls over `intervals`, played in the order of time. */
function blockedMs(
  startMs: number,
  endMs: number,
  intervals: readonly (readonly [number, number])[],
): number {
  const tally = new InvocationTally();
  const events = intervals.flatMap(([from, to]) => [
    { atMs: from, play: () => tally.began(from) },
    { atMs: to, play: () => tally.ended(to) },
  ]);
  events.push({ atMs: startMs, play: () => tally.start(work(startMs)) });
  events.sort((a, b) => a.atMs - b.atMs);
  for (const event of events) if (event.atMs <= endMs) event.play();
  return tally.close(endMs, 0, "finished", "v").blockedMs;
}

const unions: readonly [what: string, intervals: readonly (readonly [number, number])[], expected: number][] =
  [
    ["no call", [], 0],
    ["one call", [[110, 130]], 20],
    [
      "two calls one after the other",
      [
        [110, 120],
        [130, 145],
      ],
      25,
    ],
    [
      "two calls that touch",
      [
        [110, 120],
        [120, 130],
      ],
      20,
    ],
    [
      "two calls that overlap",
      [
        [110, 130],
        [120, 150],
      ],
      40,
    ],
    [
      "one call within another",
      [
        [110, 150],
        [120, 130],
      ],
      40,
    ],
    [
      "three equal calls",
      [
        [110, 130],
        [110, 130],
        [110, 130],
      ],
      20,
    ],
    [
      "a chain of overlaps and a gap",
      [
        [110, 120],
        [115, 130],
        [125, 140],
        [160, 170],
      ],
      40,
    ],
    ["a call that began before the invocation", [[50, 120]], 20],
    ["a call that is open at the end", [[150, 900]], 50],
    ["a call that began before and is open at the end", [[50, 900]], 100],
    [
      "calls over the whole invocation and beyond",
      [
        [50, 150],
        [140, 900],
      ],
      100,
    ],
  ];

test.each(unions)("blocked time is the union of the calls' intervals: %s", (_what, intervals, expected) => {
  expect(blockedMs(100, 200, intervals)).toBe(expected);
});

test("a call whose head arrived before the last one ended is not counted twice", () => {
  const tally = new InvocationTally();
  tally.start(work(0));
  tally.began(10);
  tally.ended(30);
  tally.began(20);
  tally.ended(40);
  expect(tally.close(50, 0, "finished", "v").blockedMs).toBe(30);
});

test("blocked time never exceeds the invocation, whatever the calls were (seeded)", () => {
  let seed = 42;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return seed % below;
  };
  for (let round = 0; round < 200; round++) {
    const intervals = Array.from({ length: random(8) }, () => {
      const from = random(300);
      return [from, from + random(100)] as const;
    });
    const covered = new Set<number>();
    for (const [from, to] of intervals) {
      for (let at = Math.max(from, 100); at < Math.min(to, 200); at++) covered.add(at);
    }
    expect(blockedMs(100, 200, intervals), JSON.stringify(intervals)).toBe(covered.size);
  }
});

/** A tally in which `invocation` has made one good call, one that was retried and one that was refused. */
function threeCalls(): InvocationTally {
  const tally = new InvocationTally();
  tally.start(work(1000));
  const good = aRequest({ startedMs: 1000, method: "POST" }, [
    anAttempt({ connectedMs: 1002, securedMs: 1005 }),
  ]);
  const retried = aRequest({ startedMs: 1010, host: "slow.example" }, [
    anAttempt({ reused: true }),
    { kind: "retry", attempt: 1, why: "503", waitMs: 5 },
    anAttempt({ reused: true }),
  ]);
  const refused = aRequest({ startedMs: 1020 }, [{ kind: "denied", rule: "acl.default" }]);
  for (const request of [good, retried, refused]) tally.began(request.startedMs);
  tally.ended(1030);
  tally.add("payments", good, factsOf(good, aResponse(200, "12345"), null, 1030));
  tally.ended(1030);
  tally.add("default", refused, factsOf(refused, null, new EgressError("DENIED", "x"), 1030));
  tally.ended(1100);
  tally.add("payments", retried, factsOf(retried, aResponse(503), null, 1100));
  return tally;
}

test("a summary adds up what the calls of the invocation were like", () => {
  const summary = threeCalls().close(1200, 1_790_000_000_000, "finished", "0123456789ab");
  expect(summaryLine(summary, 3)).toEqual({
    time: "2026-09-21T14:13:20.000Z",
    event: "summary",
    invocation_id: "inv-1",
    occasion: "finished",
    cold_start: true,
    duration_ms: 200,
    blocked_ms: 100,
    calls: 3,
    open_calls: 0,
    failed: 2,
    failures: { DENIED: 1, HTTP_503: 1 },
    destinations: { payments: { calls: 2, failed: 1 }, default: { calls: 1, failed: 1 } },
    attempts: 3,
    retries: 1,
    hedges: 0,
    connects: 1,
    handshakes: 1,
    reused_ratio: 0.67,
    denied: 1,
    would_deny: 0,
    served: 0,
    bytes_up: 0,
    bytes_down: 5,
    slowest: { destination: "payments", method: "GET", host: "slow.example", status: 503, total_ms: 90 },
    dropped_records: 3,
    policy_version: "0123456789ab",
  });
});

test("each invocation's summary starts from zero, and only the first is a cold start", () => {
  const tally = threeCalls();
  tally.close(1200, 0, "finished", "v");
  tally.start(work(5000, 2));
  const second = tally.close(5010, 0, "finished", "v");
  expect(second).toMatchObject({
    invocationId: "inv-2",
    coldStart: false,
    calls: 0,
    blockedMs: 0,
    durationMs: 10,
  });
  expect(second).toMatchObject({ slowest: null, reusedRatio: null });
});

test("a call that ends between two invocations is told of by the next summary and blocks neither", () => {
  const tally = new InvocationTally();
  tally.start(work(0));
  const late = aRequest({ startedMs: 90 });
  tally.began(90);
  expect(tally.close(100, 0, "finished", "v")).toMatchObject({ calls: 0, openCalls: 1, blockedMs: 10 });
  tally.ended(150);
  tally.add("payments", late, factsOf(late, aResponse(), null, 150));
  tally.start(work(1000, 2));
  expect(tally.close(1100, 0, "finished", "v")).toMatchObject({ calls: 1, openCalls: 0, blockedMs: 0 });
});

describe("the number of destinations in a summary is bounded", () => {
  test("those beyond the bound are added up", () => {
    const tally = new InvocationTally();
    tally.start(work(0));
    for (let n = 0; n < 100; n++) {
      tally.began(0);
      tally.ended(1);
      tally.add(`destination-${n}`, aRequest(), factsOf(aRequest(), aResponse(), null, 1));
    }
    const { destinations } = tally.close(2, 0, "finished", "v");
    expect(destinations.size).toBe(SUMMARY_DESTINATIONS_MAX);
    expect(destinations.get("other")!.calls).toBe(100 - SUMMARY_DESTINATIONS_MAX + 1);
  });

  test.each(["__proto__", "constructor"])("%s is a name like any other", (name) => {
    const tally = new InvocationTally();
    tally.start(work(0));
    tally.began(0);
    tally.ended(1);
    tally.add(name, aRequest(), factsOf(aRequest(), aResponse(), null, 1));
    const line = JSON.stringify(summaryLine(tally.close(2, 0, "finished", "v"), 0));
    expect(line).toContain(`"destinations":{"${name}":{"calls":1,"failed":0}}`);
  });
});
