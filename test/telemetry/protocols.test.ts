/** What is noted of gRPC calls, of HTTP/2 and of tunnels. */
import { PassThrough } from "node:stream";
import { describe, expect, test } from "vitest";
import { Body } from "../../src/body.ts";
import { VirtualClock } from "../../src/clock.ts";
import { EgressError } from "../../src/errors.ts";
import { EgressResponse, type TrailEntry } from "../../src/exchange.ts";
import { Lifecycle } from "../../src/lifecycle.ts";
import { factsOf } from "../../src/telemetry/facts.ts";
import { Metrics } from "../../src/telemetry/metrics.ts";
import { levelOf, recordOf } from "../../src/telemetry/record.ts";
import { createTelemetry } from "../../src/telemetry/telemetry.ts";
import { anAttempt, aRequest, aResponse, CONFIG, MemoryLog, makeCall } from "./calls.ts";

const context = { invocationId: "", destination: "d", route: "", policyVersion: "v", wallMs: 0 };
const grpc = (status: number): TrailEntry => ({ kind: "grpc", status });
const tunnelOf = (bytesUp: number, bytesDown: number): TrailEntry => ({ kind: "tunnel", bytesUp, bytesDown });

function recordFor(request: ReturnType<typeof aRequest>, error: EgressError | null = null) {
  return recordOf(request, factsOf(request, aResponse(), error, 1), context);
}

describe("a gRPC call", () => {
  test.each([
    [0, "info", false],
    [5, "warn", true],
    [14, "warn", true],
  ])("with status %d under HTTP's 200 is a line of level %s", (status, level, failed) => {
    const request = aRequest({}, [anAttempt(), grpc(status)]);
    const facts = factsOf(request, aResponse(200), null, 1);
    expect(facts).toMatchObject({ grpcStatus: status, failed, remarkable: failed });
    const record = recordOf(request, facts, context);
    expect(record).toMatchObject({ status: 200, grpc_status: status });
    expect(levelOf(record)).toBe(level);
  });

  test("has the status of its last attempt, and none when that had none", () => {
    const twice = aRequest({}, [anAttempt(), grpc(14), anAttempt(), grpc(0)]);
    expect(recordFor(twice).grpc_status).toBe(0);
    const reset = new EgressError("CONNECT_FAILED", "x");
    const lost = aRequest({}, [anAttempt(), grpc(14), anAttempt({ error: reset })]);
    expect(recordFor(lost, reset).grpc_status).toBeUndefined();
  });

  test("that is none has no such field in its line", () => {
    expect(JSON.parse(JSON.stringify(recordFor(aRequest())))).not.toHaveProperty("grpc_status");
  });

  test("counts in the metrics by its status, and only statuses that were seen are shown", () => {
    const metrics = new Metrics();
    const series = metrics.series("d");
    for (const status of [14, 0, 14, 16]) {
      series.add(factsOf(aRequest({}, [grpc(status)]), aResponse(), null, 1));
    }
    series.add(factsOf(aRequest(), aResponse(), null, 1));
    expect(metrics.snapshot()[0]!.grpcResponses).toEqual([
      { status: 0, count: 1 },
      { status: 14, count: 2 },
      { status: 16, count: 1 },
    ]);
  });

  test("that failed is named by its status in the summary", async () => {
    const { room, log, lifecycle } = await aRoom();
    lifecycle.workStarted("inv-1", Number.POSITIVE_INFINITY, "");
    const send = room.observe(
      "d",
      "",
    )(async (request) => {
      request.trail.push(grpc(14));
      return aResponse();
    });
    await makeCall(send);
    await lifecycle.workFinished();
    expect(log.of("summary")).toMatchObject([{ failed: 1, failures: { GRPC_14: 1 } }]);
    expect((await room.prometheus()).text).toContain(
      'outrider_grpc_responses_total{destination="d",grpc_status="14"} 1',
    );
  });
});

describe("a line says what the application speaks", () => {
  test.each([
    ["HTTP/1.1", { httpVersion: 1 }, "1.1"],
    ["HTTP/2", { httpVersion: 2 }, "2"],
    ["nothing that is known, through CONNECT", { method: "CONNECT" }, undefined],
  ] as const)("%s", (_, parts, expected) => {
    expect(recordFor(aRequest(parts)).http_version).toBe(expected);
  });
});

describe("a tunnel", () => {
  test("counts in the metrics with its bytes and the time that it was open", () => {
    const metrics = new Metrics();
    const series = metrics.series("db");
    series.add(factsOf(aRequest({ startedMs: 1000 }, [tunnelOf(7, 9)]), aResponse(), null, 3500));
    series.add(factsOf(aRequest({ startedMs: 1000 }, [tunnelOf(1, 1)]), aResponse(), null, 1500));
    series.add(factsOf(aRequest(), aResponse(200, "12345"), null, 1));
    expect(metrics.snapshot()[0]).toMatchObject({
      bytesUp: 8,
      bytesDown: 15,
      tunnels: { count: 2, openMs: 3000, bytesUp: 8, bytesDown: 10 },
    });
  });

  test("is among the open ones from its answer to its end, and its line tells bytes and duration", async () => {
    const { room, log, clock } = await aRoom();
    const send = room.observe(
      "db",
      "",
    )(async () => {
      const tunnel = { socket: new PassThrough(), head: new Uint8Array(0), protocol: "" };
      return new EgressResponse(200, "", "", Body.of(""), tunnel);
    });
    const request = aRequest({ method: "CONNECT", startedMs: clock.now() });
    await send(request);
    expect(room.metrics()).toMatchObject({ openCalls: 1, openTunnels: 1 });
    await clock.advance(2500);
    request.trail.push(tunnelOf(7, 9));
    request.settled.fire({ error: null });
    expect(room.metrics()).toMatchObject({ openCalls: 0, openTunnels: 0 });
    await room.flush(0);
    expect(log.of("call")).toMatchObject([{ bytes_up: 7, bytes_down: 9, total_ms: 2500 }]);
    const { text } = await room.prometheus();
    expect(text.split("\n")).toEqual(
      expect.arrayContaining([
        'outrider_tunnels_total{destination="db"} 1',
        'outrider_tunnel_seconds_total{destination="db"} 2.5',
        'outrider_tunnel_bytes_total{destination="db",direction="up"} 7',
        'outrider_tunnel_bytes_total{destination="db",direction="down"} 9',
      ]),
    );
  });
});

async function aRoom() {
  const clock = new VirtualClock(1000);
  const lifecycle = new Lifecycle(clock);
  lifecycle.ready();
  const log = new MemoryLog();
  const room = createTelemetry(CONFIG, { clock, lifecycle, version: "v", openLog: async () => log });
  await room.start();
  return { room, log, clock, lifecycle };
}
