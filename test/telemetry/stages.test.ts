/** What is noted of hedges, breakers, endpoints, limits, splits, replaced failures, faults and copies. */
import { describe, expect, test } from "vitest";
import { EgressError } from "../../src/errors.ts";
import type { TrailEntry } from "../../src/exchange.ts";
import { factsOf } from "../../src/telemetry/facts.ts";
import { Metrics, type MetricsSnapshot } from "../../src/telemetry/metrics.ts";
import { prometheusText } from "../../src/telemetry/prometheus.ts";
import { recordOf } from "../../src/telemetry/record.ts";
import { MIRROR_RESULTS, mirrorResult } from "../../src/telemetry/stage-facts.ts";
import { LABELS_MAX } from "../../src/telemetry/stage-metrics.ts";
import { InvocationTally, summaryLine } from "../../src/telemetry/summary.ts";
import { anAttempt, aRequest, aResponse } from "./calls.ts";

const context = { invocationId: "", destination: "d", route: "", policyVersion: "v", wallMs: 0 };

const breaker = (from: string, to: string, why = "consecutive_failures"): TrailEntry => ({
  kind: "breaker",
  from,
  to,
  why,
});

function mirror(changes: Partial<Extract<TrailEntry, { kind: "mirror" }>> = {}): TrailEntry {
  return {
    kind: "mirror",
    host: "m.example",
    status: 200,
    primaryStatus: 200,
    sameShape: true,
    latencyMs: 30,
    primaryLatencyMs: 20,
    ...changes,
  };
}

/** The facts of a call that was answered with 200 and left `trail` behind. */
const answered = (...trail: TrailEntry[]) =>
  factsOf(aRequest({ startedMs: 100 }, trail), aResponse(), null, 200);

/** The field `stages` of its line, as it is written. */
function lineOf(...trail: TrailEntry[]): unknown {
  const request = aRequest({}, trail);
  const record = recordOf(request, factsOf(request, aResponse(), null, 1), context);
  return JSON.parse(JSON.stringify(record)).stages;
}

describe("the line of a call", () => {
  test("says nothing of stages that did nothing", () => {
    const request = aRequest({}, [anAttempt(), { kind: "no_retry", attempt: 1, why: "x" }]);
    const facts = factsOf(request, aResponse(), null, 1);
    expect(facts.stages).toBeNull();
    expect(JSON.parse(JSON.stringify(recordOf(request, facts, context)))).not.toHaveProperty("stages");
  });

  test.each<[string, TrailEntry[], unknown]>([
    [
      "hedges",
      [
        { kind: "hedge", attempt: 1, afterMs: 20, won: false },
        { kind: "hedge", attempt: 1, afterMs: 40, won: true },
      ],
      { hedges: 2, hedge_won: true },
    ],
    [
      "a hedge that lost",
      [{ kind: "hedge", attempt: 1, afterMs: 20, won: false }],
      { hedges: 1, hedge_won: false },
    ],
    [
      "the state that a breaker took last",
      [breaker("open", "half_open", "open_for_over"), breaker("half_open", "closed", "probes_succeeded")],
      { breaker: "closed", breaker_why: "probes_succeeded" },
    ],
    ["an endpoint", [{ kind: "ejected", endpoint: "10.0.0.1:80", why: "x" }], { ejected: "10.0.0.1:80" }],
    [
      "the limit that refused",
      [{ kind: "limited", stage: "invocation budget", limit: 5 }],
      { limited_by: "invocation budget" },
    ],
    ["where a split sent it", [{ kind: "split", host: "b.example" }], { split_host: "b.example" }],
    [
      "a fallback",
      [{ kind: "fallback", why: "CONNECT_FAILED", ageMs: -1 }],
      { served: "fallback", served_for: "CONNECT_FAILED" },
    ],
    [
      "a stale answer and its age",
      [{ kind: "fallback", why: "503", ageMs: 1500 }],
      { served: "stale", served_for: "503", served_age_ms: 1500 },
    ],
    [
      "faults",
      [
        { kind: "fault", fault: "delay" },
        { kind: "fault", fault: "abort" },
      ],
      { faults: "delay, abort" },
    ],
    [
      "a copy that compares",
      [mirror({ status: 500 })],
      {
        mirror_host: "m.example",
        mirror_result: "other_status",
        mirror_status: 500,
        mirror_ms: 30,
        mirror_primary_ms: 20,
      },
    ],
    [
      "a copy that was not done in time",
      [mirror({ primaryStatus: 0 })],
      { mirror_host: "m.example", mirror_result: "unfinished" },
    ],
    [
      "what was left out",
      [{ kind: "skipped", stage: "rewrite", why: "the signature covers the path" }],
      { skipped: "rewrite: the signature covers the path" },
    ],
  ])("names %s", (_, trail, expected) => {
    expect(lineOf(...trail)).toEqual(expected);
  });

  test("names eight of a kind and counts the rest", () => {
    const faults = Array.from({ length: 11 }, (_, i): TrailEntry => ({ kind: "fault", fault: `f${i}` }));
    expect(lineOf(...faults)).toEqual({ faults: "f0, f1, f2, f3, f4, f5, f6, f7 and 3 more" });
  });

  test("holds no secret that stood in the reason of an entry", () => {
    const line = JSON.stringify(lineOf({ kind: "fallback", why: "token=hunter2hunter2", ageMs: -1 }));
    expect(line).not.toContain("hunter2");
  });
});

