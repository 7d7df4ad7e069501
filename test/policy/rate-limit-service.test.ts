import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import type { RateLimitOptions } from "../../src/config/types.ts";
import { descriptorFor } from "../../src/policy/rate-limit-descriptors.ts";
import { rateLimitStage } from "../../src/policy/rate-limit-stage.ts";
import type { DescriptorEntry, FleetRates, RateVerdict } from "../../src/policy/rate-source.ts";
import { answer, call, failure, ONE_BUCKET, ScriptedUpstream, trailOf, watch } from "./calls.ts";

const NAMES = { destination: "pay", route: "/v1", identity: "checkout" };
const OPTIONS: RateLimitOptions = {
  perSecond: 1,
  burst: 1,
  overflow: "reject",
  ...ONE_BUCKET,
  descriptors: ["tenant=$header:X-Tenant", "to=$destination"],
};
const VERDICT: RateVerdict = { over: false, resetMs: 0, requestFields: "", responseFields: "" };

describe("the descriptor of a call", () => {
  const fields = "X-Tenant: acme\r\nEmpty:\r\n";
  const rows: [entries: string[], filled: [string, string][] | null][] = [
    [["generic_key=all"], [["generic_key", "all"]]],
    [["a=b=c"], [["a", "b=c"]]],
    [["to=$destination"], [["to", "pay"]]],
    [["at=$route"], [["at", "/v1"]]],
    [["from=$identity"], [["from", "checkout"]]],
    [["tenant=$header:X-TENANT"], [["tenant", "acme"]]],
    [["tenant=$header:missing"], null],
    [["tenant=$header:empty"], null],
    [["a=1", "tenant=$header:missing"], null],
    [
      ["b=2", "a=1"],
      [
        ["b", "2"],
        ["a", "1"],
      ],
    ],
    [["a=constructor"], [["a", "constructor"]]],
  ];
  test.each(rows)("%j is %j", (entries, filled) => {
    const expected = filled?.map(([key, value]) => ({ key, value })) ?? null;
    expect(descriptorFor(entries, NAMES)(fields)).toEqual(expected);
  });

  test("has a value where there is no route and no identity", () => {
    const nameless = { destination: "", route: "", identity: "" };
    const entries = descriptorFor(["at=$route", "from=$identity"], nameless)("");
    expect(entries?.map(({ value }) => value)).toEqual(["/", "-"]);
  });
});

/** A stage whose service says `verdict`, after `afterMs`. */
function stage(verdict: RateVerdict | Error, onFailure: "open" | "closed" = "open", afterMs = 0) {
  const clock = new VirtualClock();
  const upstream = new ScriptedUpstream(clock, answer(200, "Old: 1\r\n"));
  const asked: (readonly DescriptorEntry[])[] = [];
  const judge: FleetRates["judge"] = {
    onFailure,
    ask: (entries, request) => {
      asked.push(entries);
      return new Promise((resolve, reject) => {
        request.cancelled.on(reject);
        clock.after(afterMs, () => (verdict instanceof Error ? reject(verdict) : resolve(verdict)));
      });
    },
  };
  const send = rateLimitStage(OPTIONS, clock, { tokens: null, judge, names: NAMES })(upstream.send);
  const request = () => call({ fields: "X-Tenant: acme\r\n" });
  return { clock, upstream, asked, send, request };
}

