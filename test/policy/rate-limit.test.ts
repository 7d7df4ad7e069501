import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import type { RateLimitOptions } from "../../src/config/types.ts";
import { rateLimit } from "../../src/policy/rate-limit.ts";
import { answer, call, failure, ONE_BUCKET, ScriptedUpstream, trailOf, watch } from "./calls.ts";

function stage(changes: Partial<RateLimitOptions> = {}) {
  const clock = new VirtualClock();
  const upstream = new ScriptedUpstream(clock, answer());
  const send = rateLimit(
    { perSecond: 10, burst: 2, overflow: "reject", ...ONE_BUCKET, ...changes },
    clock,
  )(upstream.send);
  return { clock, upstream, send };
}

describe("a rate limit that rejects", () => {
  test("lets the burst through and refuses the next with the time to come back", async () => {
    const { upstream, send } = stage({ perSecond: 0.5 });
    await Promise.all([send(call()), send(call())]);
    const request = call();
    await expect(send(request)).rejects.toMatchObject({
      code: "RATE_LIMITED",
      message: "0.5/s (burst 2) used up, a token for this call in 2000 ms",
      replyFields:
        'Retry-After: 2\r\nRateLimit-Policy: "outrider";q=2;w=4\r\nRateLimit: "outrider";r=0;t=2\r\n',
    });
    expect(upstream.requests).toHaveLength(2);
    expect(trailOf(request)).toEqual([{ kind: "limited", stage: "rate limit", limit: 0.5 }]);
  });

  test("says at least one second, which is the unit of the field", async () => {
    const { send } = stage();
    await Promise.all([send(call()), send(call())]);
    await expect(send(call())).rejects.toMatchObject({
      replyFields: expect.stringMatching(/^Retry-After: 1\r\n/),
    });
  });

  test("lets the next one through when its token is there", async () => {
    const { clock, upstream, send } = stage();
    await Promise.all([send(call()), send(call())]);
    await clock.advance(100);
    await send(call());
    expect(upstream.requests).toHaveLength(3);
    expect(clock.untilNext()).toBeNull();
  });
});

describe("a rate limit that lets calls wait", () => {
  test("sends them in order, each when its token is there, and notes the wait", async () => {
    const { clock, upstream, send } = stage({ overflow: "wait", ...ONE_BUCKET });
    const calls = Array.from({ length: 5 }, (_, i) => call({ path: `/${i}` }));
    for (const request of calls) watch(send(request));
    await clock.advance(1000);
    expect(upstream.requests.map(({ path }) => path)).toEqual(["/0", "/1", "/2", "/3", "/4"]);
    expect(upstream.startedMs).toEqual([0, 0, 100, 200, 300]);
    expect(calls.map(trailOf)).toEqual([
      [],
      [],
      [{ kind: "queued", stage: "rate limit", waitMs: 100 }],
      [{ kind: "queued", stage: "rate limit", waitMs: 200 }],
      [{ kind: "queued", stage: "rate limit", waitMs: 300 }],
    ]);
    expect(clock.untilNext()).toBeNull();
  });

  test("nobody overtakes who waits", async () => {
    const { clock, upstream, send } = stage({ overflow: "wait", ...ONE_BUCKET });
    for (const path of ["/0", "/1", "/2", "/3"]) watch(send(call({ path })));
    await clock.advance(199.5);
    watch(send(call({ path: "/late" })));
    await clock.advance(1000);
    expect(upstream.requests.map(({ path }) => path)).toEqual(["/0", "/1", "/2", "/3", "/late"]);
  });

  test("refuses at once a call whose turn would come at its deadline or later", async () => {
    const { clock, upstream, send } = stage({ overflow: "wait", ...ONE_BUCKET });
    for (let i = 0; i < 3; i++) watch(send(call()));
    const late = watch(send(call().with({ deadlineMs: 200 })));
    const justInTime = watch(send(call().with({ deadlineMs: 201 })));
    await clock.advance(0);
    expect(late.error?.code).toBe("RATE_LIMITED");
    await clock.advance(90);
    const later = watch(send(call().with({ deadlineMs: 301 })));
    await clock.advance(110);
    expect(justInTime.value?.status).toBe(200);
    await clock.advance(100);
    expect(later.value?.status).toBe(200);
    expect(upstream.requests).toHaveLength(5);
  });

  test("a cancelled call leaves the line at once, and those behind it move up", async () => {
    const { clock, upstream, send } = stage({ overflow: "wait", ...ONE_BUCKET });
    for (let i = 0; i < 2; i++) watch(send(call()));
    const leaver = call({ path: "/leaver" });
    const left = watch(send(leaver));
    watch(send(call({ path: "/next" })));
    await clock.advance(50);
    const gone = failure("CLIENT_GONE");
    leaver.cancelled.fire(gone);
    await clock.advance(0);
    expect(left.error).toBe(gone);
    expect(trailOf(leaver)).toEqual([{ kind: "queued", stage: "rate limit", waitMs: 50 }]);
    await clock.advance(50);
    expect(upstream.requests.map(({ path }) => path)).toEqual(["/", "/", "/next"]);
  });

  test("refuses a call when a thousand wait already", async () => {
    const { send, clock } = stage({ overflow: "wait", ...ONE_BUCKET });
    for (let i = 0; i < 1002; i++) watch(send(call()));
    await expect(send(call())).rejects.toMatchObject({ code: "RATE_LIMITED" });
    await clock.advance(100);
    const sent = watch(send(call()));
    await clock.advance(0);
    expect(sent.pending).toBe(true);
  });

  test("keeps its pace for tokens that never are a whole number of milliseconds apart", async () => {
    const { clock, upstream, send } = stage({ overflow: "wait", perSecond: 300, burst: 1 });
    for (let i = 0; i < 301; i++) watch(send(call()));
    await clock.advance(1010);
    expect(upstream.requests).toHaveLength(301);
    const last = upstream.startedMs.at(-1)!;
    expect(last).toBeGreaterThanOrEqual(1000);
    expect(last).toBeLessThanOrEqual(1004);
  });
});
