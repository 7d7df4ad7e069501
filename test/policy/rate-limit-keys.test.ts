import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import type { RateLimitOptions } from "../../src/config/types.ts";
import { rateLimit } from "../../src/policy/rate-limit.ts";
import { RateLines } from "../../src/policy/rate-limit-lines.ts";
import { localTokens } from "../../src/policy/rate-limit-local.ts";
import { answer, call, ONE_BUCKET, ScriptedUpstream, trailOf, watch } from "./calls.ts";

const OPTIONS: RateLimitOptions = {
  perSecond: 1,
  burst: 1,
  overflow: "reject",
  ...ONE_BUCKET,
  keyHeader: "x-tenant",
};

function stage(changes: Partial<RateLimitOptions> = {}) {
  const clock = new VirtualClock();
  const upstream = new ScriptedUpstream(clock, answer());
  const send = rateLimit({ ...OPTIONS, ...changes }, clock)(upstream.send);
  const of = (tenant: string) => call({ fields: `X-Tenant: ${tenant}\r\n` });
  /** Whether the tenant's next call passes. */
  const passes = (tenant: string) =>
    send(of(tenant)).then(
      () => true,
      () => false,
    );
  return { clock, upstream, send, of, passes };
}

describe("a rate limit with a key", () => {
  test("gives each value of the header a bucket of its own, whatever the case of its name", async () => {
    const { passes } = stage();
    expect(await passes("a")).toBe(true);
    expect(await passes("b")).toBe(true);
    expect(await passes("a")).toBe(false);
    expect(await passes("b")).toBe(false);
  });

  test("counts the calls without the header together", async () => {
    const { send, upstream } = stage();
    await send(call());
    await expect(send(call({ path: "/other" }))).rejects.toMatchObject({ code: "RATE_LIMITED" });
    expect(upstream.requests).toHaveLength(1);
  });

  test("forgets the key that was asked for the longest ago, and with it what it had spent", async () => {
    const { passes } = stage({ keysMax: 2 });
    expect(await passes("a")).toBe(true);
    expect(await passes("b")).toBe(true);
    expect(await passes("a")).toBe(false);
    expect(await passes("c")).toBe(true);
    expect(await passes("a")).toBe(false);
    expect(await passes("b")).toBe(true);
  });

  test("lets the calls of one key wait without holding up another", async () => {
    const { clock, upstream, send, of } = stage({ overflow: "wait" });
    for (const tenant of ["a", "a", "a", "b"]) watch(send(of(tenant)));
    await clock.advance(0);
    expect(upstream.startedMs).toEqual([0, 0]);
    await clock.advance(2000);
    expect(upstream.startedMs).toEqual([0, 0, 1000, 2000]);
    expect(clock.untilNext()).toBeNull();
  });

  test("keeps a line in which calls wait, however many other keys come", async () => {
    const { clock, upstream, send, of, passes } = stage({ overflow: "wait", keysMax: 2 });
    await send(of("a"));
    const request = of("a");
    watch(send(request));
    for (let i = 0; i < 10; i++) expect(await passes(`other-${i}`)).toBe(true);
    const behind = of("a");
    watch(send(behind));
    await clock.advance(2000);
    expect(upstream.requests).toHaveLength(13);
    expect(trailOf(request)).toEqual([{ kind: "queued", stage: "rate limit", waitMs: 1000 }]);
    expect(trailOf(behind)).toEqual([{ kind: "queued", stage: "rate limit", waitMs: 2000 }]);
  });

  test("lets a thousand calls wait, all keys together", async () => {
    const { clock, send, of } = stage({ overflow: "wait", perSecond: 1000, burst: 1 });
    for (let tenant = 0; tenant < 10; tenant++) {
      for (let i = 0; i < 101; i++) watch(send(of(String(tenant))));
    }
    await clock.advance(0);
    await send(of("one more key"));
    await expect(send(of("one more key"))).rejects.toMatchObject({ code: "RATE_LIMITED" });
    await clock.advance(200);
    await send(of("one more key"));
  });
});

describe("the lines of a rate limit", () => {
  const lines = (keysMax: number) => {
    const clock = new VirtualClock();
    return new RateLines(localTokens(OPTIONS, clock), keysMax, "rate limit", clock);
  };

  test("are never more than the keys that are kept", () => {
    const some = lines(100);
    for (let i = 0; i < 1000; i++) some.line(`key-${i}`);
    expect(some.size).toBe(100);
  });

  test("tell long keys apart that begin alike", () => {
    const some = lines(100);
    const long = "k".repeat(10_000);
    expect(some.line(`${long}1`)).not.toBe(some.line(`${long}2`));
    expect(some.line(`${long}1`)).toBe(some.line(`${long}1`));
  });
});
