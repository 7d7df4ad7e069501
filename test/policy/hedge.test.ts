import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { compose } from "../../src/exchange.ts";
import { hedge } from "../../src/policy/hedge.ts";
import { retry } from "../../src/policy/retry.ts";
import { Source } from "./bodies.ts";
import { answer, call, retryOptions, ScriptedUpstream, type Step, trailOf, watch } from "./calls.ts";
import { endedFor, OPTIONS, ok, reset, slow, stage } from "./hedge-stage.ts";

describe("a call that is answered before the delay", () => {
  test("is sent once, and nothing is left armed", async () => {
    const { clock, upstream, send } = stage([slow(49)]);
    const request = call();
    const sent = watch(send(request));
    await clock.advance(49);
    expect(sent.value).toBe(ok);
    await clock.advance(1000);
    expect(clock.untilNext()).toBeNull();
    expect(upstream.requests).toHaveLength(1);
    expect(trailOf(request)).toEqual([]);
  });

  test("has its timer in common with the calls behind it", async () => {
    const { clock, send } = stage([slow(20)]);
    for (const untilNextMs of [30, 10]) {
      watch(send(call()));
      await clock.advance(20);
      expect(clock.untilNext()).toBe(untilNextMs);
    }
  });

  test("with a failure is the retry's business, not a second copy's", async () => {
    const { clock, upstream, send } = stage([slow(10, answer(503))]);
    const sent = watch(send(call()));
    await clock.advance(1000);
    expect(sent.value?.status).toBe(503);
    expect(upstream.requests).toHaveLength(1);
    expect(clock.untilNext()).toBeNull();
  });
});

describe("a call that is slow", () => {
  test("is sent once more after the delay; the second answer wins, and the first copy is cancelled at once", async () => {
    const second = answer(200);
    const { clock, upstream, send } = stage(["silence", slow(20, second)]);
    const request = call();
    const sent = watch(send(request));
    await clock.advance(69);
    expect(upstream.startedMs).toEqual([0, 50]);
    expect(endedFor(upstream.requests[0])).toBeUndefined();
    await clock.advance(1);
    expect(sent.value).toBe(second);
    expect(endedFor(upstream.requests[0])).toBe("another copy of the call was answered first");
    expect(upstream.requests[1]?.cancelled.value).toBeUndefined();
    expect(upstream.requests.map(({ attempt }) => attempt)).toEqual([1, 2]);
    expect(trailOf(request)).toEqual([{ kind: "hedge", attempt: 2, afterMs: 50, won: true }]);
  });

  test("may still be answered by the first copy; then the second is cancelled and the trail says that it lost", async () => {
    const { clock, upstream, send } = stage([slow(60), "silence"]);
    const request = call();
    const sent = watch(send(request));
    await clock.advance(60);
    expect(sent.value).toBe(ok);
    expect(endedFor(upstream.requests[1])).toBe("another copy of the call was answered first");
    expect(upstream.requests[0]?.cancelled.value).toBeUndefined();
    expect(trailOf(request)).toEqual([{ kind: "hedge", attempt: 2, afterMs: 50, won: false }]);
    expect(request.cancelled.value).toBeUndefined();
  });

  test("is sent as often as the policy allows, a delay apart", async () => {
    const { clock, upstream, send } = stage(["silence", "silence", "silence", slow(0)], { maxHedges: 3 });
    const request = call();
    const sent = watch(send(request));
    await clock.advance(150);
    expect(sent.value).toBe(ok);
    expect(upstream.startedMs).toEqual([0, 50, 100, 150]);
    expect(trailOf(request).map((entry) => entry.kind === "hedge" && entry.won)).toEqual([
      false,
      false,
      true,
    ]);
    await clock.advance(1000);
    expect(upstream.requests).toHaveLength(4);
  });

  test.each<[string, Partial<Parameters<typeof call>[0]>]>([
    ["a method that is not named", { method: "POST" }],
    ["a body that streams", { method: "GET", body: new Source().body }],
  ])("is sent once and as it is when it has %s", async (_, parts) => {
    const { clock, upstream, send } = stage(["silence"]);
    const request = call(parts);
    watch(send(request));
    await clock.advance(1000);
    expect(upstream.requests).toEqual([request]);
    expect(upstream.requests[0]).toBe(request);
  });

  test("has the interim responses of its first copy only", async () => {
    const { clock, upstream, send } = stage(["silence", slow(0)]);
    const request = call();
    request.onInterim = () => {};
    watch(send(request));
    await clock.advance(50);
    expect(upstream.requests.map(({ onInterim }) => onInterim === request.onInterim)).toEqual([true, false]);
  });
});

