/** The room as a whole: lines, summaries, flushes, and no secret in any of them. */
import { execFile, execFileSync, spawn } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, readFileSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Body } from "../../src/body.ts";
import { systemClock, VirtualClock } from "../../src/clock.ts";
import type { TelemetryConfig } from "../../src/config/types.ts";
import { EgressError } from "../../src/errors.ts";
import { EgressResponse, type Send } from "../../src/exchange.ts";
import { Lifecycle } from "../../src/lifecycle.ts";
import { factsOf } from "../../src/telemetry/facts.ts";
import { prometheusText } from "../../src/telemetry/prometheus.ts";
import { createTelemetry, keepsLine, type Telemetry } from "../../src/telemetry/telemetry.ts";
import { anAttempt, answering, aRequest, aResponse, CONFIG, MemoryLog, makeCall } from "./calls.ts";

let clock: VirtualClock;
let lifecycle: Lifecycle;
let log: MemoryLog;

beforeEach(() => {
  clock = new VirtualClock(1000);
  lifecycle = new Lifecycle(clock);
  lifecycle.ready();
  log = new MemoryLog();
});

function aRoom(config: Partial<TelemetryConfig> = {}, random: () => number = () => 0.5): Telemetry {
  return createTelemetry(
    { ...CONFIG, ...config },
    { clock, lifecycle, version: "0123456789ab", random, openLog: async () => log },
  );
}

function invoke(id: string, timeoutMs = 3000): void {
  lifecycle.workStarted(id, clock.wall() + timeoutMs, "");
}

const good = factsOf(aRequest(), aResponse(200), null, 1);
const failed = factsOf(aRequest(), aResponse(503), null, 1);
const sampling: readonly [TelemetryConfig["accessLog"], number, "good" | "failed", number, boolean][] = [
  ["all", 0, "good", 0.99, true],
  ["all", 0, "failed", 0.99, true],
  ["off", 1, "good", 0, false],
  ["off", 1, "failed", 0, false],
  ["sampled", 0.1, "good", 0.09, true],
  ["sampled", 0.1, "good", 0.1, false],
  ["sampled", 0, "good", 0, false],
  ["sampled", 1, "good", 0.999, true],
  ["sampled", 0, "failed", 0.99, true],
];

test.each(sampling)(
  "access log %s at ratio %d, a %s call, chance %d: line %s",
  (accessLog, sampleRatio, what, chance, line) => {
    expect(
      keepsLine({ ...CONFIG, accessLog, sampleRatio }, what === "good" ? good : failed, () => chance),
    ).toBe(line);
  },
);

