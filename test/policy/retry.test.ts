import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { ERROR_CODES } from "../../src/errors.ts";
import type { Send } from "../../src/exchange.ts";
import { type RetryStageOptions, retry } from "../../src/policy/retry.ts";
import { Sink, Source } from "./bodies.ts";
import { answer, call, failure, retryOptions, type Step, seeded, trailOf, watch } from "./calls.ts";
import { ok, reset, stage, unavailable } from "./retry-stage.ts";

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

  test("in gRPC only is sent again when that status is a condition, and costs the budget", async () => {
    const failed = answer(200, "grpc-status: 14\r\n");
    const retry = retryOptions({ grpcStatuses: [14] });
    const { clock, upstream, send } = stage([failed, ok], { retry });
    const request = call();
    const sent = watch(send(request));
    await clock.advance(1000);
    expect(sent.value).toBe(ok);
    expect(upstream.requests).toHaveLength(2);
    expect(trailOf(request)).toEqual([{ kind: "retry", attempt: 1, why: "grpc_status_14", waitMs: 100 }]);
    const other = stage([failed, ok]);
    expect(await other.send(call())).toBe(failed);
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
    const options: RetryStageOptions = { retry: retryOptions(), perTryTimeoutMs: 0 };
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
    // The upstream broke nothing off: no breaker and no metric may hold it against it.
    expect(ERROR_CODES[source.cancelledFor!.code]).toMatchObject({ status: 0, reached: "final" });
    expect(ERROR_CODES[source.cancelledFor!.code].blame).not.toBe("upstream");
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
