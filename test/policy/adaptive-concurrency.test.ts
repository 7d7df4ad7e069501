import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import type { AdaptiveConcurrencyOptions } from "../../src/config/types.ts";
import type { AttemptFacts } from "../../src/exchange.ts";
import { adaptiveConcurrency } from "../../src/policy/adaptive-concurrency.ts";
import {
  answer,
  call,
  failure,
  ScriptedUpstream,
  type Step,
  seeded,
  settle,
  trailOf,
  watch,
} from "./calls.ts";
import { clients, QueueingUpstream } from "./queueing-upstream.ts";

const WIDE: AdaptiveConcurrencyOptions = { min: 1, max: 200, queueMax: 0 };

/** A fixed limit: what is not about the gradient. */
function fixed(limit: number, queueMax: number, step: Step = answer()) {
  const clock = new VirtualClock();
  const upstream = new ScriptedUpstream(clock, step);
  const send = adaptiveConcurrency({ min: limit, max: limit, queueMax }, clock)(upstream.send);
  return { clock, upstream, send };
}

describe("an adaptive limit", () => {
  test("holds a slot until the last byte, and refuses what has none", async () => {
    const { upstream, send } = fixed(1, 0);
    const first = call();
    await send(first);
    const second = call();
    await expect(send(second)).rejects.toMatchObject({
      code: "CONCURRENCY_LIMITED",
      message: "1 calls in flight for api.example:443, 1 at the present latency, and 0 waiting",
    });
    expect(trailOf(second)).toEqual([{ kind: "limited", stage: "adaptive concurrency", limit: 1 }]);
    settle(second);
    settle(first);
    await send(call());
    expect(upstream.requests).toHaveLength(2);
  });

  test("lets calls wait in order, notes the wait, and refuses when the line is full", async () => {
    const { clock, upstream, send } = fixed(1, 2);
    const calls = Array.from({ length: 3 }, (_, i) => call({ path: `/${i}` }));
    for (const request of calls) watch(send(request));
    await expect(send(call())).rejects.toMatchObject({ code: "CONCURRENCY_LIMITED" });
    await clock.advance(10);
    settle(calls[0]!);
    await clock.advance(5);
    settle(calls[1]!);
    await clock.advance(0);
    expect(upstream.requests.map(({ path }) => path)).toEqual(["/0", "/1", "/2"]);
    expect(calls.map(trailOf)).toEqual([
      [],
      [{ kind: "queued", stage: "adaptive concurrency", waitMs: 10 }],
      [{ kind: "queued", stage: "adaptive concurrency", waitMs: 15 }],
    ]);
  });

  test("a call that is cancelled in line leaves it, and holds no slot", async () => {
    const { clock, upstream, send } = fixed(1, 1);
    const first = call();
    watch(send(first));
    const leaver = call();
    const left = watch(send(leaver));
    const late = failure("DEADLINE_EXCEEDED");
    leaver.cancelled.fire(late);
    await clock.advance(0);
    expect(left.error).toBe(late);
    settle(leaver);
    const next = watch(send(call({ path: "/next" })));
    settle(first);
    await clock.advance(0);
    expect(next.value?.status).toBe(200);
    expect(upstream.requests.map(({ path }) => path)).toEqual(["/", "/next"]);
  });

  test("a call that is cancelled in the moment of its turn is not sent, and gives its slot back", async () => {
    const { clock, upstream, send } = fixed(1, 2);
    const first = call();
    watch(send(first));
    const unlucky = call({ path: "/unlucky" });
    watch(send(unlucky));
    watch(send(call({ path: "/next" })));
    settle(first);
    unlucky.cancelled.fire(failure("CLIENT_GONE"));
    await clock.advance(0);
    settle(unlucky);
    await clock.advance(0);
    expect(upstream.requests.map(({ path }) => path)).toEqual(["/", "/next"]);
  });

  test("needs no timer", async () => {
    const { clock, send } = fixed(5, 5);
    for (let i = 0; i < 100; i++) {
      const request = call();
      await send(request);
      settle(request);
    }
    expect(clock.untilNext()).toBeNull();
  });
});

