import { describe, expect, test } from "vitest";
import { Body } from "../../src/body.ts";
import type { Clock } from "../../src/clock.ts";
import { VirtualClock } from "../../src/clock.ts";
import type { StaleOptions } from "../../src/config/types.ts";
import type { EgressRequest } from "../../src/exchange.ts";
import { fieldValue } from "../../src/http1/fields.ts";
import { staleIfError } from "../../src/policy/stale-if-error.ts";
import { type StaleAnswer, StaleStore } from "../../src/policy/stale-store.ts";
import { Sink, Source } from "./bodies.ts";
import { answer, call, failure, ScriptedUpstream, type Step, settle, trailOf } from "./calls.ts";

const OPTIONS: StaleOptions = { maxAgeMs: 60_000, bytesMax: 100_000, bodyBytesMax: 1000 };

function scene(steps: Step[], options: Partial<StaleOptions> = {}, clock: Clock = new VirtualClock()) {
  const upstream = new ScriptedUpstream(clock, ...steps);
  return { clock, upstream, send: staleIfError({ ...OPTIONS, ...options }, clock)(upstream.send) };
}

const good = (text = "good", fields = "") => answer(200, fields, Body.of(text));
const down = failure("CONNECT_FAILED");

describe("the last good answer", () => {
  test("takes the place of an error, with its age, and is noted", async () => {
    const clock = new VirtualClock();
    const { send } = scene([good("prices", "Content-Type: text/plain\r\nAge: 2\r\n"), down], {}, clock);
    await send(call());
    await clock.advance(5500);
    const request = call();
    const response = await send(request);
    expect([response.status, response.body.whole]).toEqual([200, "prices"]);
    expect(response.fields).toBe("Content-Type: text/plain\r\nAge: 7\r\nOutrider-Served: stale; age=7\r\n");
    expect(trailOf(request)).toEqual([{ kind: "fallback", why: "CONNECT_FAILED", ageMs: 7500 }]);
  });

  test.each([500, 502, 503, 504])("takes the place of %i, whose body is dropped", async (status) => {
    const source = new Source();
    const { send } = scene([good(), answer(status, "", source.body)]);
    await send(call());
    const request = call();
    expect((await send(request)).body.whole).toBe("good");
    settle(request);
    expect(source.cancelledFor?.code).toBe("SUPERSEDED");
  });

  test.each([404, 429, 501])("does not take the place of %i, which is an answer", async (status) => {
    const { send } = scene([good(), answer(status)]);
    await send(call());
    expect((await send(call())).status).toBe(status);
  });

  test("is asked for at the upstream each time: this is no cache", async () => {
    const { send, upstream } = scene([good("one"), good("two")]);
    await send(call());
    expect((await send(call())).body.whole).toBe("two");
    expect(upstream.requests).toHaveLength(2);
  });

  test("is served as often as the upstream fails, and replaced when it is back", async () => {
    const { send } = scene([good("one"), down, down, good("two"), down]);
    const bodies: (string | null)[] = [];
    for (let i = 0; i < 5; i++) bodies.push((await send(call())).body.whole);
    expect(bodies).toEqual(["one", "one", "one", "two", "two"]);
  });

  test("is not served past the stated age", async () => {
    const clock = new VirtualClock();
    const { send } = scene([good(), down], {}, clock);
    await send(call());
    await clock.advance(60_001);
    await expect(send(call())).rejects.toBe(down);
  });

  test("grows old in a freeze too, in which the monotonic clock stands still", async () => {
    let wall = 1_790_000_000_000;
    const frozen: Clock = { now: () => 0, wall: () => wall, after: () => ({ cancel: () => {} }) };
    const { send } = scene([good(), down], {}, frozen);
    await send(call());
    wall += 59_000;
    expect(fieldValue((await send(call())).fields, "age")).toBe("59");
    wall += 2000;
    await expect(send(call())).rejects.toBe(down);
  });

  test("is not served when the wall clock has gone back, older than the other clock says", async () => {
    let now = 0;
    const clock: Clock = {
      now: () => now,
      wall: () => 1_790_000_000_000 - now,
      after: () => ({ cancel: () => {} }),
    };
    const { send } = scene([good(), down], {}, clock);
    await send(call());
    now = 61_000;
    await expect(send(call())).rejects.toBe(down);
  });

  test("is another target's no answer", async () => {
    const { send } = scene([good(), down]);
    await send(call({ path: "/a" }));
    await expect(send(call({ path: "/b" }))).rejects.toBe(down);
  });

  test.each<[string, EgressRequest]>([
    ["with Authorization", call({ fields: "Authorization: Bearer x\r\n" })],
    ["with another method", call({ method: "HEAD" })],
  ])("is not served to a call %s", async (_, request) => {
    const { send } = scene([good(), down]);
    await send(call());
    await expect(send(request)).rejects.toBe(down);
  });

  test("is not kept of a call with Authorization", async () => {
    const { send } = scene([good(), down]);
    await send(call({ fields: "Authorization: Bearer x\r\n" }));
    await expect(send(call())).rejects.toBe(down);
  });

  test("is never served to an application that gave the call up", async () => {
    const { send } = scene([good(), down]);
    await send(call());
    const request = call();
    request.cancelled.fire(failure("CLIENT_GONE"));
    await expect(send(request)).rejects.toMatchObject({ code: "CLIENT_GONE" });
  });

  test("is forgotten when the target is gone, and when a call changes it", async () => {
    const { send } = scene([good(), answer(404), down, good(), answer(204), down]);
    await send(call());
    await send(call());
    await expect(send(call())).rejects.toBe(down);
    await send(call());
    await send(call({ method: "PUT" }));
    await expect(send(call())).rejects.toBe(down);
  });

  test("is forgotten when a newer one may not be kept", async () => {
    const { send } = scene([good(), good("mine", "Cache-Control: private\r\n"), down]);
    await send(call());
    await send(call());
    await expect(send(call())).rejects.toBe(down);
  });
});