describe("the deadline", () => {
  test("that comes before the delay leaves no time for a copy", async () => {
    const { clock, upstream, send } = stage(["silence"]);
    watch(send(call().with({ deadlineMs: 50 })));
    await clock.advance(1000);
    expect(upstream.requests).toHaveLength(1);
  });

  test("that passed while the sandbox was frozen is not overstepped by a timer that fires behind it", async () => {
    const { clock, upstream, send } = stage(["silence"]);
    let frozenMs = 0;
    const thawed = new Proxy(clock, {
      get: (target, name) => {
        if (name === "now") return () => target.now() + frozenMs;
        const value = Reflect.get(target, name, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const policy = hedge({ hedge: OPTIONS, retry: retryOptions() }, thawed);
    watch(policy(upstream.send)(call().with({ deadlineMs: 500 })));
    frozenMs = 60_000;
    await clock.advance(1000);
    expect(upstream.requests).toHaveLength(1);
    frozenMs = 0;
    watch(send(call().with({ deadlineMs: clock.now() + 500 })));
    await clock.advance(1000);
    expect(upstream.requests).toHaveLength(3);
  });
});

describe("the budget", () => {
  test("allows ten hedges in a row, then one for every ten calls", async () => {
    const { clock, upstream, send } = stage(["silence"]);
    const hedgesOf = async (calls: number) => {
      const before = upstream.requests.length;
      for (let i = 0; i < calls; i++) {
        watch(send(call()));
        await clock.advance(50);
      }
      return upstream.requests.length - before - calls;
    };
    // The ten at the start, and one that the first ten calls have brought meanwhile.
    expect(await hedgesOf(20)).toBe(11);
    expect(await hedgesOf(200)).toBe(20);
  });

  test("is filled by calls that are never hedged, too", async () => {
    const { clock, upstream, send } = stage(["silence"]);
    for (let i = 0; i < 20; i++) {
      watch(send(call()));
      await clock.advance(50);
    }
    for (let i = 0; i < 30; i++) watch(send(call({ method: "POST" })));
    const before = upstream.requests.length;
    for (let i = 0; i < 4; i++) watch(send(call()));
    await clock.advance(50);
    expect(upstream.requests.length - before).toBe(4 + 4);
  });
});

describe("a measured percentile", () => {
  const measured = { delayMs: 0, percentile: 90 };

  test("needs twenty answers; until then no call is hedged", async () => {
    const { clock, upstream, send } = stage([...Array(19).fill(slow(10)), "silence"], measured);
    for (let i = 0; i < 19; i++) {
      watch(send(call()));
      await clock.advance(10);
    }
    watch(send(call()));
    await clock.advance(60_000);
    expect(upstream.requests).toHaveLength(20);
  });

  test("is the delay: the slowest tenth of the calls is hedged", async () => {
    const times = Array.from({ length: 20 }, (_, i) => 10 * (i + 1));
    const { clock, upstream, send } = stage([...times.map((ms) => slow(ms)), "silence", slow(1)], measured);
    for (const ms of times) {
      watch(send(call()));
      await clock.advance(ms);
    }
    const startedMs = clock.now();
    const request = call();
    const sent = watch(send(request));
    await clock.advance(181);
    expect(sent.value).toBe(ok);
    expect(upstream.startedMs.slice(20)).toEqual([startedMs, startedMs + 180]);
    expect(trailOf(request)).toEqual([{ kind: "hedge", attempt: 2, afterMs: 180, won: true }]);
  });

  test("is not lowered by failures that come fast", async () => {
    const quick = Array(40).fill(slow(1, answer(503)));
    const { clock, upstream, send } = stage([...Array(20).fill(slow(100)), ...quick, "silence"], measured);
    for (let i = 0; i < 60; i++) {
      watch(send(call()));
      await clock.advance(100);
    }
    const startedMs = clock.now();
    watch(send(call()));
    await clock.advance(1000);
    expect(upstream.startedMs.slice(60)).toEqual([startedMs, startedMs + 100]);
  });

  test("does not sink because the slow copies lose: each is counted with the time after which it was cancelled", async () => {
    const pair: Step[] = ["silence", slow(5)];
    const { clock, upstream, send } = stage([...Array(20).fill(slow(100)), ...Array(12).fill(pair).flat()], {
      ...measured,
      budgetRatio: 1,
    });
    for (let i = 0; i < 20; i++) {
      watch(send(call()));
      await clock.advance(100);
    }
    const delays: number[] = [];
    for (let i = 0; i < 12; i++) {
      const startedMs = clock.now();
      watch(send(call()));
      await clock.advance(200);
      delays.push(upstream.startedMs.at(-1)! - startedMs);
    }
    expect(Math.min(...delays)).toBe(100);
  });
});

describe("inside the retry", () => {
  test("each attempt may be hedged, and every copy has a number of its own", async () => {
    const clock = new VirtualClock();
    const upstream = new ScriptedUpstream(
      clock,
      { afterMs: 60, outcome: reset },
      { afterMs: 20, outcome: reset },
      "silence",
      slow(10),
    );
    const options = { retry: retryOptions(), perTryTimeoutMs: 0 };
    const send = compose(
      [
        retry(options, clock, { random: () => 1, workSequence: () => 0 }),
        hedge({ hedge: OPTIONS, retry: options.retry }, clock),
      ],
      upstream.send,
    );
    const request = call();
    const sent = watch(send(request));
    await clock.advance(1000);
    expect(sent.value).toBe(ok);
    expect(upstream.startedMs).toEqual([0, 50, 170, 220]);
    expect(upstream.requests.map(({ attempt }) => attempt)).toEqual([1, 2, 3, 4]);
    expect(trailOf(request)).toEqual([
      { kind: "hedge", attempt: 2, afterMs: 50, won: false },
      { kind: "retry", attempt: 1, why: "reset_before_response", waitMs: 100 },
      { kind: "hedge", attempt: 4, afterMs: 50, won: true },
    ]);
  });

  test("per_try_timeout ends an attempt with all of its copies", async () => {
    const clock = new VirtualClock();
    const upstream = new ScriptedUpstream(clock, "silence", "silence", slow(5));
    const options = { retry: retryOptions(), perTryTimeoutMs: 80 };
    const send = compose(
      [
        retry(options, clock, { random: () => 1, workSequence: () => 0 }),
        hedge({ hedge: OPTIONS, retry: options.retry }, clock),
      ],
      upstream.send,
    );
    const sent = watch(send(call()));
    await clock.advance(80);
    expect(upstream.requests.map(({ cancelled }) => cancelled.value?.code)).toEqual(
      Array(2).fill("PER_TRY_TIMEOUT"),
    );
    await clock.advance(105);
    expect(sent.value).toBe(ok);
    expect(upstream.startedMs).toEqual([0, 50, 180]);
  });
});
