import { describe, expect, test } from "vitest";
import { Body } from "../../src/body.ts";
import { VirtualClock } from "../../src/clock.ts";
import type { InvocationBudgetOptions } from "../../src/config/types.ts";
import { EgressResponse } from "../../src/exchange.ts";
import { Lifecycle } from "../../src/lifecycle.ts";
import { invocationBudget } from "../../src/policy/invocation-budget.ts";
import { newSpending, spendBytes, spendCall } from "../../src/policy/invocation-budget-state.ts";
import { Sink, Source } from "./bodies.ts";
import { answer, call, failure, ScriptedUpstream, type Step, settle, trailOf, watch } from "./calls.ts";

describe("one more call", () => {
  test.each([
    ["unbounded", 0, 0, { calls: 99, bytes: 9999 }, 50, null],
    ["the last one", 3, 0, { calls: 2, bytes: 0 }, 0, null],
    ["one too many", 3, 0, { calls: 3, bytes: 0 }, 0, "calls"],
    ["a body that fits", 0, 100, { calls: 0, bytes: 60 }, 40, null],
    ["a body that does not", 0, 100, { calls: 0, bytes: 60 }, 41, "bytes"],
    ["without a body, when there is a byte left", 0, 100, { calls: 0, bytes: 99 }, 0, null],
    ["without a body, when there is none", 0, 100, { calls: 0, bytes: 100 }, 0, "bytes"],
  ] as const)(
    "%s: allowed %i calls and %i bytes, spent %j, body of %i: %s",
    (_, calls, bytes, spent, body, part) => {
      const spending = { ...newSpending(1), ...spent };
      expect(spendCall({ calls, bytes }, spending, body)).toBe(part);
      const counted = part === null ? { calls: spent.calls + 1, bytes: spent.bytes + body } : spent;
      expect(spending).toEqual({ sequence: 1, ...counted });
    },
  );

  test("bytes that do not fit leave the budget spent", () => {
    const spending = newSpending(1);
    expect(spendBytes({ calls: 0, bytes: 10 }, spending, 10)).toBe(true);
    expect(spendBytes({ calls: 0, bytes: 10 }, spending, 1)).toBe(false);
    expect(spendCall({ calls: 0, bytes: 10 }, spending, 0)).toBe("bytes");
  });
});

function scene(options: Partial<InvocationBudgetOptions>, ...steps: Step[]) {
  const clock = new VirtualClock();
  const lifecycle = new Lifecycle(clock);
  const upstream = new ScriptedUpstream(clock, ...(steps.length === 0 ? [answer()] : steps));
  const send = invocationBudget(
    { calls: 0, bytes: 0, ...options },
    clock,
    () => lifecycle.work,
  )(upstream.send);
  const invoke = (id: string) => lifecycle.workStarted(id, Number.POSITIVE_INFINITY, "");
  /** Sends, and lets the time pass that a refusal takes. */
  const sent = async (request = call()) => {
    const seen = watch(send(request));
    await clock.advance(50);
    return seen;
  };
  return { clock, lifecycle, upstream, send, invoke, sent };
}

describe("calls", () => {
  test("above the budget are refused before they are sent, and noted", async () => {
    const { invoke, sent, upstream } = scene({ calls: 2 });
    invoke("a");
    await sent();
    await sent();
    const request = call();
    const { error } = await sent(request);
    expect(error?.code).toBe("BUDGET_SPENT");
    expect(error?.message).toContain("limits.per_invocation allows 2 calls");
    expect(upstream.requests).toHaveLength(2);
    expect(trailOf(request)).toEqual([{ kind: "limited", stage: "invocation budget", limit: 2 }]);
  });

  test("of the next invocation have a full budget", async () => {
    const { invoke, sent } = scene({ calls: 1 });
    invoke("a");
    await sent();
    expect((await sent()).error?.code).toBe("BUDGET_SPENT");
    invoke("b");
    expect((await sent()).value?.status).toBe(200);
    expect((await sent()).error?.code).toBe("BUDGET_SPENT");
  });

  test("that come before the word of their invocation wait for it, and count there", async () => {
    const { clock, invoke, send, sent } = scene({ calls: 1 });
    invoke("a");
    await sent();
    const early = watch(send(call()));
    await clock.advance(5);
    expect(early.pending).toBe(true);
    invoke("b");
    await clock.advance(50);
    expect(early.value?.status).toBe(200);
    expect((await sent()).error?.code).toBe("BUDGET_SPENT");
  });

  test("that wait do not wait past their deadline, nor when they are given up", async () => {
    const { clock, invoke, send, sent } = scene({ calls: 1 });
    invoke("a");
    await sent();
    const late = watch(send(call().with({ deadlineMs: clock.now() + 3 })));
    const request = call();
    const given = watch(send(request));
    request.cancelled.fire(failure("CLIENT_GONE"));
    await clock.advance(3);
    expect([late.error?.code, given.pending]).toEqual(["BUDGET_SPENT", true]);
    await clock.advance(20);
    expect(given.error?.code).toBe("CLIENT_GONE");
  });

  test.each(["before the first invocation", "on a host without invocations"])(
    "%s are not counted",
    async (when) => {
      const { invoke, sent } = scene({ calls: 1 });
      if (when.startsWith("on")) invoke("");
      for (let i = 0; i < 5; i++) expect((await sent()).value?.status).toBe(200);
    },
  );

  test("leave as they came where only calls are counted", async () => {
    const { invoke, sent, upstream } = scene({ calls: 5 });
    invoke("a");
    const request = call({ body: new Source().body });
    await sent(request);
    expect(upstream.requests[0]).toBe(request);
  });
});

