/** Counters, histogram and the text for scrapers. */
import { describe, expect, test } from "vitest";
import { EgressError } from "../../src/errors.ts";
import { factsOf } from "../../src/telemetry/facts.ts";
import { bucketOf, DURATION_BOUNDS_MS } from "../../src/telemetry/histogram.ts";
import {
  Metrics,
  type MetricsSnapshot,
  OTHER_DESTINATION,
  SERIES_MAX,
  statusClassOf,
} from "../../src/telemetry/metrics.ts";
import { labelValue, prometheusText } from "../../src/telemetry/prometheus.ts";
import { anAttempt, aRequest, aResponse } from "./calls.ts";

test.each([
  [0, 0],
  [1, 0],
  [1.001, 1],
  [2.5, 1],
  [100, 6],
  [60_000, 14],
  [60_000.1, 15],
  [Number.POSITIVE_INFINITY, 15],
])("a call of %d ms falls in bucket %d", (durationMs, bucket) => {
  expect(bucketOf(durationMs)).toBe(bucket);
});

test.each([
  [0, 0],
  [99, 0],
  [101, 1],
  [200, 2],
  [302, 3],
  [404, 4],
  [599, 5],
  [600, 0],
])("status %d counts in class %d", (status, index) => {
  expect(statusClassOf(status)).toBe(index);
});

test("a destination's calls are counted by what became of them", () => {
  const metrics = new Metrics();
  const series = metrics.series("payments");
  const reset = new EgressError("UPSTREAM_RESET", "x");
  series.add(factsOf(aRequest({}, [anAttempt({ reused: true })]), aResponse(200, "123"), null, 3));
  series.add(
    factsOf(
      aRequest({}, [
        anAttempt({ connectedMs: 1, securedMs: 2 }),
        { kind: "retry", attempt: 1, why: "x", waitMs: 1 },
        anAttempt(),
      ]),
      null,
      reset,
      700,
    ),
  );
  series.add(factsOf(aRequest({}, [{ kind: "would_deny", rule: "r" }]), aResponse(404), null, 1));
  series.add(factsOf(aRequest({}, [{ kind: "denied", rule: "r" }]), null, new EgressError("DENIED", "x"), 1));
  const [payments] = metrics.snapshot();
  expect(payments).toMatchObject({
    destination: "payments",
    calls: { none: 0, "1xx": 0, "2xx": 1, "3xx": 0, "4xx": 2, "5xx": 1 },
    errors: [
      { code: "DENIED", blame: "proxy", count: 1 },
      { code: "UPSTREAM_RESET", blame: "upstream", count: 1 },
    ],
    attempts: 3,
    reusedAttempts: 1,
    retries: 1,
    connects: 1,
    handshakes: 1,
    denied: 1,
    wouldDeny: 1,
    bytesDown: 3,
  });
  expect(payments!.duration).toMatchObject({ count: 4, sumMs: 705 });
  expect(payments!.duration.counts).toHaveLength(DURATION_BOUNDS_MS.length + 1);
});

test("a snapshot is plain data that later calls do not change", () => {
  const metrics = new Metrics();
  metrics.series("a").add(factsOf(aRequest(), aResponse(), null, 1));
  const before = metrics.snapshot();
  const text = JSON.stringify(before);
  metrics.series("a").add(factsOf(aRequest(), null, new EgressError("INTERNAL", "x"), 1));
  expect(JSON.stringify(before)).toBe(text);
  expect(JSON.parse(text)).toEqual(before);
});

describe("the number of series is bounded", () => {
  test("destinations beyond the bound are counted together", () => {
    const metrics = new Metrics();
    for (let n = 0; n < SERIES_MAX * 2; n++) {
      metrics.series(`destination-${n}`).add(factsOf(aRequest(), aResponse(), null, 1));
    }
    const snapshot = metrics.snapshot();
    expect(snapshot).toHaveLength(SERIES_MAX);
    expect(snapshot.at(-1)).toMatchObject({
      destination: OTHER_DESTINATION,
      calls: { "2xx": SERIES_MAX + 1 },
    });
  });

  test("a name of the configuration keeps its series when a route names it again", () => {
    const metrics = new Metrics();
    expect(metrics.series("a")).toBe(metrics.series("a"));
  });

  test.each(["__proto__", "constructor", "toString", "other"])("%s is a name like any other", (name) => {
    const metrics = new Metrics();
    metrics.series(name).add(factsOf(aRequest(), aResponse(), null, 1));
    expect(metrics.snapshot()).toMatchObject([{ destination: name, calls: { "2xx": 1 } }]);
  });
});

