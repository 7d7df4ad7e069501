/** Where the stages that answer, count and reshape calls stand among the others. */
import { describe, expect, test } from "vitest";
import { Body } from "../../src/body.ts";
import { VirtualClock } from "../../src/clock.ts";
import type { RewriteOptions, RoutePolicy } from "../../src/config/types.ts";
import { compose } from "../../src/exchange.ts";
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

const FALLBACK = { statuses: [503], status: 200, contentType: "", body: "fallback" };
const STALE = { maxAgeMs: 60_000, bytesMax: 100_000, bodyBytesMax: 1000 };
const ONCE = { perSecond: 1, burst: 1, overflow: "reject", ...ONE_BUCKET } as const;
const CANARY = { host: "canary", port: 0, weight: 50, sticky: "none" };
const REWRITE: RewriteOptions = {
  pathPrefix: "/a",
  pathReplacement: "/a/a",
  setHeaders: [],
  removeHeaders: [],
  flags: [],
};

function chain(changes: Partial<RoutePolicy>, ...steps: Step[]) {
  const clock = new VirtualClock();
  const lifecycle = new Lifecycle(clock);
  lifecycle.workStarted("a", Number.POSITIVE_INFINITY, "");
  const upstream = new ScriptedUpstream(clock, ...steps);
  const policies = policyChain(routePolicy(changes), { clock, lifecycle });
  const send = compose(policies, upstream.send);
  const sent = async (request = call()) => {
    const seen = watch(send(request));
    await clock.advance(200);
    return seen;
  };
  return { policies, upstream, sent };
}

const good = () => answer(200, "", Body.of("good"));
const reset = failure("UPSTREAM_RESET");

test.each<[string, Partial<RoutePolicy>]>([
  ["fallback", { fallback: FALLBACK }],
  ["stale-if-error", { staleIfError: STALE }],
  ["invocation budget", { invocationBudget: { calls: 1, bytes: 0 } }],
  ["split", { split: [CANARY] }],
  ["rewrite", { rewrite: REWRITE }],
])("%s is one stage more, and none where it is not configured", (_, changes) => {
  const without = chain({}, good()).policies.length;
  expect(chain(changes, good()).policies).toHaveLength(without + 1);
});

describe("from outside in", () => {
  test("the fallback answers for what the rate limit refuses, and costs no token", async () => {
    const { sent, upstream } = chain({ fallback: FALLBACK, rateLimit: ONCE }, good());
    await sent();
    expect((await sent()).value?.body.whole).toBe("fallback");
    expect(upstream.requests).toHaveLength(1);
  });

  test("an older answer goes before the fallback", async () => {
    const { sent } = chain({ fallback: FALLBACK, staleIfError: STALE }, good(), reset);
    await sent();
    expect((await sent()).value?.body.whole).toBe("good");
    expect((await sent(call({ path: "/other" }))).value?.body.whole).toBe("fallback");
  });

  test("the fallback is inside the deadline: a call that is too late is not even begun", async () => {
    const { sent } = chain({ fallback: FALLBACK }, good());
    expect((await sent(call().with({ deadlineMs: -1 }))).error?.code).toBe("DEADLINE_EXCEEDED");
  });

  test("a call that the rate limit refuses is not counted against the invocation", async () => {
    const { sent } = chain(
      { rateLimit: { ...ONCE, perSecond: 10 }, invocationBudget: { calls: 2, bytes: 0 } },
      good(),
    );
    const [first, refused] = await Promise.all([sent(), sent()]);
    expect([first.value?.status, refused.error?.code]).toEqual([200, "RATE_LIMITED"]);
    expect((await sent()).value?.status).toBe(200);
    expect((await sent()).error?.code).toBe("BUDGET_SPENT");
  });

  test("a call that the budget refuses takes no slot; a call counts once, whatever its attempts", async () => {
    const changes = { invocationBudget: { calls: 2, bytes: 0 }, retry: retryOptions() };
    const { sent, upstream } = chain(changes, reset, good());
    await sent();
    expect((await sent()).value?.status).toBe(200);
    expect((await sent()).error?.code).toBe("BUDGET_SPENT");
    expect(upstream.requests).toHaveLength(3);
  });

  test("the split is outside the retry: all attempts of a call are on one side", async () => {
    for (let i = 0; i < 10; i++) {
      const { sent, upstream } = chain({ split: [CANARY], retry: retryOptions() }, reset, good());
      await sent();
      expect(upstream.requests).toHaveLength(2);
      expect(upstream.requests[1]!.host).toBe(upstream.requests[0]!.host);
    }
  });

  test("the rewrite is inside the retry, and of each attempt the same", async () => {
    const { sent, upstream } = chain({ rewrite: REWRITE, retry: retryOptions() }, reset, good());
    await sent(call({ path: "/a/b" }));
    expect(upstream.requests.map(({ path }) => path)).toEqual(["/a/a/b", "/a/a/b"]);
  });
});