describe("bytes", () => {
  test("of requests and responses count together", async () => {
    const { invoke, sent, upstream } = scene({ bytes: 100 }, answer(200, "", Body.of("x".repeat(40))));
    invoke("a");
    const put = () => call({ method: "PUT", body: Body.of("y".repeat(20)) });
    expect((await sent(put())).value?.status).toBe(200);
    // 60 are spent: the request fits, its answer would not.
    const { error } = await sent(put());
    expect(error?.code).toBe("BUDGET_SPENT");
    expect(upstream.requests).toHaveLength(2);
    await sent();
    expect(upstream.requests).toHaveLength(2);
  });

  test("of a request that states too many are refused before one is sent", async () => {
    const { invoke, sent, upstream } = scene({ bytes: 100 });
    invoke("a");
    expect((await sent(call({ body: new Source(101).body }))).error?.code).toBe("BUDGET_SPENT");
    expect(upstream.requests).toHaveLength(0);
  });

  test("of an answer that states too many are refused in its place, and its body is cancelled", async () => {
    const source = new Source(101);
    const { invoke, sent } = scene({ bytes: 100 }, answer(200, "", source.body));
    invoke("a");
    expect((await sent()).error?.code).toBe("BUDGET_SPENT");
    expect(source.cancelledFor?.code).toBe("BUDGET_SPENT");
  });

  test("that an answer to HEAD describes do not count", async () => {
    const { invoke, sent } = scene({ bytes: 100 }, answer(200, "", new Body(5000, null, "")));
    invoke("a");
    expect((await sent(call({ method: "HEAD" }))).value?.status).toBe(200);
  });

  test("of an answer of unknown length break it off in front of the piece that does not fit", async () => {
    const source = new Source();
    const { invoke, sent } = scene({ bytes: 10 }, answer(200, "A: b\r\n", source.body));
    invoke("a");
    const request = call();
    const response = (await sent(request)).value!;
    expect([response.status, response.fields]).toEqual([200, "A: b\r\n"]);
    const sink = new Sink();
    response.body.pipe(sink);
    source.push("12345678");
    source.push("901");
    expect(sink.text).toBe("12345678");
    expect(sink.abortedFor?.code).toBe("BUDGET_SPENT");
    expect(source.cancelledFor?.code).toBe("BUDGET_SPENT");
    expect(trailOf(request)).toEqual([{ kind: "limited", stage: "invocation budget", limit: 10 }]);
  });

  test("of a request of unknown length break it off likewise, at the upstream and at the application", async () => {
    const source = new Source();
    const { invoke, sent, upstream } = scene({ bytes: 10 }, "silence");
    invoke("a");
    await sent(call({ method: "POST", body: source.body }));
    const sink = new Sink();
    upstream.requests[0]!.body.pipe(sink);
    source.push("1234567890");
    source.push("1");
    expect([sink.text, sink.abortedFor?.code]).toEqual(["1234567890", "BUDGET_SPENT"]);
    expect(source.cancelledFor?.code).toBe("BUDGET_SPENT");
  });

  test("of an answer that outlives its invocation are not the next one's", async () => {
    const source = new Source();
    const { invoke, sent } = scene({ bytes: 10 }, answer(200, "", source.body), answer());
    invoke("a");
    const sink = new Sink();
    (await sent()).value!.body.pipe(sink);
    invoke("b");
    await sent();
    source.push("1234567890");
    expect((await sent()).value?.status).toBe(200);
    source.push("1");
    expect(sink.abortedFor?.code).toBe("BUDGET_SPENT");
  });

  test("of a tunnel count when it is over", async () => {
    const tunnel = { socket: null as never, head: new Uint8Array(0), protocol: "" };
    const { invoke, sent } = scene({ bytes: 100 }, new EgressResponse(200, "", "", Body.of(""), tunnel));
    invoke("a");
    const request = call({ method: "CONNECT" });
    expect((await sent(request)).value?.tunnel).toBe(tunnel);
    expect((await sent()).value?.status).toBe(200);
    request.trail.push({ kind: "tunnel", bytesUp: 60, bytesDown: 40 });
    settle(request);
    expect((await sent()).error?.code).toBe("BUDGET_SPENT");
  });
});
