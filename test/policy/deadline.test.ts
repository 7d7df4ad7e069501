import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { type DeadlineOptions, deadline, deadlineOf, parseTimeout } from "../../src/policy/deadline.ts";
import { answer, call, ScriptedUpstream, settle, watch } from "./calls.ts";

const HEADERS: DeadlineOptions["deadlineHeaders"] = [
  { name: "grpc-timeout", format: "grpc" },
  { name: "x-envoy-expected-rq-timeout-ms", format: "milliseconds" },
  { name: "x-timeout", format: "seconds" },
];

function options(changes: Partial<DeadlineOptions> = {}): DeadlineOptions {
  return { timeoutMs: 0, deadlineReserveMs: 0, deadlineHeaders: HEADERS, ...changes };
}

describe("a caller's own timeout", () => {
  test.each([
    ["8S", "grpc", 8000],
    ["250m", "grpc", 250],
    ["1H", "grpc", 3_600_000],
    ["2M", "grpc", 120_000],
    ["500u", "grpc", 0.5],
    ["99999999n", "grpc", 99.999999],
    ["250", "milliseconds", 250],
    ["0.5", "seconds", 0.5 * 1000],
    ["10", "seconds", 10_000],
  ] as const)("%j as %s is %d ms", (value, format, ms) => {
    expect(parseTimeout(value, format)).toBeCloseTo(ms, 6);
  });

  test.each([
    ["", "grpc"],
    ["8", "grpc"],
    ["S", "grpc"],
    ["8s", "grpc"],
    ["-8S", "grpc"],
    ["8 S", "grpc"],
    ["123456789S", "grpc"],
    ["0S", "grpc"],
    ["8S, 9S", "grpc"],
    ["0", "milliseconds"],
    ["1e3", "milliseconds"],
    ["-1", "milliseconds"],
    ["Infinity", "milliseconds"],
    ["0x10", "milliseconds"],
    ["1.5.2", "seconds"],
    [".5", "seconds"],
    ["__proto__", "grpc"],
  ] as const)("%j as %s is ignored", (value, format) => {
    expect(parseTimeout(value, format)).toBeNull();
  });
});

describe("the deadline of a call that begins at 1000", () => {
  const none = Number.POSITIVE_INFINITY;
  test.each([
    ["nothing bounds it", options(), "", none, none],
    ["the policy's timeout", options({ timeoutMs: 500 }), "", none, 1500],
    ["the invocation's deadline", options(), "", 4000, 4000],
    ["the invocation's deadline less the reserve", options({ deadlineReserveMs: 100 }), "", 4000, 3900],
    ["the timeout, when it ends first", options({ timeoutMs: 500 }), "", 4000, 1500],
    ["the invocation, when it ends first", options({ timeoutMs: 500 }), "", 1200, 1200],
    ["the caller's header", options({ timeoutMs: 500 }), "grpc-timeout: 200m\r\n", 4000, 1200],
    ["the smallest of several headers", options(), "Grpc-Timeout: 2S\r\nX-Timeout: 1\r\n", none, 2000],
    ["a longer header does not extend it", options({ timeoutMs: 500 }), "x-timeout: 60\r\n", none, 1500],
    ["a malformed header is ignored", options({ timeoutMs: 500 }), "grpc-timeout: soon\r\n", none, 1500],
    ["a reserve alone bounds nothing", options({ deadlineReserveMs: 100 }), "", none, none],
    ["one that has passed stays in the past", options(), "", 900, 900],
  ])("%s", (_, given, fields, workDeadlineMs, deadlineMs) => {
    expect(deadlineOf(given, fields, 1000, workDeadlineMs)).toBe(deadlineMs);
  });
});