describe("a rate limit service", () => {
  test("is told the descriptor, and lets the call pass with the fields that it adds both ways", async () => {
    const verdict = { ...VERDICT, requestFields: "To-Upstream: 1\r\n", responseFields: "To-Client: 2\r\n" };
    const { clock, upstream, asked, send, request } = stage(verdict, "open", 7);
    const sent = request();
    const seen = watch(send(sent));
    await clock.advance(7);
    expect(asked).toEqual([
      [
        { key: "tenant", value: "acme" },
        { key: "to", value: "pay" },
      ],
    ]);
    expect(upstream.requests[0]?.fields).toBe("X-Tenant: acme\r\nTo-Upstream: 1\r\n");
    expect(seen.value?.fields).toBe("Old: 1\r\nTo-Client: 2\r\n");
    expect(trailOf(sent)).toEqual([{ kind: "queued", stage: "rate limit service", waitMs: 7 }]);
  });

  test("judges alone: the local limit does not count", async () => {
    const { clock, upstream, send, request } = stage(VERDICT);
    for (let i = 0; i < 5; i++) watch(send(request()));
    await clock.advance(0);
    expect(upstream.requests).toHaveLength(5);
  });

  const over: [what: string, verdict: Partial<RateVerdict>, fields: string][] = [
    ["the time until its limit is fresh", { resetMs: 2001 }, "Retry-After: 3\r\n"],
    ["a second when it says no time", {}, "Retry-After: 1\r\n"],
    [
      "its own fields besides",
      { resetMs: 500, responseFields: "X-Limit: 5\r\n" },
      "Retry-After: 1\r\nX-Limit: 5\r\n",
    ],
    ["its own Retry-After", { resetMs: 500, responseFields: "retry-after: 9\r\n" }, "retry-after: 9\r\n"],
  ];
  test.each(over)(
    "that is over its limit refuses the call and tells the client %s",
    async (_what, verdict, fields) => {
      const { clock, upstream, send, request } = stage({ ...VERDICT, over: true, ...verdict });
      const refused = request();
      const seen = watch(send(refused));
      await clock.advance(0);
      expect(seen.error).toMatchObject({ code: "RATE_LIMITED", replyFields: fields });
      expect(trailOf(refused).at(-1)).toEqual({ kind: "limited", stage: "rate limit service", limit: 1 });
      expect(upstream.requests).toHaveLength(0);
    },
  );

  test("is not asked about a call that lacks a header of the descriptor", async () => {
    const { asked, upstream, send } = stage(VERDICT);
    await send(call());
    expect(asked).toHaveLength(0);
    expect(upstream.requests).toHaveLength(1);
  });

  test("that gives no verdict leaves the call to the local limit when it fails open", async () => {
    const { clock, upstream, send, request } = stage(new Error("away"));
    const seen = [watch(send(request())), watch(send(request()))];
    await clock.advance(0);
    expect(seen[0]?.value?.status).toBe(200);
    expect(seen[1]?.error?.message).toBe("1/s (burst 1) used up, a token for this call in 1000 ms");
    expect(upstream.requests).toHaveLength(1);
  });

  test("that gives no verdict refuses the call when it fails closed", async () => {
    const { clock, upstream, send, request } = stage(new Error("away"), "closed");
    const seen = watch(send(request()));
    await clock.advance(0);
    expect(seen.error).toMatchObject({
      code: "RATE_LIMITED",
      message: "fleet.rate_limit_service gave no verdict: away",
      replyFields: "Retry-After: 1\r\n",
    });
    expect(upstream.requests).toHaveLength(0);
  });

  test("does not outlive the call: its cancellation is the outcome, and nothing is sent", async () => {
    const { clock, upstream, send, request } = stage(VERDICT, "open", 1000);
    const sent = request();
    const seen = watch(send(sent));
    await clock.advance(10);
    const reason = failure("DEADLINE_EXCEEDED");
    sent.cancelled.fire(reason);
    await clock.advance(2000);
    expect(seen.error).toBe(reason);
    expect(upstream.requests).toHaveLength(0);
  });
});

describe("without a service", () => {
  test("descriptors leave the limit to this sandbox", async () => {
    const clock = new VirtualClock();
    const upstream = new ScriptedUpstream(clock, answer());
    const send = rateLimitStage(OPTIONS, clock)(upstream.send);
    await send(call());
    await expect(send(call())).rejects.toMatchObject({ code: "RATE_LIMITED" });
  });
});
