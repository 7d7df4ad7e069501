/** The Telemetry API: subscriptions, events, batches, and what happens when nobody takes them. */
import { createServer, type IncomingMessage } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { describe, expect, test } from "vitest";
import { Budgets } from "../../../adapters/local/budget.ts";
import { TelemetryRelay } from "../../../adapters/local/telemetry-relay.ts";
import { parseSubscription } from "../../../adapters/local/telemetry-subscription.ts";
import { systemClock } from "../../../src/clock.ts";
import { refusal, requestIdOf } from "./kit/api.ts";
import { emulate, eventually, exitsWhenTold, INERT } from "./kit/emulate.ts";

interface TelemetryEvent {
  time: string;
  type: string;
  // biome-ignore lint/suspicious/noExplicitAny: records are looked at field by field
  record: any;
}

/** A listener as an extension has it; `status` is asked for every batch. */
async function listener(status: (batch: number) => number = () => 200) {
  const events: TelemetryEvent[] = [];
  const requests: { url: string; host: string; type: string }[] = [];
  const server = createServer(async (request: IncomingMessage, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const code = status(requests.length);
    requests.push({
      url: request.url!,
      host: request.headers.host!,
      type: request.headers["content-type"]!,
    });
    if (code === 200) events.push(...JSON.parse(Buffer.concat(chunks).toString()));
    response.writeHead(code).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    events,
    requests,
    of: (type: string) => events.filter((event) => event.type === type).map(({ record }) => record),
    subscription: (rest: object = {}) => ({
      schemaVersion: "2022-12-13",
      types: ["platform", "function", "extension"],
      buffering: { maxItems: 1000, maxBytes: 262_144, timeoutMs: 25 },
      destination: { protocol: "HTTP", URI: `http://sandbox.localdomain:${port}/lambda?x=1` },
      ...rest,
    }),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe("a subscription", () => {
  const valid = {
    schemaVersion: "2022-12-13",
    types: ["platform"],
    destination: { protocol: "HTTP", URI: "http://sandbox.localdomain:4243/path" },
  };
  const parse = (change: object) => parseSubscription(JSON.stringify({ ...valid, ...change }));

  test("has defaults for its buffering", () => {
    expect(parse({})).toEqual({
      schemaVersion: "2022-12-13",
      categories: new Set(["platform"]),
      maxItems: 10_000,
      maxBytes: 262_144,
      timeoutMs: 1_000,
      destination: { protocol: "HTTP", port: 4243, path: "/path", host: "sandbox.localdomain:4243" },
    });
  });

  test.each([
    { buffering: { maxItems: 1_000, maxBytes: 1_048_576, timeoutMs: 25 } },
    { buffering: { maxItems: 10_000, maxBytes: 262_144, timeoutMs: 30_000 } },
    { schemaVersion: "2022-07-01" },
    { schemaVersion: "2025-01-29" },
    { destination: { protocol: "TCP", port: 4243 } },
    { types: ["platform", "function", "extension"] },
  ])("with %o is accepted", (change) => {
    expect(parse(change)).toBeTypeOf("object");
  });

  test.each([
    [{ schemaVersion: "2021-01-01" }, "schemaVersion must be one of"],
    [{ types: [] }, "types must be a non-empty list"],
    [{ types: ["everything"] }, "types must be a non-empty list"],
    [{ buffering: { maxItems: 999 } }, "buffering.maxItems must be an integer from 1000 to 10000"],
    [{ buffering: { maxItems: 10_001 } }, "buffering.maxItems"],
    [{ buffering: { maxBytes: 262_143 } }, "buffering.maxBytes must be an integer from 262144 to 1048576"],
    [{ buffering: { timeoutMs: 24 } }, "buffering.timeoutMs must be an integer from 25 to 30000"],
    [{ buffering: { timeoutMs: 30_001 } }, "buffering.timeoutMs"],
    [{ buffering: { timeoutMs: 25.5 } }, "buffering.timeoutMs"],
    [{ destination: undefined }, "destination is required"],
    [{ destination: { protocol: "UDP" } }, "destination.protocol must be HTTP or TCP"],
    [{ destination: { protocol: "TCP", port: 0 } }, "destination.port must be an integer from 1 to 65535"],
    [{ destination: { protocol: "TCP", port: 9001 } }, "port 9001 is reserved"],
    [{ destination: { protocol: "HTTP", URI: "http://sandbox.localdomain:9001" } }, "port 9001 is reserved"],
    [{ destination: { protocol: "HTTP", URI: "https://sandbox.localdomain:1" } }, "must use http"],
    [{ destination: { protocol: "HTTP", URI: "http://example.com:1" } }, "host must be sandbox.localdomain"],
    [{ destination: { protocol: "HTTP" } }, "destination.URI must be a URI"],
  ])("with %o is refused", (change, message) => {
    expect(parse(change)).toContain(message);
  });

  test("is answered OK, may be replaced while the init lasts, and is refused afterwards", async () => {
    await using replaced = await listener();
    await using taken = await listener();
    await using subject = await emulate({ extensions: { a: INERT } });
    const id = await subject.api.registered("a", []);
    expect(await subject.api.subscribe(id, "{")).toMatchObject({ status: 400 });
    expect(JSON.parse((await subject.api.subscribe(id, {})).text)).toMatchObject({
      errorType: "ValidationError",
    });
    await subject.api.subscribe(id, replaced.subscription({ buffering: { timeoutMs: 30_000 } }));
    expect(await subject.api.subscribe(id, taken.subscription())).toMatchObject({
      status: 200,
      text: '"OK"',
    });
    void subject.api.extensionNext(id);
    await subject.happened("runtime-start");
    void subject.api.next();
    await subject.emulator.init;
    expect(await subject.api.subscribe(id, taken.subscription())).toMatchObject({
      status: 403,
      text: refusal("Telemetry.SubscriptionClosed", "Telemetry API subscription is closed"),
    });
    await eventually(() => taken.of("platform.initReport")[0]);
    expect(replaced.events).toEqual([]);
  });

  test("to the older Logs API is answered as not supported", async () => {
    await using subject = await emulate();
    const reply = await subject.api.call("PUT", "/2020-08-15/logs", { body: "{}" });
    expect(reply).toMatchObject({
      status: 202,
      text: refusal("Logs.NotSupported", "Logs API is not supported"),
    });
  });
});

describe("the events", () => {
  const speaking = '#!/bin/sh\necho "from the function"\nexec sleep 600\n';
  const extension = '#!/bin/sh\necho "from the extension"\nexec sleep 600\n';

  test("of an init and an invocation arrive in order, with the records of the schema", async () => {
    await using sink = await listener();
    await using subject = await emulate(
      { extensions: { a: extension, b: INERT }, task: { bootstrap: speaking } },
      { memoryMb: 256 },
    );
    // Whoever subscribes late is told what came before.
    await eventually(() => subject.logs.find(({ text }) => text === "from the extension"));
    const a = await subject.api.registered("a", ["INVOKE", "SHUTDOWN"]);
    await subject.api.subscribe(a, sink.subscription());
    const b = await subject.api.registered("b", []);
    const eventA = subject.api.extensionNext(a);
    void subject.api.extensionNext(b);
    await subject.happened("runtime-start");
    const next = subject.api.next();
    await subject.emulator.init;
    const traceId = "Root=1-5f35ae12-0c0fec141ab77a00bc047aa2;Parent=2be948a625588e32;Sampled=1";
    const invoked = subject.emulator.invoke("{}", { traceId });
    await eventA;
    await subject.api.respond(requestIdOf(await next), { body: "0123456789" });
    void subject.api.next();
    void subject.api.extensionNext(a);
    const { requestId } = await invoked;
    await eventually(() => sink.of("platform.report")[0]);

    expect(sink.requests[0]).toEqual({
      url: "/lambda?x=1",
      host: `sandbox.localdomain:${sink.port}`,
      type: "application/json",
    });
    for (const { time } of sink.events) expect(time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    expect(sink.of("extension")).toEqual(["from the extension"]);
    expect(sink.of("function")).toEqual(["from the function"]);
    const platform = sink.events.map(({ type }) => type).filter((type) => type.startsWith("platform."));
    expect(platform).toEqual([
      "platform.initStart",
      "platform.telemetrySubscription",
      "platform.initRuntimeDone",
      "platform.extension",
      "platform.extension",
      "platform.initReport",
      "platform.start",
      "platform.runtimeDone",
      "platform.report",
    ]);
    const init = { initializationType: "on-demand", phase: "init" };
    expect(sink.of("platform.initStart")[0]).toEqual({
      ...init,
      runtimeVersion: "provided.al2023",
      functionName: "function",
      functionVersion: "$LATEST",
      instanceId: subject.emulator.options.logStreamName,
      instanceMaxMemory: 268_435_456,
    });
    expect(sink.of("platform.telemetrySubscription")[0]).toEqual({
      name: "a",
      state: "Subscribed",
      types: ["platform", "function", "extension"],
    });
    expect(sink.of("platform.initRuntimeDone")[0]).toEqual({ ...init, status: "success" });
    expect(sink.of("platform.extension")).toEqual([
      { name: "a", state: "Ready", events: ["INVOKE", "SHUTDOWN"] },
      { name: "b", state: "Ready", events: [] },
    ]);
    expect(sink.of("platform.initReport")[0]).toEqual({
      ...init,
      status: "success",
      metrics: { durationMs: expect.any(Number) },
    });
    const tracing = { spanId: "2be948a625588e32", type: "X-Amzn-Trace-Id", value: traceId };
    expect(sink.of("platform.start")[0]).toEqual({ requestId, version: "$LATEST", tracing });
    const span = (name: string) => ({
      name,
      start: expect.stringMatching(/Z$/),
      durationMs: expect.any(Number),
    });
    expect(sink.of("platform.runtimeDone")[0]).toEqual({
      requestId,
      status: "success",
      metrics: { durationMs: expect.any(Number), producedBytes: 10 },
      spans: ["responseLatency", "responseDuration", "runtimeOverhead"].map(span),
      tracing,
    });
    expect(sink.of("platform.report")[0]).toEqual({
      requestId,
      status: "success",
      metrics: {
        durationMs: expect.any(Number),
        billedDurationMs: expect.any(Number),
        memorySizeMB: 256,
        maxMemoryUsedMB: expect.any(Number),
        initDurationMs: expect.any(Number),
      },
      spans: [span("extensionOverhead")],
      tracing,
    });
  });

  test("of a crash carry its type, and arrive before the extension is told to end", async () => {
    await using sink = await listener();
    await using subject = await emulate({
      extensions: { a: exitsWhenTold("done", 0) },
      task: { bootstrap: exitsWhenTold("go", 3) },
    });
    const id = await subject.api.registered("a", ["SHUTDOWN"]);
    await subject.api.subscribe(id, sink.subscription({ types: ["platform"] }));
    const shutdown = subject.api.extensionNext(id);
    await subject.happened("runtime-start");
    const next = subject.api.next();
    await subject.emulator.init;
    const invoked = subject.emulator.invoke("{}");
    await next;
    await subject.tell("go");
    await shutdown;
    const report = await eventually(() => sink.of("platform.report")[0]);
    expect(report).toMatchObject({ status: "error", errorType: "Runtime.ExitError" });
    expect(sink.of("platform.runtimeDone")[0]).toMatchObject({
      status: "error",
      errorType: "Runtime.ExitError",
    });
    await subject.tell("done");
    await invoked;
  });

  test("go over TCP one a line", async () => {
    let text = "";
    const server = createTcpServer((socket) => void socket.on("data", (chunk) => (text += chunk)));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    await using subject = await emulate({ extensions: { a: INERT } });
    const id = await subject.api.registered("a", []);
    await subject.api.subscribe(id, {
      schemaVersion: "2022-12-13",
      types: ["platform"],
      buffering: { timeoutMs: 25 },
      destination: { protocol: "TCP", port },
    });
    void subject.api.extensionNext(id);
    await subject.happened("runtime-start");
    void subject.api.next();
    await subject.emulator.init;
    await eventually(() => text.includes("platform.initReport") || undefined);
    const types = text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line).type);
    expect(types.slice(0, 2)).toEqual(["platform.initStart", "platform.telemetrySubscription"]);
    server.close();
  });
});

describe("a listener", () => {
  const relayTo = async (sink: Awaited<ReturnType<typeof listener>>, change: object = {}) => {
    const budgets = new Budgets(systemClock);
    const relay = new TelemetryRelay(budgets);
    const subscription = parseSubscription(JSON.stringify(sink.subscription(change)));
    if (typeof subscription === "string") throw new Error(subscription);
    relay.subscribe("a", subscription);
    return { relay, budgets };
  };

  test("that refuses a batch gets it again", async () => {
    await using sink = await listener((batch) => (batch < 2 ? 500 : 200));
    const { relay } = await relayTo(sink);
    relay.emit("function", "function", "precious", 0);
    await eventually(() => sink.of("function")[0]);
    expect(sink.requests).toHaveLength(3);
    expect(sink.of("platform.logsDropped")).toEqual([]);
    relay.close();
  });

  test("that refuses for good is told how much it has missed with the next batch that it takes", async () => {
    let broken = true;
    await using sink = await listener(() => (broken ? 500 : 200));
    const { relay } = await relayTo(sink);
    for (const [round, text] of ["lost", "lost too"].entries()) {
      relay.emit("function", "function", text, 0);
      await eventually(() => sink.requests.length === 4 * (round + 1) || undefined);
    }
    broken = false;
    for (const text of ["kept", "kept too"]) {
      relay.emit("function", "function", text, 0);
      await eventually(() => sink.of("function").includes(text) || undefined);
    }
    expect(sink.of("function")).toEqual(["kept", "kept too"]);
    expect(sink.of("platform.logsDropped")).toEqual([
      { droppedBytes: expect.any(Number), droppedRecords: 2, reason: "the listener answered 500" },
    ]);
    expect(sink.events[0]!.type).toBe("platform.logsDropped");
    relay.close();
  });

  test("gets a batch as soon as it is full", async () => {
    await using sink = await listener();
    const { relay } = await relayTo(sink, { buffering: { maxItems: 1000, timeoutMs: 30_000 } });
    for (let i = 0; i < 2_500; i++) relay.emit("function", "function", `line ${i}`, 0);
    await eventually(() => sink.events.length === 2_000 || undefined);
    expect(sink.requests).toHaveLength(2);
    relay.flush();
    await eventually(() => sink.events.length === 2_500 || undefined);
    relay.close();
  });

  test("gets nothing while the sandbox is frozen", async () => {
    await using sink = await listener();
    const { relay, budgets } = await relayTo(sink);
    budgets.pause();
    relay.emit("function", "function", "held", 0);
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(sink.requests).toEqual([]);
    budgets.resume();
    await eventually(() => sink.of("function")[0]);
    relay.close();
  });

  test("gets logs as objects when the function logs JSON, and as text under the first schema", async () => {
    for (const [schemaVersion, record] of [
      ["2022-12-13", { level: "INFO" }],
      ["2022-07-01", '{"level":"INFO"}'],
    ] as const) {
      await using sink = await listener();
      await using subject = await emulate(
        {
          extensions: { a: INERT },
          task: { bootstrap: '#!/bin/sh\necho \'{"level":"INFO"}\'\nexec sleep 600\n' },
        },
        { logFormat: "JSON" },
      );
      const id = await subject.api.registered("a", []);
      await subject.api.subscribe(id, sink.subscription({ schemaVersion, types: ["function"] }));
      expect(await eventually(() => sink.of("function")[0])).toEqual(record);
    }
  });
});