/** How many calls get through at once after two rounds of forty that take 100 ms and five with `slow`. */
async function limitAfter(slow: Step, handshakeMs = 0): Promise<number> {
  const clock = new VirtualClock();
  const fast: Step = { afterMs: 100, outcome: answer() };
  let step: Step = fast;
  const send = adaptiveConcurrency(
    WIDE,
    clock,
  )((request) => {
    if (step === slow) {
      const startedMs = clock.now();
      const facts = { number: 1, startedMs, connectedMs: startedMs, securedMs: startedMs + handshakeMs };
      request.trail.push({ kind: "attempt", attempt: facts as AttemptFacts });
    }
    return new ScriptedUpstream(clock, step).send(request);
  });
  for (const [which, rounds] of [
    [fast, 2],
    [slow, 5],
  ] as const) {
    step = which;
    for (let round = 0; round < rounds; round++) {
      const calls = Array.from({ length: 40 }, () => call());
      for (const request of calls) watch(send(request));
      await clock.advance(1000);
      for (const request of calls) settle(request);
    }
  }
  const seen = Array.from({ length: 100 }, () => watch(send(call())));
  await clock.advance(1000);
  return seen.filter(({ error }) => error?.code !== "CONCURRENCY_LIMITED").length;
}

describe("what tells a latency", () => {
  test("a slow answer brings the limit down", async () => {
    expect(await limitAfter({ afterMs: 400, outcome: answer() })).toBeLessThan(15);
  });

  test("so does an attempt that ends for want of time", async () => {
    expect(await limitAfter({ afterMs: 400, outcome: failure("UPSTREAM_TIMEOUT") })).toBeLessThan(15);
  });

  test.each<[string, Step]>([
    ["an overloaded upstream's quick refusal", { afterMs: 400, outcome: answer(503) }],
    ["a rate limit of the upstream's", { afterMs: 400, outcome: answer(429) }],
    ["a connection that failed", { afterMs: 400, outcome: failure("CONNECT_FAILED") }],
    ["a refusal of the proxy's own", { afterMs: 400, outcome: failure("CIRCUIT_OPEN") }],
  ])("%s tells none", async (_, step) => {
    expect(await limitAfter(step)).toBeGreaterThan(25);
  });

  test("what a handshake took is not the upstream's queueing", async () => {
    expect(await limitAfter({ afterMs: 400, outcome: answer() }, 300)).toBeGreaterThan(25);
  });
});

describe("sixty clients at an upstream that serves twenty at once, 100 ms each", () => {
  async function scene() {
    const clock = new VirtualClock();
    const upstream = new QueueingUpstream(clock, 20, 100, seeded(4));
    const { calls, stop } = clients(clock, 60, adaptiveConcurrency(WIDE, clock)(upstream.send));
    /** Lets time pass; then what went through in `ms`, part of what could, and most calls that were there at once. */
    async function measure(settleMs: number, ms = 4000) {
      await clock.advance(settleMs);
      const before = upstream.served;
      upstream.presentMax = 0;
      await clock.advance(ms);
      const could = (upstream.capacity * ms) / upstream.serviceMs;
      return { used: (upstream.served - before) / could, presentMax: upstream.presentMax };
    }
    return { upstream, calls, stop, measure };
  }

  test("converge on its capacity: it is always busy and its line is short", async () => {
    const { measure, calls, stop } = await scene();
    const { used, presentMax } = await measure(4000);
    stop();
    expect(used).toBeGreaterThan(0.93);
    expect(presentMax).toBeGreaterThanOrEqual(20);
    expect(presentMax).toBeLessThan(45);
    expect(calls.refused).toBeGreaterThan(0);
  });

  test("follow it down to a quarter, and up again", async () => {
    const { upstream, measure, stop } = await scene();
    await measure(4000);
    upstream.capacity = 5;
    const low = await measure(10_000);
    expect(low.used).toBeGreaterThan(0.9);
    expect(low.presentMax).toBeLessThan(16);
    upstream.capacity = 20;
    const high = await measure(6000);
    stop();
    expect(high.used).toBeGreaterThan(0.93);
    expect(high.presentMax).toBeLessThan(50);
  });

  test("believe that it has become slower for good, and give it all that it can take again", async () => {
    const { upstream, measure, stop } = await scene();
    await measure(4000);
    upstream.serviceMs = 300;
    // Three times the latency looks like a line of three times the length at first.
    const { used, presentMax } = await measure(15_000);
    stop();
    expect(used).toBeGreaterThan(0.85);
    expect(presentMax).toBeLessThan(50);
  });

  test("never refuse anybody while it could take more, once the limit has grown to what is asked", async () => {
    const { upstream, measure, calls, stop } = await scene();
    upstream.capacity = 100;
    await measure(4000);
    const { refused } = calls;
    await measure(0, 20_000);
    stop();
    expect(calls.refused).toBe(refused);
  });
});
