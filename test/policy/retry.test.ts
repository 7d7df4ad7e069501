import { describe, expect, test } from "vitest";
import { Body } from "../../src/body.ts";
import { VirtualClock } from "../../src/clock.ts";
import type { RoutePolicy } from "../../src/config/types.ts";
import type { EgressRequest, Send } from "../../src/exchange.ts";
import { type RetrySurroundings, retry } from "../../src/policy/retry.ts";
import { Sink, Source } from "./bodies.ts";
import {
  answer,
  call,
  failure,
  retryOptions,
  ScriptedUpstream,
  type Step,
  seeded,
  trailOf,
  watch,
} from "./calls.ts";

type Options = Pick<RoutePolicy, "retry" | "perTryTimeoutMs">;

/** A retry stage on a scripted upstream. Jitter is the whole backoff, so that waits are 100, 200, … ms. */
function stage(steps: Step[], changes: Partial<Options> = {}, surroundings: Partial<RetrySurroundings> = {}) {
  const clock = new VirtualClock();
  const upstream = new ScriptedUpstream(clock, ...steps);
  const options: Options = { retry: retryOptions(), perTryTimeoutMs: 0, ...changes };
  const policy = retry(options, clock, { random: () => 1, workSequence: () => 0, ...surroundings });
  return { clock, upstream, send: policy(upstream.send) };
}

const reset = failure("UPSTREAM_RESET");
const ok = answer(200);
const unavailable = answer(503);

describe("a call that goes well", () => {
  test("is sent once, as it is, and leaves no trace of this stage", async () => {
    const { upstream, send, clock } = stage([ok]);
    const request = call();
    expect(await send(request)).toBe(ok);
    expect(upstream.requests).toEqual([request]);
    expect(upstream.requests[0]).toBe(request);
    expect(trailOf(request)).toEqual([]);
    expect(clock.untilNext()).toBeNull();
  });

  test("with a status that is no condition is handed on whatever it is", async () => {
    const refused = answer(404);
    const { send } = stage([refused]);
    const request = call();
    expect(await send(request)).toBe(refused);
    expect(trailOf(request)).toEqual([]);
  });
});