describe("an answer that comes in pieces", () => {
  type End = "whole" | "trailers" | "broken" | "open";

  async function passed(options: Partial<StaleOptions>, length: number | null, pieces: string[], end: End) {
    const source = new Source(length);
    const { send } = scene([answer(200, "", source.body), down], options);
    const sink = new Sink();
    (await send(call())).body.pipe(sink);
    for (const piece of pieces) source.push(piece);
    if (end === "broken") source.body.fail(failure("UPSTREAM_ABORTED"));
    else if (end !== "open") source.body.end(end === "trailers" ? "X: y\r\n" : "");
    const kept = await send(call()).then(
      ({ body }) => body.whole,
      () => null,
    );
    return { sink, kept };
  }

  test("passes as it comes and is kept when it was whole", async () => {
    const { sink, kept } = await passed({}, null, ["ab\xff", "cd"], "whole");
    expect([sink.text, sink.trailers, kept]).toEqual(["ab\xffcd", "", "ab\xffcd"]);
  });

  test.each<[string, Partial<StaleOptions>, number | null, string[], End]>([
    ["broke off", {}, null, ["ab"], "broken"],
    ["is not over", {}, null, ["ab"], "open"],
    ["has trailers", {}, null, ["ab"], "trailers"],
    ["got longer than a body may be", { bodyBytesMax: 3 }, null, ["ab", "cd"], "whole"],
    ["says so beforehand", { bodyBytesMax: 3 }, 4, ["abcd"], "whole"],
    ["got longer than all may be", { bytesMax: 3 }, null, ["abcd"], "whole"],
  ])("passes all the same and is not kept when it %s", async (_, options, length, pieces, end) => {
    const { sink, kept } = await passed(options, length, pieces, end);
    expect([sink.text, kept]).toEqual([pieces.join(""), null]);
  });
});

describe("the store", () => {
  const kept = (body: string): StaleAnswer => ({
    keeping: { ageMsMax: 1, ageMs: 0, freshMs: 0, selecting: [{ name: "x-api-key", value: undefined }] },
    reason: "OK",
    fields: "",
    body,
    nowMs: 0,
    wallMs: 0,
  });

  test("never holds more bytes than it may: the oldest makes room, and one that was kept anew is the youngest", () => {
    const store = new StaleStore({ bytesMax: 3000, bodyBytesMax: 3000 });
    for (const key of ["a", "b", "a", "c", "d"]) {
      store.keep(key, kept("x".repeat(300)));
      expect(store.bytes).toBeLessThanOrEqual(3000);
    }
    expect(["a", "b", "c", "d"].filter((key) => store.get(key) !== undefined)).toEqual(["a", "c", "d"]);
  });

  test("keeps nothing that is larger than all, and forgets what it took the place of", () => {
    const store = new StaleStore({ bytesMax: 1000, bodyBytesMax: 5000 });
    store.keep("a", kept("x"));
    store.keep("a", kept("x".repeat(2000)));
    expect([store.get("a"), store.bytes]).toEqual([undefined, 0]);
  });

  test("bounds what all bodies that are being collected take", () => {
    const store = new StaleStore({ bytesMax: 100, bodyBytesMax: 80 });
    expect(store.reserve(0, 80)).toBe(true);
    expect(store.reserve(0, 30)).toBe(false);
    store.release(80);
    expect(store.reserve(0, 30)).toBe(true);
    expect(store.reserve(60, 30)).toBe(false);
  });
});