describe("a call with several tries at once", () => {
  const slow = anAttempt({
    number: 1,
    startedMs: 100,
    address: "10.0.0.1",
    error: new EgressError("CLIENT_GONE", "x"),
  });
  const fast = anAttempt({
    number: 2,
    startedMs: 120,
    address: "10.0.0.2",
    status: 200,
    firstByteMs: 150,
    reused: true,
  });
  const won = (isWon: boolean): TrailEntry => ({ kind: "hedge", attempt: 1, afterMs: 20, won: isWon });

  test("has the address and the times of the one that was answered, whichever began last", () => {
    expect(answered(slow, fast, won(true))).toMatchObject({
      address: "10.0.0.2",
      firstByteMs: 50,
      reused: true,
    });
    expect(answered(fast, slow, won(false))).toMatchObject({
      address: "10.0.0.2",
      firstByteMs: 50,
      reused: true,
    });
  });
});

test("an answer in place of a failure has neither the status nor the times of the upstream's", () => {
  const failed = anAttempt({ startedMs: 100, firstByteMs: 150, status: 200 });
  const facts = answered(failed, { kind: "grpc", status: 14 }, { kind: "fallback", why: "503", ageMs: -1 });
  expect(facts).toMatchObject({ grpcStatus: null, firstByteMs: 0, failed: false, remarkable: true });
});

test.each<[string, TrailEntry, boolean]>([
  ["a hedge", { kind: "hedge", attempt: 1, afterMs: 1, won: false }, true],
  ["a breaker that changes", breaker("closed", "open"), true],
  ["a refusal", { kind: "limited", stage: "x", limit: 1 }, true],
  ["a stale answer", { kind: "fallback", why: "x", ageMs: 1 }, true],
  ["a fault", { kind: "fault", fault: "delay" }, true],
  ["a copy that answers otherwise", mirror({ sameShape: false }), true],
  ["a copy that answers the same", mirror(), false],
  ["a split", { kind: "split", host: "b" }, false],
  ["a part that is left out each time", { kind: "skipped", stage: "rewrite", why: "x" }, false],
])("%s is worth a line whatever the sampling says: %s", (_, entry, expected) => {
  expect(answered(entry).remarkable).toBe(expected);
});

test.each([
  [{}, "same"],
  [{ status: 404 }, "other_status"],
  [{ sameShape: false }, "other_shape"],
  [{ status: 0 }, "failed"],
  [{ status: 0, primaryStatus: 0 }, "unfinished"],
])("a copy with %o compares as %s", (changes, expected) => {
  expect(mirrorResult(mirror(changes) as Extract<TrailEntry, { kind: "mirror" }>)).toBe(expected);
  expect(MIRROR_RESULTS).toContain(expected);
});

