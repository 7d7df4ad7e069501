/** Smoke runs of the command: they show that the benches run and what they print, and judge no speed. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const main = fileURLToPath(new URL("../../bench/main.ts", import.meta.url));
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "outrider-bench-test-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

async function bench(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const child = spawn(process.execPath, [main, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
  return { code, out, err };
}

function metricsWithRange(...names: string[]): Record<string, unknown> {
  const keys = names.flatMap((name) => [name, `${name}_min`, `${name}_max`]);
  return Object.fromEntries(keys.map((key) => [key, expect.any(Number)]));
}

describe.skipIf(process.platform !== "linux")("on Linux, where /proc accounts for CPU time", () => {
  test("passthrough measures the Node peers and writes its JSON", async () => {
    const file = join(folder, "passthrough.json");
    const only = "node-http-undici,node-http-agent,direct";
    const run = await bench("passthrough", "--quick", "--seed", "7", "--only", only, "--json", file);
    expect(run).toMatchObject({ code: 0, err: expect.stringContaining("direct: its answers are right") });
    expect(run.out).toContain("- Seed: 7, rounds: 1");
    expect(run.out).toContain("A quick run counts too little to judge a bar.");
    const latency = ["requests_per_s", "p50_us", "p99_us"];
    const whole = metricsWithRange("cpu_us_per_request", "pss_kb", "rss_kb", ...latency);
    const result = JSON.parse(await readFile(file, "utf8"));
    expect(result).toEqual({
      bench: "passthrough",
      machine: expect.objectContaining({ cpu: expect.any(String), cores: expect.any(Number) }),
      versions: expect.objectContaining({ node: process.versions.node, undici: expect.any(String) }),
      seed: 7,
      rows: [
        { subject: "node-http-undici", metrics: whole },
        { subject: "node-http-agent", metrics: whole },
        { subject: "direct", metrics: metricsWithRange(...latency) },
      ],
    });
    for (const row of result.rows) {
      for (const value of Object.values(row.metrics)) expect(value).toBeGreaterThan(0);
    }
  });

  test("cold-start measures the peers and writes its JSON", async () => {
    const file = join(folder, "cold-start.json");
    const only = "bare-node,net-only,node-http-undici";
    const run = await bench("cold-start", "--quick", "--seed", "7", "--only", only, "--json", file);
    expect(run).toMatchObject({ code: 0 });
    const registered = metricsWithRange("register_ms", "pss_kb", "rss_kb");
    expect(JSON.parse(await readFile(file, "utf8"))).toMatchObject({
      bench: "cold-start",
      seed: 7,
      rows: [
        { subject: "bare-node", metrics: metricsWithRange("register_ms") },
        { subject: "net-only", metrics: registered },
        { subject: "node-http-undici", metrics: registered },
      ],
    });
  });
});

describe.skipIf(process.platform !== "linux")("the benches over routes", () => {
  const json = async (...args: string[]) => {
    const file = join(folder, `${args[0]}.json`);
    const run = await bench(...args, "--quick", "--seed", "7", "--json", file);
    expect(run).toMatchObject({ code: 0 });
    const result = JSON.parse(await readFile(file, "utf8"));
    return Object.fromEntries(
      result.rows.map((row: { subject: string; metrics: object }) => [row.subject, row.metrics]),
    );
  };

  test("tunnel measures the pipe", async () => {
    const speed = ["up_mb_per_s", "down_mb_per_s", "connects_per_s"];
    const cost = ["cpu_us_per_mb", "cpu_us_per_connect", "idle_connection_kb", "pss_kb", "rss_kb"];
    expect(await json("tunnel", "--only", "net-pipe,direct")).toEqual({
      "net-pipe": metricsWithRange(...speed, ...cost),
      direct: metricsWithRange(...speed),
    });
  });

  test("intercept measures the direct way", async () => {
    const names = ["requests_per_s", "bench_cpu_us_per_request", "handshakes_per_s"];
    expect(await json("intercept", "--only", "direct")).toEqual({ direct: metricsWithRange(...names) });
  });

  test("h2 measures the peer in Node, and the direct way with TLS", async () => {
    const load = ["requests_per_s", "bench_cpu_us_per_request"];
    const cost = ["cpu_us_per_request", "idle_connection_kb", "open_exchange_kb", "pss_kb", "rss_kb"];
    expect(await json("h2", "--only", "node-http2-h2c,direct")).toEqual({
      "node-http2-h2c": metricsWithRange(...load, ...cost),
      direct: metricsWithRange(...load),
    });
  });
});

test("resilience gives the same figures for the same seed", async () => {
  const rows = async (name: string) => {
    const file = join(folder, name);
    const args = ["resilience", "--quick", "--seed", "7", "--only", "no-policy,outrider", "--json", file];
    const run = await bench(...args);
    expect(run).toMatchObject({ code: 0 });
    return JSON.parse(await readFile(file, "utf8")).rows;
  };
  const first = await rows("first.json");
  const figures = ["success_percent", "brown_out_success_percent", "amplification", "recover_s"];
  expect(first).toEqual([
    { subject: "no-policy", metrics: metricsWithRange(...figures) },
    { subject: "outrider", metrics: metricsWithRange(...figures) },
  ]);
  expect(await rows("second.json")).toEqual(first);
});

test("without an argument it lists the benches with one line each", async () => {
  const { code, out } = await bench();
  expect(code).toBe(0);
  for (const name of [
    "passthrough",
    "cold-start",
    "tunnel",
    "intercept",
    "h2",
    "resilience",
    "policy-chain",
  ]) {
    expect(out).toMatch(new RegExp(`^ {2}${name} +\\S.*$`, "m"));
  }
});

test.each([
  [["sideways"], 'there is no bench "sideways"'],
  [["passthrough", "--sideways"], "--sideways"],
  [["passthrough", "--seed", "-1"], "--seed"],
  [["passthrough", "--rounds", "0"], '--rounds takes a whole number from 1 to 1000, not "0"'],
  [["passthrough", "--only", "squid"], 'no chosen bench has a subject "squid"'],
  [["passthrough", "--quick", "--write-results"], "leave out --quick and --only"],
  [["passthrough", "--only", "direct", "--write-results"], "leave out --quick and --only"],
])("refuses %j in one line and measures nothing", async (args, message) => {
  const { code, out, err } = await bench(...args);
  expect({ code, out }).toEqual({ code: 2, out: "" });
  expect(err).toContain(message);
  expect(err.trimEnd().split("\n")).toHaveLength(1);
});