describe("an invocation", () => {
  test("leaves one line per call and then one summary, written before workFinished resolves", async () => {
    const room = aRoom();
    await room.start();
    invoke("inv-1");
    const send = room.observe("payments", "charges")(answering(200, [anAttempt({ connectedMs: 1001 })]));
    await makeCall(send, aRequest({ id: "c-1", startedMs: 1000 }));
    await clock.advance(30);
    await makeCall(send, aRequest({ id: "c-2", startedMs: 1010 }));
    await lifecycle.workFinished();
    expect(log.lines.map((line) => line.fields.event)).toEqual(["call", "call", "summary"]);
    expect(log.of("call")[1]).toMatchObject({
      call_id: "c-2",
      invocation_id: "inv-1",
      destination: "payments",
      route: "charges",
      total_ms: 20,
      bytes_down: 4,
      policy_version: "0123456789ab",
    });
    expect(log.of("summary")).toMatchObject([
      {
        invocation_id: "inv-1",
        occasion: "finished",
        cold_start: true,
        calls: 2,
        duration_ms: 30,
        blocked_ms: 20,
      },
    ]);
  });

  test("is named by a call that began before word of it came, if it is the first", async () => {
    const room = aRoom();
    await room.start();
    const request = aRequest();
    const { promise, resolve } = Promise.withResolvers<EgressResponse>();
    const sent = room.observe("payments", "default")(() => promise)(request);
    invoke("inv-1");
    resolve(aResponse(200));
    await sent;
    request.settled.fire({ error: null });
    await lifecycle.workFinished();
    expect(log.of("call")).toMatchObject([{ invocation_id: "inv-1" }]);
  });

  test("whose end the host never heard of gets its summary when the next one begins", async () => {
    const room = aRoom();
    await room.start();
    invoke("inv-1");
    await makeCall(room.observe("payments", "default")(answering(200)));
    invoke("inv-2");
    await lifecycle.workFinished();
    expect(log.of("summary")).toMatchObject([
      { invocation_id: "inv-1", occasion: "superseded", calls: 1, cold_start: true },
      { invocation_id: "inv-2", occasion: "finished", calls: 0, cold_start: false },
    ]);
  });

  test("that timed out gets its summary at shutdown, with the call that hung", async () => {
    const room = aRoom();
    await room.start();
    invoke("inv-1");
    const request = aRequest({ startedMs: 1000 });
    void room.observe("slow", "default")(() => new Promise(() => {}))(request);
    await clock.advance(3000);
    const drained = lifecycle.drain(clock.now() + 1500);
    request.settled.fire({ error: new EgressError("CLIENT_GONE", "the runtime was stopped") });
    await drained;
    expect(log.of("summary")).toMatchObject([
      {
        invocation_id: "inv-1",
        occasion: "drained",
        calls: 1,
        open_calls: 0,
        failures: { CLIENT_GONE: 1 },
        blocked_ms: 3000,
      },
    ]);
    expect(log.of("summary")[0]!.slowest).toMatchObject({ destination: "slow", total_ms: 3000 });
  });

  test("that is shut down with a call that never ends gets its summary well before the deadline", async () => {
    const room = aRoom();
    await room.start();
    invoke("inv-1");
    void room.observe("slow", "default")(() => new Promise(() => {}))(aRequest({ startedMs: 1000 }));
    const drained = lifecycle.drain(clock.now() + 1500);
    await clock.advance(1000);
    await drained;
    expect(log.of("summary")).toMatchObject([
      { occasion: "drained", calls: 0, open_calls: 1, blocked_ms: 1000 },
    ]);
  });

  test("that was told of is not told of again at shutdown", async () => {
    const room = aRoom();
    await room.start();
    invoke("inv-1");
    await lifecycle.workFinished();
    await lifecycle.drain(clock.now() + 1500);
    expect(log.of("summary")).toHaveLength(1);
  });

  test("is followed at shutdown by the calls that came after it", async () => {
    const room = aRoom();
    await room.start();
    invoke("inv-1");
    await lifecycle.workFinished();
    await makeCall(room.observe("payments", "default")(answering(200)));
    await lifecycle.drain(clock.now() + 1500);
    expect(log.of("summary")[1]).toMatchObject({ occasion: "drained", calls: 1, cold_start: false });
  });

  test("leaves no summary when the policy wants none", async () => {
    const room = aRoom({ summary: false });
    await room.start();
    invoke("inv-1");
    await makeCall(room.observe("payments", "default")(answering(200)));
    await lifecycle.workFinished();
    await lifecycle.drain(clock.now() + 1500);
    expect(log.lines.map((line) => line.fields.event)).toEqual(["call"]);
  });
});

describe("a log that never drains", () => {
  test("holds the end of an invocation for flushCapMs and no longer", async () => {
    const room = aRoom({ flushCapMs: 20 });
    await room.start();
    log.stick();
    invoke("inv-1");
    let over = false;
    void lifecycle.workFinished().then(() => void (over = true));
    await clock.advance(19);
    expect(over).toBe(false);
    await clock.advance(1);
    expect(over).toBe(true);
  });

  test("holds a shutdown for 500 ms and no longer", async () => {
    const room = aRoom();
    await room.start();
    log.stick();
    invoke("inv-1");
    void lifecycle.drain(clock.now() + 10_000);
    await clock.advance(499);
    expect(lifecycle.phase).toBe("draining");
    await clock.advance(1);
    expect(lifecycle.phase).toBe("gone");
  });

  test("holds a shutdown to its deadline when that is nearer", async () => {
    const room = aRoom();
    await room.start();
    log.stick();
    invoke("inv-1");
    void lifecycle.drain(clock.now() + 100);
    await clock.advance(100);
    expect(lifecycle.phase).toBe("gone");
  });
});

test("records made before start are written by it", async () => {
  const room = aRoom();
  invoke("inv-1");
  await makeCall(room.observe("payments", "default")(answering(200)));
  expect(log.lines).toEqual([]);
  await room.start();
  await room.flush(1000);
  expect(log.of("call")).toHaveLength(1);
});

test("a log that cannot be opened is a problem in one sentence and a counter, not an exception", async () => {
  const room = createTelemetry(
    { ...CONFIG, destination: "file:/dev/null/log" },
    { clock, lifecycle, version: "v" },
  );
  await room.start();
  expect(room.problem).toMatch(/^telemetry\.destination \/dev\/null\/log cannot be opened \(ENOTDIR\): /);
  await makeCall(room.observe("payments", "default")(answering(200)));
  await room.flush(1000);
  expect(room.metrics().droppedRecords).toBe(1);
});