describe("the text for Prometheus", () => {
  const snapshot = (destination: string): MetricsSnapshot => {
    const metrics = new Metrics();
    const series = metrics.series(destination);
    series.add(factsOf(aRequest({}, [anAttempt({ connectedMs: 1 })]), aResponse(200, "123"), null, 2));
    series.add(factsOf(aRequest(), null, new EgressError("CONNECT_TIMEOUT", "x"), 70_000));
    return {
      policyVersion: "0123456789ab",
      openCalls: 4,
      openTunnels: 2,
      interceptionRefusals: 3,
      droppedRecords: 5,
      internalErrors: 6,
      destinations: metrics.snapshot(),
    };
  };

  test("has each metric once, with help and type before its samples", () => {
    const lines = prometheusText(snapshot("payments")).split("\n");
    const families = lines.filter((line) => line.startsWith("# TYPE ")).map((line) => line.split(" ")[2]!);
    expect(new Set(families).size).toBe(families.length);
    for (const family of families) expect(family).toMatch(/^outrider_[a-z_]+$/);
    let family = "";
    for (const line of lines.filter((text) => text !== "")) {
      if (line.startsWith("# HELP ")) family = line.split(" ")[2]!;
      else if (!line.startsWith("#")) expect(line.startsWith(family)).toBe(true);
    }
  });

  test.each([
    'outrider_calls_total{destination="payments",status_class="2xx"} 1',
    'outrider_calls_total{destination="payments",status_class="5xx"} 1',
    'outrider_calls_total{destination="payments",status_class="4xx"} 0',
    'outrider_call_errors_total{destination="payments",code="CONNECT_TIMEOUT",blame="upstream"} 1',
    'outrider_attempts_total{destination="payments"} 1',
    'outrider_connects_total{destination="payments"} 1',
    'outrider_bytes_total{destination="payments",direction="down"} 3',
    'outrider_call_duration_seconds_bucket{destination="payments",le="0.001"} 0',
    'outrider_call_duration_seconds_bucket{destination="payments",le="0.0025"} 1',
    'outrider_call_duration_seconds_bucket{destination="payments",le="60"} 1',
    'outrider_call_duration_seconds_bucket{destination="payments",le="+Inf"} 2',
    'outrider_call_duration_seconds_sum{destination="payments"} 70.002',
    'outrider_call_duration_seconds_count{destination="payments"} 2',
    "outrider_calls_open 4",
    "outrider_tunnels_open 2",
    "outrider_interception_refused_total 3",
    "outrider_telemetry_dropped_records_total 5",
    "outrider_telemetry_errors_total 6",
    'outrider_policy_info{version="0123456789ab"} 1',
  ])("has %s", (line) => {
    expect(prometheusText(snapshot("payments")).split("\n")).toContain(line);
  });

  test("ends in a newline, as the format demands", () => {
    expect(prometheusText(snapshot("payments")).endsWith("\n")).toBe(true);
  });

  test.each([
    ["plain", "plain"],
    ['a"b', 'a\\"b'],
    ["a\\b", "a\\\\b"],
    ["a\nb", "a\\nb"],
    ['\\"\n', '\\\\\\"\\n'],
  ])("escapes a label value %j", (text, expected) => {
    expect(labelValue(text)).toBe(expected);
  });

  test("a destination's name cannot add a line", () => {
    const name = 'x"} 1\noutrider_calls_total{destination="y';
    const plain = prometheusText(snapshot("payments")).split("\n").length;
    expect(prometheusText(snapshot(name)).split("\n")).toHaveLength(plain);
  });
});
