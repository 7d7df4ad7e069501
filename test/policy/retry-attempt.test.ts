import { describe, expect, test } from "vitest";
import { Body } from "../../src/body.ts";
import { VirtualClock } from "../../src/clock.ts";
import type { EgressRequest, Send } from "../../src/exchange.ts";
import { type RetryStageOptions, retry } from "../../src/policy/retry.ts";
import { Sink, Source } from "./bodies.ts";
import { answer, call, failure, retryOptions, ScriptedUpstream, type Step, trailOf, watch } from "./calls.ts";
import { ok, reset, stage, unavailable } from "./retry-stage.ts";

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
    await waiting.clock.advance(50);
    expect(waiting.clock.untilNext()).toBeNull();
    expect(waiting.upstream.requests[0]?.cancelled.value).toBe(gone);

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
  const options: RetryStageOptions = { retry: retryOptions({ replayBufferBytes: 8 }), perTryTimeoutMs: 0 };
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

  test.each<[string, Step, number | string]>([
    ["the error", reset, "UPSTREAM_RESET"],
    ["the response, when it is all here", unavailable, 503],
    ["a refusal, when the response is lost", answer(503, "", new Source(7).body), "OVERLOADED"],
  ])("that outgrows the buffer while the call waits ends it with %s", async (_, step, left) => {
    const source = new Source();
    const { clock, sinks, send } = readingUpstream(step, ok);
    const request = call({ method: "PUT", body: source.body });
    const sent = watch(send(request));
    source.push("half");
    await clock.advance(50);
    source.push("more than eight");
    await clock.advance(50);
    expect(sent.value?.status ?? sent.error?.code).toBe(left);
    expect(sinks).toHaveLength(1);
    expect(trailOf(request).at(-1)).toEqual({ kind: "no_retry", attempt: 1, why: "body_not_kept" });
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
    const options: RetryStageOptions = { retry: retryOptions(), perTryTimeoutMs: 0 };
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
