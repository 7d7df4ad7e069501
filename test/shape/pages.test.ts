/** The pages that list limits, fields and metrics list those that there are. */
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { Body } from "../../src/body.ts";
import { DEFAULTS } from "../../src/config/defaults.ts";
import { policyJsonSchema } from "../../src/config/schema.ts";
import { EgressRequest, EgressResponse } from "../../src/exchange.ts";
import { factsOf } from "../../src/telemetry/facts.ts";
import { InterceptionRefusals } from "../../src/telemetry/interception.ts";
import { Metrics } from "../../src/telemetry/metrics.ts";
import { prometheusText } from "../../src/telemetry/prometheus.ts";
import { recordOf } from "../../src/telemetry/record.ts";
import { StageFacts, stageFields } from "../../src/telemetry/stage-facts.ts";
import { InvocationTally, summaryLine } from "../../src/telemetry/summary.ts";

const read = (file: string): string => readFileSync(file, "utf8");

/** Rows of the table under `heading`, as cells without their back-ticks; a table ends at the next heading. */
function rowsUnder(page: string, heading: string): string[][] {
  const from = page.indexOf(`${heading}\n`);
  expect(from, heading).toBeGreaterThanOrEqual(0);
  const section = page.slice(from + heading.length).split(/^#/m)[0]!;
  const rows = section.split("\n").filter((line) => line.startsWith("|"));
  return rows.slice(2).map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

const bare = (cell: string) => cell.replaceAll("`", "");

describe("docs/limits.md", () => {
  const page = read("docs/limits.md");
  const rows = rowsUnder(page, "## Of the proxy as a whole");

  test("lists every key of `limits`, and none that does not exist", () => {
    expect(rows.map(([key]) => bare(key!))).toEqual(Object.keys(DEFAULTS.limits));
  });

  test.each(rows)("says the default of %s, what it bounds and what happens", (key, value, what, then) => {
    expect(bare(value!)).toBe(String(DEFAULTS.limits[bare(key!) as keyof typeof DEFAULTS.limits]));
    expect(what).toMatch(/^[A-Z].{10,}\.$/);
    expect(then).toMatch(/^[A-Z0-9].*\.$/);
  });

  test.each(rows.map(([key, , , , file]) => [key!, file!]))("names a test that shows %s: %s", (key, file) => {
    expect(unshown(bare(key), bare(file), existsSync(bare(file)) ? read(bare(file)) : null)).toBeNull();
  });

  test("would be found to name a test that does not exist, or one about something else", () => {
    expect(unshown("streams", "test/x.test.ts", null)).toBe("test/x.test.ts does not exist");
    expect(unshown("streams", "test/x.test.ts", "limits: { tunnels: 1 }")).toBe(
      "test/x.test.ts does not speak of limits.streams",
    );
    expect(unshown("streams", "test/x.test.ts", "limits: { streams: 1 }")).toBeNull();
    expect(unshown("streams", "test/x.test.ts", 'test("limits.streams bounds streams")')).toBeNull();
  });

  test("lists only keys of policies that exist", () => {
    const { $defs } = policyJsonSchema() as { $defs: Record<string, { properties: object }> };
    const prefixes = {
      policy_keys: "",
      route_limits: "limits.",
      retry: "retry.",
      hedge: "hedge.",
      circuit_breaker: "circuit_breaker.",
      stale_if_error: "stale_if_error.",
      mirror: "mirror.",
    };
    const known = Object.entries(prefixes).flatMap(([id, prefix]) =>
      Object.keys($defs[id]!.properties).map((key) => `${prefix}${key}`),
    );
    const listed = rowsUnder(page, "## Of a destination or a route").map(([key]) => bare(key!));
    expect(listed.filter((key) => !known.includes(key))).toEqual([]);
  });

  test.each(rowsUnder(page, "## That no key changes").map((cells) => cells.at(-1)!))("%s", (where) => {
    const [, name, file] = /^`(\w+)` in `([^`]+)`$/.exec(where)!;
    expect(read(file!)).toMatch(new RegExp(`^(export )?const ${name}\\b`, "m"));
  });
});

/** What is wrong with naming `file` as the test of a limit; `null` when nothing is. */
function unshown(key: string, file: string, text: string | null): string | null {
  if (text === null) return `${file} does not exist`;
  return new RegExp(`\\blimits\\.${key}\\b|\\b${key}: `).test(text)
    ? null
    : `${file} does not speak of limits.${key}`;
}

describe("docs/telemetry.md", () => {
  const page = read("docs/telemetry.md");
  const request = new EgressRequest({
    method: "GET",
    scheme: "http",
    host: "a.example",
    port: 80,
    path: "/",
    fields: "",
  });
  const response = new EgressResponse(200, "", "", Body.of(""));
  request.trail.push({ kind: "grpc", status: 0 }, { kind: "split", host: "b.example" });
  const facts = factsOf(request, response, null, 1);
  const context = { invocationId: "", destination: "", route: "", policyVersion: "", wallMs: 0 };
  const listed = (heading: string) => rowsUnder(page, heading).map(([name]) => bare(name!));

  test("lists every field of a call's line, in its order", () => {
    expect(listed('### `event: "call"`')).toEqual(Object.keys(recordOf(request, facts, context)));
  });

  test("lists every field of `stages`, in its order", () => {
    expect(listed("### `stages` of a call")).toEqual(Object.keys(stageFields(new StageFacts())));
  });

  test("lists every field of a refused interception, in its order", () => {
    const line = new InterceptionRefusals().add("a.example", "x", context)!;
    expect(listed('### `event: "interception_refused"`')).toEqual(Object.keys(line));
  });

  test("lists every field of a summary, in its order", () => {
    const summary = new InvocationTally().close(0, 0, "finished", "");
    expect(listed('### `event: "summary"`')).toEqual(Object.keys(summaryLine(summary, 0)));
  });

  test("lists every metric, in the order of the text", () => {
    const metrics = new Metrics();
    metrics.series("a").add(facts);
    const text = prometheusText({
      policyVersion: "",
      openCalls: 0,
      openTunnels: 0,
      interceptionRefusals: 0,
      droppedRecords: 0,
      internalErrors: 0,
      destinations: metrics.snapshot(),
    });
    const families = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name!);
    expect(listed("## Metrics")).toEqual(families);
  });
});
