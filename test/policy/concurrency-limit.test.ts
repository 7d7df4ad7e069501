import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { concurrencyLimit } from "../../src/policy/concurrency-limit.ts";
import { answer, call, failure, ScriptedUpstream, type Step, settle, trailOf, watch } from "./calls.ts";

function stage(max: number, queueMax: number, step: Step = answer()) {
  const clock = new VirtualClock();
  const upstream = new ScriptedUpstream(clock, step);
  return { clock, upstream, send: concurrencyLimit({ max, queueMax }, clock)(upstream.send) };
}

describe("a concurrency limit", () => {
  test("holds a slot until the last byte, not until the head", async () => {
    const { upstream, send } = stage(1, 0);
    const first = call();
    await send(first);
    const second = call();
    await expect(send(second)).rejects.toMatchObject({
      code: "CONCURRENCY_LIMITED",
      message: "1 calls in flight and 0 waiting for api.example:443",
    });
    expect(trailOf(second)).toEqual([{ kind: "limited", stage: "concurrency limit", limit: 1 }]);
    settle(first);
    await send(call());
    expect(upstream.requests).toHaveLength(2);
  });

  test("gives a slot back when a call fails, once it is torn down", async () => {
    const { send } = stage(1, 0, failure("CONNECT_FAILED"));
    const first = call();
    await expect(send(first)).rejects.toMatchObject({ code: "CONNECT_FAILED" });
    await expect(send(call())).rejects.toMatchObject({ code: "CONCURRENCY_LIMITED" });
    settle(first);
    await expect(send(call())).rejects.toMatchObject({ code: "CONNECT_FAILED" });
  });

  test("a call that is refused holds no slot and gives none back", async () => {
    const { send } = stage(1, 0);
    const first = call();
    await send(first);
    const refused = call();
    await expect(send(refused)).rejects.toThrow();
    settle(refused);
    await expect(send(call())).rejects.toMatchObject({ code: "CONCURRENCY_LIMITED" });
  });

  test("lets calls wait in order, each for the slot that comes free, and notes the wait", async () => {
    const { clock, upstream, send } = stage(2, 10);
    const calls = Array.from({ length: 4 }, (_, i) => call({ path: `/${i}` }));
    for (const request of calls) watch(send(request));
    await clock.advance(10);
    expect(upstream.requests.map(({ path }) => path)).toEqual(["/0", "/1"]);
    settle(calls[1]!);
    await clock.advance(5);
    settle(calls[0]!);
    await clock.advance(0);
    expect(upstream.requests.map(({ path }) => path)).toEqual(["/0", "/1", "/2", "/3"]);
    expect(calls.map(trailOf).slice(2)).toEqual([
      [{ kind: "queued", stage: "concurrency limit", waitMs: 10 }],
      [{ kind: "queued", stage: "concurrency limit", waitMs: 15 }],
    ]);
  });

  test("a slot that is handed on is not free for a newcomer", async () => {
    const { clock, upstream, send } = stage(1, 1);
    const first = call();
    watch(send(first));
    const second = call();
    watch(send(second));
    settle(first);
    await clock.advance(0);
    const third = watch(send(call()));
    await clock.advance(0);
    expect(third.pending).toBe(true);
    expect(upstream.requests).toHaveLength(2);
    settle(second);
    await clock.advance(0);
    expect(third.pending).toBe(false);
  });

  test("never has more in flight than it may, and always as many as it can", async () => {
    const { clock, upstream, send } = stage(3, 100);
    const calls = Array.from({ length: 50 }, () => call());
    for (const request of calls) watch(send(request));
    let settled = 0;
    await clock.advance(0);
    while (settled < calls.length) {
      expect(upstream.requests.length - settled).toBe(Math.min(3, calls.length - settled));
      settle(upstream.requests[settled]!);
      settled += 1;
      await clock.advance(1);
    }
  });

  test("refuses when the line is full", async () => {
    const { send } = stage(1, 1);
    watch(send(call()));
    watch(send(call()));
    await expect(send(call())).rejects.toMatchObject({
      code: "CONCURRENCY_LIMITED",
      message: "1 calls in flight and 1 waiting for api.example:443",
    });
  });

  test("a cancelled call leaves the line, and its place is free", async () => {
    const { clock, upstream, send } = stage(1, 1);
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
    const { clock, upstream, send } = stage(1, 2);
    const first = call();
    watch(send(first));
    const unlucky = call({ path: "/unlucky" });
    const seen = watch(send(unlucky));
    watch(send(call({ path: "/next" })));
    settle(first);
    const gone = failure("CLIENT_GONE");
    unlucky.cancelled.fire(gone);
    await clock.advance(0);
    expect(seen.error).toBe(gone);
    settle(unlucky);
    await clock.advance(0);
    expect(upstream.requests.map(({ path }) => path)).toEqual(["/", "/next"]);
  });
});