describe("the deadline stage", () => {
  const unbounded = () => Number.POSITIVE_INFINITY;

  test("hands the deadline on with the call", async () => {
    const clock = new VirtualClock(1000);
    const upstream = new ScriptedUpstream(clock, answer());
    await deadline(options({ timeoutMs: 500 }), clock, unbounded)(upstream.send)(call());
    expect(upstream.requests[0]?.deadlineMs).toBe(1500);
  });

  test("leaves a call without a deadline as it is and arms nothing", async () => {
    const clock = new VirtualClock();
    const upstream = new ScriptedUpstream(clock, answer());
    const request = call();
    await deadline(options(), clock, unbounded)(upstream.send)(request);
    expect(upstream.requests[0]).toBe(request);
    expect(clock.untilNext()).toBeNull();
  });

  test("never extends a deadline that the call brings", async () => {
    const clock = new VirtualClock();
    const upstream = new ScriptedUpstream(clock, answer());
    await deadline(options({ timeoutMs: 500 }), clock, unbounded)(upstream.send)(
      call().with({ deadlineMs: 300 }),
    );
    expect(upstream.requests[0]?.deadlineMs).toBe(300);
  });

  test("refuses a call whose deadline has passed without sending it", async () => {
    const clock = new VirtualClock(1000);
    const upstream = new ScriptedUpstream(clock, answer());
    const send = deadline(options({ deadlineReserveMs: 100 }), clock, () => 1100)(upstream.send);
    await expect(send(call())).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    expect(upstream.requests).toHaveLength(0);
  });

  test.each([
    ["timeout of the policy", options({ timeoutMs: 500 }), "", unbounded],
    [
      "the invocation's deadline less deadline_reserve (100 ms)",
      options({ deadlineReserveMs: 100 }),
      "",
      () => 600,
    ],
    ["the caller's own deadline header", options({ timeoutMs: 900 }), "grpc-timeout: 500m\r\n", unbounded],
  ])("cancels a call in flight and names the bound: %s", async (bound, given, fields, workDeadlineMs) => {
    const clock = new VirtualClock();
    const upstream = new ScriptedUpstream(clock, "silence");
    const request = call({ fields });
    const sent = watch(deadline(given, clock, workDeadlineMs)(upstream.send)(request));
    await clock.advance(499);
    expect(sent.pending).toBe(true);
    await clock.advance(1);
    expect(sent.error).toMatchObject({
      code: "DEADLINE_EXCEEDED",
      message: `api.example:443 had 500 ms: ${bound}`,
    });
    expect(request.cancelled.value).toBe(sent.error);
  });

  test("bounds the response's body too: the timer ends with the call, not with the head", async () => {
    const clock = new VirtualClock();
    const request = call();
    const send = deadline(
      options({ timeoutMs: 500 }),
      clock,
      unbounded,
    )(new ScriptedUpstream(clock, answer()).send);
    await send(request);
    await clock.advance(500);
    expect(request.cancelled.value?.code).toBe("DEADLINE_EXCEEDED");
  });

  test("does nothing to a call that was over before its deadline", async () => {
    const clock = new VirtualClock();
    const request = call();
    await deadline(options({ timeoutMs: 500 }), clock, unbounded)(new ScriptedUpstream(clock, answer()).send)(
      request,
    );
    expect(clock.untilNext()).toBe(500);
    settle(request);
    await clock.advance(1000);
    expect(request.cancelled.value).toBeUndefined();
    expect(clock.untilNext()).toBeNull();
  });

  test("one timer serves many calls, each of which ends at its own deadline", async () => {
    const clock = new VirtualClock();
    const send = deadline(options(), clock, unbounded)(new ScriptedUpstream(clock, "silence").send);
    const requests = ["900", "300", "600", "300"].map((ms) =>
      call({ fields: `x-envoy-expected-rq-timeout-ms: ${ms}\r\n` }),
    );
    for (const request of requests) watch(send(request));
    const ended: number[] = [];
    for (const request of requests) request.cancelled.on(() => ended.push(clock.now()));
    await clock.advance(1000);
    expect(ended).toEqual([300, 300, 600, 900]);
  });

  test("a call that began before word of its invocation is bounded by that invocation, not by the one before", async () => {
    const clock = new VirtualClock();
    let workDeadlineMs = 500;
    const request = call();
    const send = deadline(
      options(),
      clock,
      () => workDeadlineMs,
    )(new ScriptedUpstream(clock, "silence").send);
    watch(send(request));
    await clock.advance(100);
    workDeadlineMs = 3000;
    await clock.advance(2899);
    expect(request.cancelled.value).toBeUndefined();
    await clock.advance(1);
    expect(request.cancelled.value?.code).toBe("DEADLINE_EXCEEDED");
  });
});
