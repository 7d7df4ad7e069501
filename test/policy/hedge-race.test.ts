import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import type { Send } from "../../src/exchange.ts";
import { hedge } from "../../src/policy/hedge.ts";
import { Source } from "./bodies.ts";
import { answer, call, failure, retryOptions, type Step, trailOf, watch } from "./calls.ts";
import { OPTIONS, ok, reset, slow, slowError, stage } from "./hedge-stage.ts";

describe("a copy that fails", () => {
  test("does not win: the other one may still answer", async () => {
    const { clock, send } = stage([slow(60, answer(503)), slow(100)]);
    const sent = watch(send(call()));
    await clock.advance(60);
    expect(sent.pending).toBe(true);
    await clock.advance(90);
    expect(sent.value).toBe(ok);
  });

  test("has its response cut off when the other one wins", async () => {
    const source = new Source();
    const { clock, send } = stage([slow(60, answer(503, "", source.body)), slow(100)]);
    watch(send(call()));
    await clock.advance(149);
    expect(source.cancelledFor).toBeNull();
    await clock.advance(1);
    expect(source.cancelledFor?.message).toBe("another copy of the call was answered first");
  });

  test.each<[string, Step, Step, unknown]>([
    ["the last response, when both are", slow(60, answer(503)), slow(100, answer(429)), { status: 429 }],
    [
      "the response, when the other is an error",
      slow(60, answer(503)),
      { afterMs: 100, outcome: reset },
      { status: 503 },
    ],
    [
      "the response that came behind an error",
      { afterMs: 60, outcome: reset },
      slow(100, answer(503)),
      { status: 503 },
    ],
    [
      "the last error",
      { afterMs: 60, outcome: failure("CONNECT_FAILED") },
      { afterMs: 100, outcome: reset },
      reset,
    ],
  ])("leaves, when all fail, %s", async (_, first, second, left) => {
    const { clock, upstream, send } = stage([first, second]);
    const request = call();
    const sent = watch(send(request));
    await clock.advance(1000);
    expect(sent.value ?? sent.error).toMatchObject(left as object);
    expect(upstream.requests).toHaveLength(2);
    expect(trailOf(request)).toEqual([{ kind: "hedge", attempt: 2, afterMs: 50, won: false }]);
  });

  test("has come as far as the furthest of all, whatever the last one says", async () => {
    const sentFirst: Step[] = [
      { afterMs: 60, outcome: failure("UPSTREAM_RESET") },
      slowError("CONNECT_FAILED"),
    ];
    const { clock, send } = stage(sentFirst, { methods: ["POST"] });
    const sent = watch(send(call({ method: "POST" })));
    await clock.advance(1000);
    expect(sent.error).toMatchObject({ code: "CONNECT_FAILED", reached: "sent" });
    const unsent = stage([slowError("CONNECT_FAILED")]);
    const other = watch(unsent.send(call()));
    await unsent.clock.advance(1000);
    expect(other.error).toMatchObject({ code: "CONNECT_FAILED", reached: "unsent" });
  });

  test("by a per_try_timeout has come as far as the furthest, however each of them notes it on its error", async () => {
    const clock = new VirtualClock();
    let sends = 0;
    // The second copy never connects, and says so of its own error, as the dialler does.
    const send: Send = (request) => {
      const unsent = ++sends === 2;
      return new Promise((_, reject) =>
        request.cancelled.on((reason) => {
          if (unsent) reason.reached = "unsent";
          reject(reason);
        }),
      );
    };
    const request = call();
    const sent = watch(hedge({ hedge: OPTIONS, retry: retryOptions() }, clock)(send)(request));
    await clock.advance(60);
    request.cancelled.fire(failure("PER_TRY_TIMEOUT"));
    await clock.advance(0);
    expect(sends).toBe(2);
    expect(sent.error).toMatchObject({ code: "PER_TRY_TIMEOUT", reached: "sent" });
  });

  test("by a defect of a stage further in, even a thrown one, ends nothing but the call", async () => {
    const clock = new VirtualClock();
    let sends = 0;
    const broken: Send = () => {
      sends += 1;
      if (sends === 2) throw new TypeError("x is undefined");
      return new Promise((_, reject) => void clock.after(60, () => reject(failure("UPSTREAM_RESET"))));
    };
    const sent = watch(hedge({ hedge: OPTIONS, retry: retryOptions() }, clock)(broken)(call()));
    await clock.advance(60);
    expect(sent.error?.code).toBe("UPSTREAM_RESET");
    expect(sends).toBe(2);
  });
});

describe("a call that is cancelled", () => {
  test("ends all of its copies with the same reason, and no other leaves", async () => {
    const { clock, upstream, send } = stage(["silence"], { maxHedges: 2 });
    const request = call();
    const sent = watch(send(request));
    await clock.advance(60);
    const gone = failure("CLIENT_GONE");
    request.cancelled.fire(gone);
    await clock.advance(1000);
    expect(sent.error).toBe(gone);
    expect(upstream.requests.map(({ cancelled }) => cancelled.value)).toEqual([gone, gone]);
    expect(clock.untilNext()).toBeNull();
  });

  test("ends with that reason, and not with a response whose body it lost", async () => {
    const { clock, send } = stage([slow(60, answer(503)), "silence"]);
    const request = call();
    const sent = watch(send(request));
    await clock.advance(70);
    const late = failure("PER_TRY_TIMEOUT");
    request.cancelled.fire(late);
    await clock.advance(0);
    expect(sent.error).toBe(late);
  });

  test("after its winner's head still ends the winner's body", async () => {
    const { clock, upstream, send } = stage(["silence", slow(0)]);
    const request = call();
    watch(send(request));
    await clock.advance(50);
    request.cancelled.fire(failure("CLIENT_GONE"));
    expect(upstream.requests[1]?.cancelled.value?.code).toBe("CLIENT_GONE");
  });

  test("before it began is given up by its first copy", async () => {
    const { clock, upstream, send } = stage(["silence"]);
    const request = call();
    request.cancelled.fire(failure("CLIENT_GONE"));
    const sent = watch(send(request));
    await clock.advance(1000);
    expect(sent.error?.code).toBe("CLIENT_GONE");
    expect(upstream.requests).toHaveLength(1);
  });
});