test("with neither lines nor summaries the log is not even opened", async () => {
  let opened = false;
  const room = createTelemetry(
    { ...CONFIG, accessLog: "off", summary: false },
    { clock, lifecycle, version: "v", openLog: async () => void (opened = true) as unknown as MemoryLog },
  );
  await room.start();
  await makeCall(room.observe("payments", "default")(answering(200)));
  await room.flush(1000);
  expect(opened).toBe(false);
  expect(room.metrics().destinations[0]!.calls["2xx"]).toBe(1);
});

test("an exception inside telemetry is counted and the call goes on", async () => {
  const room = aRoom({ accessLog: "sampled", sampleRatio: 0.5 }, () => {
    throw new Error("no entropy");
  });
  await makeCall(room.observe("payments", "default")(answering(200)));
  expect(room.metrics()).toMatchObject({ internalErrors: 1, openCalls: 0 });
  expect(room.metrics().destinations[0]!.calls["2xx"]).toBe(1);
});

test("the metrics know how many calls are open", async () => {
  const room = aRoom();
  const request = aRequest();
  await room.observe("payments", "default")(answering(200))(request);
  expect(room.metrics().openCalls).toBe(1);
  request.settled.fire({ error: null });
  expect(room.metrics().openCalls).toBe(0);
});