describe("the metrics of a destination", () => {
  /** The text for Prometheus after calls with these trails. */
  function textAfter(...trails: TrailEntry[][]): string[] {
    const metrics = new Metrics();
    for (const trail of trails) metrics.series("d").add(answered(...trail));
    const snapshot: MetricsSnapshot = {
      policyVersion: "",
      openCalls: 0,
      openTunnels: 0,
      interceptionRefusals: 0,
      droppedRecords: 0,
      internalErrors: 0,
      destinations: metrics.snapshot(),
    };
    return prometheusText(snapshot).split("\n");
  }

  const lines = textAfter(
    [
      { kind: "hedge", attempt: 1, afterMs: 1, won: true },
      { kind: "ejected", endpoint: "e:1", why: "x" },
    ],
    [breaker("closed", "open")],
    [breaker("closed", "open")],
    [breaker("open", "half_open")],
    [{ kind: "limited", stage: "invocation budget", limit: 5 }],
    [{ kind: "split", host: "b.example" }],
    [{ kind: "fallback", why: "x", ageMs: 5 }],
    [{ kind: "fault", fault: "delay" }],
    [mirror()],
    [mirror({ sameShape: false, latencyMs: 70 })],
    [mirror({ status: 0, latencyMs: 1000 })],
    [{ kind: "skipped", stage: "rewrite", why: "x" }],
    [{ kind: "queued", stage: "concurrency limit", waitMs: 8 }],
  );

  test.each([
    'outrider_hedges_total{destination="d"} 1',
    'outrider_hedges_won_total{destination="d"} 1',
    'outrider_ejections_total{destination="d"} 1',
    'outrider_breaker_transitions_total{destination="d",state="open"} 2',
    'outrider_breaker_transitions_total{destination="d",state="half_open"} 1',
    'outrider_breakers{destination="d",state="open"} 1',
    'outrider_breakers{destination="d",state="half_open"} 1',
    'outrider_limited_total{destination="d",stage="invocation budget"} 1',
    'outrider_split_total{destination="d",host="b.example"} 1',
    'outrider_served_total{destination="d",served="stale"} 1',
    'outrider_faults_total{destination="d",fault="delay"} 1',
    'outrider_mirrored_total{destination="d",result="same"} 1',
    'outrider_mirrored_total{destination="d",result="other_shape"} 1',
    'outrider_mirrored_total{destination="d",result="failed"} 1',
    'outrider_mirror_seconds_total{destination="d",of="copy"} 0.1',
    'outrider_mirror_seconds_total{destination="d",of="primary"} 0.04',
    'outrider_skipped_total{destination="d"} 1',
    'outrider_queue_duration_seconds_bucket{destination="d",le="0.005"} 0',
    'outrider_queue_duration_seconds_bucket{destination="d",le="0.01"} 1',
    'outrider_queue_duration_seconds_sum{destination="d"} 0.008',
    'outrider_queue_duration_seconds_count{destination="d"} 1',
  ])("hold %s", (line) => {
    expect(lines).toContain(line);
  });

  test("show a breaker that is closed again, or was forgotten while it was open, as none", () => {
    const closed = textAfter(
      [breaker("closed", "open")],
      [breaker("open", "half_open")],
      [breaker("half_open", "closed")],
    );
    expect(closed).toContain('outrider_breakers{destination="d",state="open"} 0');
    expect(closed).toContain('outrider_breakers{destination="d",state="half_open"} 0');
    const lateWord = textAfter([breaker("open", "half_open")], [breaker("half_open", "closed")]);
    expect(lateWord).toContain('outrider_breakers{destination="d",state="open"} 0');
  });

  test("have a bounded number of labels, whatever is called", () => {
    const metrics = new Metrics();
    const series = metrics.series("d");
    for (let i = 0; i < 10 * LABELS_MAX; i++) series.add(answered({ kind: "split", host: `h${i}.example` }));
    const { splits } = metrics.snapshot()[0]!.stages;
    expect(splits).toHaveLength(LABELS_MAX);
    expect(splits.at(-1)).toEqual({ label: "other", count: 9 * LABELS_MAX + 1 });
  });
});

test("the summary of an invocation counts second tries and replaced failures", () => {
  const tally = new InvocationTally();
  const trail: TrailEntry[] = [
    { kind: "hedge", attempt: 1, afterMs: 1, won: true },
    { kind: "fallback", why: "x", ageMs: -1 },
  ];
  tally.add("d", aRequest({}, trail), answered(...trail));
  expect(summaryLine(tally.close(1, 0, "finished", ""), 0)).toMatchObject({
    hedges: 1,
    served: 1,
    failed: 0,
  });
});