describe("a call that fails", () => {
  test("is sent again after its backoff, with the attempt's number, until it goes well", async () => {
    const { clock, upstream, send } = stage([reset, unavailable, ok]);
    const request = call();
    const sent = watch(send(request));
    await clock.advance(99);
    expect(upstream.startedMs).toEqual([0]);
    await clock.advance(1000);
    expect(sent.value).toBe(ok);
    expect(upstream.startedMs).toEqual([0, 100, 300]);
    expect(upstream.requests.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
    expect(trailOf(request)).toEqual([
      { kind: "retry", attempt: 1, why: "reset_before_response", waitMs: 100 },
      { kind: "retry", attempt: 2, why: "status_503", waitMs: 200 },
    ]);
  });

  test("ends with the last outcome: an error", async () => {
    const { clock, upstream, send } = stage([reset]);
    const request = call();
    const sent = watch(send(request));
    await clock.advance(1000);
    expect(sent.error).toBe(reset);
    expect(upstream.requests).toHaveLength(3);
    expect(trailOf(request).at(-1)).toEqual({ kind: "no_retry", attempt: 3, why: "max_retries" });
  });

  test("ends with the last outcome: a response, its body untouched", async () => {
    const source = new Source();
    const last = answer(503, "", source.body);
    const { clock, send } = stage([unavailable, unavailable, last]);
    const sent = watch(send(call()));
    await clock.advance(1000);
    expect(sent.value).toBe(last);
    const sink = new Sink();
    last.body.pipe(sink);
    source.push("why not");
    expect(sink.text).toBe("why not");
  });

  test("gives up early rather than waiting past the deadline", async () => {
    const { clock, upstream, send } = stage([reset]);
    const request = call().with({ deadlineMs: 250 });
    const sent = watch(send(request));
    await clock.advance(100);
    // At 100 ms the next wait would be 200 ms: the call is over now, not at 250.
    expect(sent.error).toBe(reset);
    expect(upstream.startedMs).toEqual([0, 100]);
    expect(trailOf(request).at(-1)).toEqual({ kind: "no_retry", attempt: 2, why: "deadline_too_near" });
  });

  test("hands a Retry-After that does not fit the deadline on at once", async () => {
    const busy = answer(429, "Retry-After: 30\r\n");
    const { clock, send } = stage([busy]);
    const request = call().with({ deadlineMs: 10_000 });
    const sent = watch(send(request));
    await clock.advance(0);
    expect(sent.value).toBe(busy);
    expect(trailOf(request)).toEqual([{ kind: "no_retry", attempt: 1, why: "retry_after_too_long" }]);
  });

  test("waits as long as Retry-After says when it fits", async () => {
    const { clock, upstream, send } = stage([answer(429, "Retry-After: 3\r\n"), ok]);
    const sent = watch(send(call().with({ deadlineMs: 10_000 })));
    await clock.advance(3000);
    expect(sent.value).toBe(ok);
    expect(upstream.startedMs).toEqual([0, 3000]);
  });

  test("is not sent again when its signature would be too old by then", async () => {
    const { clock, send } = stage([reset]);
    const stamp = new Date(clock.wall() - 299_950).toISOString().replaceAll(/[-:]|\.\d+/g, "");
    const fields = `Authorization: AWS4-HMAC-SHA256 SignedHeaders=host;x-amz-date, Signature=0\r\nX-Amz-Date: ${stamp}\r\n`;
    const request = call({ fields });
    await expect(send(request)).rejects.toBe(reset);
    expect(trailOf(request)).toEqual([{ kind: "no_retry", attempt: 1, why: "signature_too_old" }]);
  });

  test("a POST is sent again with an idempotency key only", async () => {
    const plain = stage([reset, ok]);
    await expect(plain.send(call({ method: "POST" }))).rejects.toBe(reset);
    const keyed = stage([reset, ok]);
    const sent = watch(keyed.send(call({ method: "POST", fields: "Idempotency-Key: 7\r\n" })));
    await keyed.clock.advance(100);
    expect(sent.value).toBe(ok);
  });

  test("an Upgrade is sent again only when nothing had left", async () => {
    const sent = stage([reset, ok]);
    await expect(sent.send(call({ upgrade: "websocket" }))).rejects.toBe(reset);
    const unsent = stage([failure("CONNECT_FAILED"), ok]);
    const seen = watch(unsent.send(call({ upgrade: "websocket" })));
    await unsent.clock.advance(100);
    expect(seen.value).toBe(ok);
  });

  test("a defect behind this stage becomes INTERNAL and is not sent again", async () => {
    const clock = new VirtualClock();
    const broken: Send = () => Promise.reject(new TypeError("x is undefined"));
    const options: Options = { retry: retryOptions(), perTryTimeoutMs: 0 };
    const send = retry(options, clock, { random: () => 1, workSequence: () => 0 })(broken);
    await expect(send(call())).rejects.toMatchObject({ code: "INTERNAL", message: "x is undefined" });
  });
});

describe("the budget", () => {
  test("is shared by the calls of a route: ten retries in a row, then the first failure stands", async () => {
    const { clock, upstream, send } = stage([reset], {
      retry: retryOptions({ maxRetries: 1, budgetFloor: 0 }),
    });
    for (let i = 0; i < 12; i++) {
      const sent = watch(send(call()));
      await clock.advance(100);
      expect(sent.error).toBe(reset);
    }
    expect(upstream.requests).toHaveLength(12 + 10);
    const last = call();
    await expect(send(last)).rejects.toBe(reset);
    expect(trailOf(last)).toEqual([{ kind: "no_retry", attempt: 1, why: "budget_spent" }]);
  });

  test("has a floor for each invocation", async () => {
    let sequence = 1;
    const { clock, upstream, send } = stage(
      [reset],
      { retry: retryOptions({ maxRetries: 1, budgetFloor: 1 }) },
      { workSequence: () => sequence },
    );
    const failing = async (calls: number) => {
      const before = upstream.requests.length;
      for (let i = 0; i < calls; i++) {
        watch(send(call()));
        await clock.advance(100);
      }
      return upstream.requests.length - before - calls;
    };
    expect(await failing(20)).toBe(10);
    sequence = 2;
    expect(await failing(20)).toBe(1);
  });

  test("is filled by successes, by the policy's ratio", async () => {
    const ratio = { retry: retryOptions({ maxRetries: 1, budgetFloor: 0, budgetRatio: 0.5 }) };
    const { clock, upstream, send } = stage([...Array(20).fill(reset), ok, ok, reset], ratio);
    for (let i = 0; i < 10; i++) {
      watch(send(call()));
      await clock.advance(100);
    }
    expect(upstream.requests).toHaveLength(20);
    // Two successes are one token: of the next two failures one is sent again.
    for (let i = 0; i < 4; i++) {
      watch(send(call()));
      await clock.advance(100);
    }
    expect(upstream.requests).toHaveLength(20 + 4 + 1);
  });
});

describe("per_try_timeout", () => {
  const bounded = (maxRetries = 2) => ({ perTryTimeoutMs: 50, retry: retryOptions({ maxRetries }) });

  test("ends an attempt that has no response head, and the next one has its own time", async () => {
    const { clock, upstream, send } = stage(["silence", { afterMs: 40, outcome: ok }], bounded());
    const request = call();
    const sent = watch(send(request));
    await clock.advance(50 + 100 + 40);
    expect(sent.value).toBe(ok);
    expect(upstream.startedMs).toEqual([0, 150]);
    expect(trailOf(request)).toEqual([{ kind: "retry", attempt: 1, why: "per_try_timeout", waitMs: 100 }]);
    expect(request.cancelled.value).toBeUndefined();
  });

  test("names the attempt, the peer and the time", async () => {
    const { clock, send } = stage(["silence"], bounded(0));
    const sent = watch(send(call()));
    await clock.advance(50);
    expect(sent.error).toMatchObject({
      code: "PER_TRY_TIMEOUT",
      message: "attempt 1: no head from api.example:443 in 50 ms",
    });
  });

  test("bounds the head only: a body may take longer", async () => {
    const { clock, upstream, send } = stage([ok], bounded());
    await send(call());
    await clock.advance(1000);
    expect(upstream.requests[0]?.cancelled.value).toBeUndefined();
    expect(clock.untilNext()).toBeNull();
  });

  test("works without retries, and then says nothing about them", async () => {
    const { clock, upstream, send } = stage(["silence"], bounded(0));
    const request = call();
    const sent = watch(send(request));
    await clock.advance(50);
    expect(sent.error?.code).toBe("PER_TRY_TIMEOUT");
    expect(upstream.requests).toHaveLength(1);
    expect(trailOf(request)).toEqual([]);
  });

  test("the call's own cancellation reaches the attempt, before the head and after it", async () => {
    const gone = failure("CLIENT_GONE");
    const waiting = stage(["silence"], bounded());
    const first = call();
    const sent = watch(waiting.send(first));
    first.cancelled.fire(gone);
    await waiting.clock.advance(0);
    expect(sent.error).toBe(gone);
    expect(waiting.clock.untilNext()).toBeNull();

    const streaming = stage([ok], bounded());
    const second = call();
    await streaming.send(second);
    second.cancelled.fire(gone);
    expect(streaming.upstream.requests[0]?.cancelled.value).toBe(gone);
  });

  test("a failed attempt is no longer reached by the call's cancellation", async () => {
    const { clock, upstream, send } = stage([reset, ok], bounded());
    const request = call();
    watch(send(request));
    await clock.advance(100);
    request.cancelled.fire(failure("CLIENT_GONE"));
    expect(upstream.requests.map(({ cancelled }) => cancelled.value?.code)).toEqual([
      undefined,
      "CLIENT_GONE",
    ]);
  });

  test("arms nothing when the call's deadline comes first", async () => {
    const { clock, upstream, send } = stage([ok], bounded());
    const request = call().with({ deadlineMs: 50 });
    await send(request);
    expect(upstream.requests[0]).toBe(request);
    expect(clock.untilNext()).toBeNull();
  });
});

describe("while it waits", () => {
  test("a cancelled call ends at once and is not sent again", async () => {
    const { clock, upstream, send } = stage([reset, ok]);
    const request = call();
    const sent = watch(send(request));
    await clock.advance(10);
    const gone = failure("CLIENT_GONE");
    request.cancelled.fire(gone);
    await clock.advance(0);
    expect(sent.error).toBe(gone);
    expect(clock.untilNext()).toBeNull();
    await clock.advance(1000);
    expect(upstream.requests).toHaveLength(1);
  });

  test("a call that was cancelled before is not waited for", async () => {
    const { send, clock } = stage([reset, ok]);
    const request = call();
    request.cancelled.fire(failure("CLIENT_GONE"));
    await expect(send(request)).rejects.toMatchObject({ code: "CLIENT_GONE" });
    expect(clock.untilNext()).toBeNull();
  });

  test("the failed response is drained, so that its connection is back before the next attempt", async () => {
    const source = new Source(7);
    const { clock, upstream, send } = stage([answer(503, "", source.body), ok]);
    watch(send(call()));
    await clock.advance(10);
    source.push("too bad");
    source.body.end();
    expect(upstream.requests).toHaveLength(1);
    await clock.advance(90);
    expect(upstream.requests).toHaveLength(2);
    expect(source.cancelledFor).toBeNull();
  });

  test("a failed response that dawdles is cut off when the wait is over", async () => {
    const source = new Source(7);
    const { clock, upstream, send } = stage([answer(503, "", source.body), ok]);
    watch(send(call()));
    await clock.advance(99);
    expect(source.cancelledFor).toBeNull();
    await clock.advance(1);
    expect(source.cancelledFor).toMatchObject({ message: "response 503 given up for another attempt" });
    expect(upstream.requests).toHaveLength(2);
  });

  test("a failed response is cut off when the call is cancelled", async () => {
    const source = new Source(7);
    const { clock, send } = stage([answer(503, "", source.body), ok]);
    const request = call();
    watch(send(request));
    await clock.advance(10);
    request.cancelled.fire(failure("CLIENT_GONE"));
    await clock.advance(0);
    expect(source.cancelledFor).not.toBeNull();
  });
});

/** An upstream that reads each attempt's body into a sink and then takes the attempt's step. */
function readingUpstream(...steps: Step[]) {
  const clock = new VirtualClock();
  const script = new ScriptedUpstream(clock, ...steps);
  const sinks: Sink[] = [];
  const send: Send = (request: EgressRequest) => {
    const sink = new Sink();
    sinks.push(sink);
    request.body.pipe(sink);
    return script.send(request);
  };
  const options: Options = { retry: retryOptions({ replayBufferBytes: 8 }), perTryTimeoutMs: 0 };
  return { clock, sinks, send: retry(options, clock, { random: () => 1, workSequence: () => 0 })(send) };
}

describe("the request's body", () => {
  test("that is all here is simply sent again", async () => {
    const { clock, sinks, send } = readingUpstream(reset, ok);
    watch(send(call({ method: "PUT", body: Body.of("whole") })));
    await clock.advance(100);
    expect(sinks.map(({ text }) => text)).toEqual(["whole", "whole"]);
  });

  test("that streams is sent again from its first byte, and goes on", async () => {
    const source = new Source();
    const { clock, sinks, send } = readingUpstream(
      { afterMs: 10, outcome: reset },
      { afterMs: 10, outcome: ok },
    );
    const sent = watch(send(call({ method: "PUT", body: source.body })));
    source.push("one ");
    await clock.advance(10);
    expect(sinks[0]?.abortedFor).toBe(reset);
    await clock.advance(100);
    source.push("two");
    source.body.end();
    await clock.advance(10);
    expect(sent.value).toBe(ok);
    expect(sinks.map(({ text }) => text)).toEqual(["one ", "one two"]);
  });

  test("that is too long to be kept ends the retries, not the call", async () => {
    const source = new Source();
    const { clock, sinks, send } = readingUpstream({ afterMs: 10, outcome: unavailable });
    const request = call({ method: "PUT", body: source.body });
    const sent = watch(send(request));
    source.push("more than eight");
    source.body.end();
    await clock.advance(10);
    expect(sent.value).toBe(unavailable);
    expect(sinks.map(({ text }) => text)).toEqual(["more than eight"]);
    expect(trailOf(request)).toEqual([{ kind: "no_retry", attempt: 1, why: "body_not_kept" }]);
  });

  test("that breaks off while the call waits ends the call with its error", async () => {
    const source = new Source();
    const { clock, sinks, send } = readingUpstream(reset, ok);
    const sent = watch(send(call({ method: "PUT", body: source.body })));
    source.push("half");
    await clock.advance(50);
    const gone = failure("BODY_TIMEOUT");
    source.body.fail(gone);
    await clock.advance(50);
    expect(sent.error).toBe(gone);
    expect(sinks).toHaveLength(1);
  });

  test("that nobody wants after the last attempt is cancelled at its source", async () => {
    const source = new Source();
    const { clock, send } = stage([{ afterMs: 10, outcome: failure("UPSTREAM_INVALID") }]);
    const request = call({ method: "PUT", body: source.body });
    const sent = watch(send(request));
    await clock.advance(10);
    expect(sent.error?.code).toBe("UPSTREAM_INVALID");
    // This upstream never touched the body, so it is still its owner's to end.
    expect(source.cancelledFor).toBeNull();

    const cancelling: Send = (attempt) => {
      attempt.body.cancel(reset);
      return Promise.reject(failure("UPSTREAM_INVALID"));
    };
    const other = new Source();
    const options: Options = { retry: retryOptions(), perTryTimeoutMs: 0 };
    const direct = retry(options, clock, { random: () => 1, workSequence: () => 0 })(cancelling);
    await expect(direct(call({ method: "PUT", body: other.body }))).rejects.toThrow();
    expect(other.cancelledFor).toBe(reset);
  });

  test("is handed through untouched when the stage only bounds attempts", async () => {
    const source = new Source();
    const { upstream, send } = stage([ok], { perTryTimeoutMs: 50, retry: retryOptions({ maxRetries: 0 }) });
    await send(call({ method: "PUT", body: source.body }));
    expect(upstream.requests[0]?.body).toBe(source.body);
  });
});

test("whatever an upstream does, no attempt begins at or after the deadline and no call ends later than it has to", async () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = seeded(seed);
    const below = (n: number) => Math.floor(random() * n);
    const steps: Step[] = Array.from({ length: 6 }, () => {
      const outcome = [
        reset,
        unavailable,
        answer(429, `Retry-After: ${below(4)}\r\n`),
        failure("CONNECT_FAILED"),
        failure("PER_TRY_TIMEOUT"),
      ][below(5)]!;
      return random() < 0.5 ? outcome : { afterMs: below(400), outcome };
    });
    const rules = retryOptions({ maxRetries: 5, backoffBaseMs: below(300), backoffMaxMs: 1 + below(2000) });
    const { clock, upstream, send } = stage(
      steps,
      { retry: rules, perTryTimeoutMs: [0, 100][below(2)]! },
      { random },
    );
    const deadlineMs = 1 + below(3000);
    const request = call().with({ deadlineMs });
    clock.after(deadlineMs, () => request.cancelled.fire(failure("DEADLINE_EXCEEDED")));
    const sent = watch(send(request));
    await clock.advance(deadlineMs);
    expect(sent.pending, `seed ${seed}: over at its deadline`).toBe(false);
    for (const startedMs of upstream.startedMs) expect(startedMs, `seed ${seed}`).toBeLessThan(deadlineMs);
  }
});