describe("a secret", () => {
  const CANARY = "c4n4ry-5ecret-9f2b";
  const encoded = encodeURIComponent(`https://user:${CANARY}@h/?token=${CANARY}`);
  const fields = [
    `Authorization: Bearer ${CANARY}`,
    `Proxy-Authorization: Basic ${CANARY}`,
    `Cookie: session=${CANARY}`,
    `X-Amz-Security-Token: ${CANARY}`,
    `X-Api-Key: ${CANARY}`,
    `tracestate: ${CANARY}`,
    "",
  ].join("\r\n");
  const paths = [
    `/x?X-Amz-Signature=${CANARY}&X-Amz-Security-Token=${CANARY}&X-Amz-Credential=${CANARY}`,
    `/x?token=${CANARY}&sig=${CANARY}&signature=${CANARY}&apikey=${CANARY}&client_secret=${CANARY}`,
    `/x;jsessionid=${CANARY}#access_token=${CANARY}`,
    `/proxy/https://user:${CANARY}@host/x`,
    `/x?next=${encoded}`,
    `/x?next=${encodeURIComponent(encoded)}`,
    `/${"long/".repeat(195)}?a=1&token=${CANARY}`,
  ];
  const errors = [
    new EgressError("INTERNAL", `Authorization: Bearer ${CANARY}`, new Error(`bad cookie: ${CANARY}`)),
    new EgressError("CONNECT_FAILED", `cannot reach https://user:${CANARY}@host/?token=${CANARY}`),
    new EgressError("TLS_FAILED", `-----BEGIN PRIVATE KEY-----\n${CANARY}\n-----END PRIVATE KEY-----`),
    new EgressError(
      "UPSTREAM_INVALID",
      "x",
      Object.assign(new Error(CANARY), { code: `E ${CANARY}`, name: "Error" }),
    ),
  ];
  const sends: readonly Send[] = [
    async () =>
      new EgressResponse(
        200,
        CANARY,
        `Set-Cookie: a=${CANARY}\r\nX-Amzn-Trace-Id: ${CANARY}\r\n`,
        Body.of(CANARY),
      ),
    ...errors.map(
      (error): Send =>
        () =>
          Promise.reject(error),
    ),
  ];

  test("in any input of a call is in no line, no summary and no metric", async () => {
    const folder = mkdtempSync(join(tmpdir(), "outrider-canary-"));
    try {
      const file = join(folder, "log");
      const room = createTelemetry(
        { ...CONFIG, flushCapMs: 60_000, destination: `file:${file}` },
        { clock: systemClock, lifecycle, version: "v" },
      );
      await room.start();
      invoke("inv-1");
      for (const path of paths) {
        for (const send of sends) {
          const request = aRequest({
            path,
            fields,
            host: `user:${CANARY}@api.example`,
            body: Body.of(CANARY),
          });
          await makeCall(room.observe("payments", "default")(send), request);
        }
      }
      await lifecycle.workFinished();
      const text = readFileSync(file, "utf8");
      expect(text.trimEnd().split("\n")).toHaveLength(paths.length * sends.length + 1);
      expect(text).toContain("REDACTED");
      expect(text).toContain("api.example");
      expect(text).not.toContain(CANARY);
      expect(prometheusText(room.metrics())).not.toContain(CANARY);
      expect(JSON.stringify(room.metrics())).not.toContain(CANARY);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test("would be found by this test where nothing hides it", async () => {
    const room = aRoom();
    await room.start();
    await makeCall(
      room.observe("payments", "default")(answering(200)),
      aRequest({ path: `/open/${CANARY}` }),
    );
    await room.flush(1000);
    expect(JSON.stringify(log.lines)).toContain(CANARY);
  });
});

describe("a process of its own", () => {
  const source = (file: string) =>
    JSON.stringify(fileURLToPath(new URL(`../../src/${file}`, import.meta.url)));
  const preamble = `
    import { createTelemetry } from ${source("telemetry/telemetry.ts")};
    import { Lifecycle } from ${source("lifecycle.ts")};
    import { systemClock } from ${source("clock.ts")};
    import { EgressRequest, EgressResponse } from ${source("exchange.ts")};
    import { EMPTY_BODY } from ${source("body.ts")};
    const lifecycle = new Lifecycle(systemClock);
    const config = { accessLog: "all", sampleRatio: 1, summary: true, flushCapMs: 50, destination: "stdout" };
    const room = createTelemetry(config, { clock: systemClock, lifecycle, version: "v" });
    const send = room.observe("payments", "default")(async () => new EgressResponse(200, "", "", EMPTY_BODY));
    const call = async (path) => {
      const request = new EgressRequest({ method: "GET", scheme: "http", host: "h", port: 80, path, fields: "" });
      await send(request);
      request.settled.fire({ error: null });
    };
    lifecycle.workStarted("inv-1", Infinity, "");
  `;
  let folder = "";
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "outrider-process-"));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  test("loads pino only when telemetry starts", async () => {
    const script = `${preamble}
      import { createRequire } from "node:module";
      const { cache } = createRequire(import.meta.url);
      const loaded = () => Object.keys(cache).some((file) => file.includes("node_modules/pino/"));
      await call("/x");
      const before = loaded();
      await room.start();
      console.error(JSON.stringify({ before, after: loaded() }));
      process.exit(0);
    `;
    const { stderr } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script]);
    expect(JSON.parse(stderr)).toEqual({ before: false, after: true });
  });

  test("whose stdout is a full pipe serves on, flushes under its cap and exits by itself", async () => {
    const path = join(folder, "pipe");
    execFileSync("mkfifo", [path]);
    const reader = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
    const stdout = openSync(path, constants.O_WRONLY);
    const script = `${preamble}
      await room.start();
      for (let n = 0; n < 500; n++) await call("/" + n + "/".padEnd(900, "x"));
      await lifecycle.workFinished();
      console.error(JSON.stringify(room.metrics().destinations[0].calls));
      process.exit(7);
    `;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", stdout, "pipe"],
    });
    closeSync(stdout);
    let stderr = "";
    child.stderr!.setEncoding("utf8").on("data", (text: string) => void (stderr += text));
    const code = await new Promise((resolve) => child.once("close", resolve));
    expect(stderr).toContain('"2xx":500');
    expect(code).toBe(7);
    const bytes = Buffer.alloc(1 << 20);
    const text = bytes.latin1Slice(0, readSync(reader, bytes));
    closeSync(reader);
    const whole = text.slice(0, text.lastIndexOf("\n")).split("\n");
    expect(whole.length).toBeGreaterThan(10);
    for (const line of whole) expect(JSON.parse(line)).toMatchObject({ event: "call", status: 200 });
  });

  test("leaves the flags of a pipe that it shares alone", async () => {
    const path = join(folder, "pipe");
    execFileSync("mkfifo", [path]);
    const reader = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
    const stdout = openSync(path, constants.O_WRONLY);
    const script = `${preamble}
      import { readFileSync } from "node:fs";
      await room.start();
      await call("/x");
      await room.flush(1000);
      console.error(readFileSync("/proc/self/fdinfo/1", "utf8"));
      process.exit(0);
    `;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", stdout, "pipe"],
    });
    let stderr = "";
    child.stderr!.setEncoding("utf8").on("data", (text: string) => void (stderr += text));
    await new Promise((resolve) => child.once("close", resolve));
    closeSync(stdout);
    const flags = Number.parseInt(/^flags:\s+([0-7]+)$/m.exec(stderr)![1]!, 8);
    expect(flags & constants.O_NONBLOCK).toBe(0);
    const bytes = Buffer.alloc(10_000);
    expect(JSON.parse(bytes.latin1Slice(0, readSync(reader, bytes)))).toMatchObject({
      event: "call",
      path: "/x",
    });
    closeSync(reader);
  });
});
