import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import type { RoutePolicy } from "../../src/config/types.ts";
import { compose } from "../../src/exchange.ts";
import { fieldValue } from "../../src/http1/fields.ts";
import { Lifecycle } from "../../src/lifecycle.ts";
import { policyChain } from "../../src/policy/chain.ts";
import {
  answer,
  call,
  failure,
  ONE_BUCKET,
  retryOptions,
  routePolicy,
  ScriptedUpstream,
  type Step,
  watch,
} from "./calls.ts";

function chain(changes: Partial<RoutePolicy>, ...steps: Step[]) {
  const clock = new VirtualClock();
  const lifecycle = new Lifecycle(clock);
  const upstream = new ScriptedUpstream(clock, ...steps);
  const policies = policyChain(routePolicy(changes), { clock, lifecycle });
  return { clock, lifecycle, upstream, policies, send: compose(policies, upstream.send) };
}

const reset = failure("UPSTREAM_RESET");
const once = { perSecond: 1, burst: 1, overflow: "reject", ...ONE_BUCKET } as const;
const one = { max: 1, queueMax: 0 };

describe("a stage that is not configured is not there", () => {
  test.each<[string, Partial<RoutePolicy>, number]>([
    ["nothing but the deadline", {}, 1],
    ["a rate limit", { rateLimit: once }, 2],
    ["a concurrency limit", { concurrency: one }, 2],
    ["retries", { retry: retryOptions() }, 2],
    ["a timeout per attempt", { perTryTimeoutMs: 10 }, 2],
    ["trace context", { propagate: ["xray"] }, 2],
    [
      "everything",
      { rateLimit: once, concurrency: one, retry: retryOptions(), perTryTimeoutMs: 10, propagate: ["xray"] },
      5,
    ],
  ])("%s", (_, changes, length) => {
    expect(chain(changes, answer()).policies).toHaveLength(length);
  });

  test("a call that nothing is configured for goes through as it is", async () => {
    const { upstream, send } = chain({}, answer());
    const request = call();
    await send(request);
    expect(upstream.requests[0]).toBe(request);
  });
});

describe("deadline, rate limit, concurrency limit, retry, trace context: the order from outside in", () => {
  test("the deadline is outside the rate limit: a call that is too late takes no token", async () => {
    const { send, upstream } = chain({ rateLimit: once, timeoutMs: 0, deadlineHeaders: [] }, answer());
    const late = call().with({ deadlineMs: -1 });
    await expect(send(late)).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    await send(call());
    expect(upstream.requests).toHaveLength(1);
  });

  test("waiting for a token counts against the deadline", async () => {
    const { clock, send } = chain(
      { rateLimit: { ...once, overflow: "wait", ...ONE_BUCKET }, timeoutMs: 500 },
      answer(),
    );
    await send(call());
    const second = watch(send(call()));
    await clock.advance(0);
    expect(second.error?.code).toBe("RATE_LIMITED");
  });

  test("waiting for a slot counts against the deadline", async () => {
    const { clock, send } = chain({ concurrency: { max: 1, queueMax: 1 }, timeoutMs: 500 }, answer());
    await send(call());
    const second = watch(send(call()));
    await clock.advance(500);
    expect(second.error?.code).toBe("DEADLINE_EXCEEDED");
  });

  test("the rate limit is outside the concurrency limit: without a token no slot is asked for", async () => {
    const { send } = chain({ rateLimit: once, concurrency: one }, answer());
    await send(call());
    await expect(send(call())).rejects.toMatchObject({ code: "RATE_LIMITED" });
  });

  test("the limits are outside the retry: they count calls, not attempts", async () => {
    const limits = { rateLimit: once, concurrency: one, retry: retryOptions() };
    const { clock, upstream, send } = chain(limits, reset, answer());
    const sent = watch(send(call()));
    await clock.advance(100);
    expect(sent.value?.status).toBe(200);
    expect(upstream.requests).toHaveLength(2);
  });

  test("the retry is outside the trace context: a trace for the call, a span for each attempt", async () => {
    const { clock, upstream, send } = chain(
      { retry: retryOptions(), propagate: ["tracecontext"] },
      reset,
      answer(),
    );
    watch(send(call()));
    await clock.advance(100);
    const [first, second] = upstream.requests.map(({ fields }) =>
      fieldValue(fields, "traceparent")!.split("-"),
    );
    expect(second![1]).toBe(first![1]);
    expect(second![2]).not.toBe(first![2]);
  });
});

describe("the running invocation", () => {
  test("bounds the call and gives it its trace", async () => {
    const { clock, lifecycle, upstream, send } = chain(
      { deadlineReserveMs: 100, propagate: ["xray"] },
      answer(),
    );
    const root = "Root=1-5759e988-bd862e3fe1be46a994272793";
    lifecycle.workStarted("a", clock.wall() + 3000, `${root};Sampled=1`);
    await send(call());
    expect(upstream.requests[0]?.deadlineMs).toBe(clock.now() + 2900);
    expect(fieldValue(upstream.requests[0]!.fields, "x-amzn-trace-id")).toMatch(
      /^Root=1-5759e988-bd862e3fe1be46a994272793;Parent=[0-9a-f]{16};Sampled=1$/,
    );
  });

  test.each([0, 100])("ends a call at its deadline, with a reserve of %i ms", async (deadlineReserveMs) => {
    const { clock, lifecycle, send } = chain({ deadlineReserveMs }, "silence");
    lifecycle.workStarted("a", clock.wall() + 3000, "");
    const sent = watch(send(call()));
    await clock.advance(2999 - deadlineReserveMs);
    expect(sent.pending).toBe(true);
    await clock.advance(1);
    expect(sent.error?.code).toBe("DEADLINE_EXCEEDED");
  });

  test("does not bound a call that comes after it: the word of the next one may be late", async () => {
    const { clock, lifecycle, upstream, send } = chain({}, answer());
    lifecycle.workStarted("a", clock.wall() + 3000, "");
    await lifecycle.workFinished();
    await send(call());
    expect(upstream.requests[0]?.deadlineMs).toBe(Number.POSITIVE_INFINITY);
    lifecycle.workStarted("b", clock.wall() + 3000, "");
    await clock.advance(60_000);
    await send(call());
    expect(upstream.requests[1]?.deadlineMs).toBe(Number.POSITIVE_INFINITY);
  });
});
