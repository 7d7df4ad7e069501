/** What may be sent again at all (SECURITY.md, S20), through the whole stage and by the table of error codes. */
import { describe, expect, test } from "vitest";
import { ERROR_CODES, type ErrorCode, type Reached } from "../../src/errors.ts";
import { Sink, Source } from "./bodies.ts";
import { answer, call, failure, retryOptions, type Step, seeded, watch } from "./calls.ts";
import { ok, reset, stage, unavailable } from "./retry-stage.ts";

/** As eager as a policy can be. */
const EAGER = retryOptions({
  on: ["connect_failure", "reset_before_response", "refused_stream", "per_try_timeout"],
  statuses: Array.from({ length: 200 }, (_, i) => 400 + i),
  grpcStatuses: Array.from({ length: 16 }, (_, i) => i + 1),
  responseHeaders: ["x-should-retry"],
  budgetFloor: 100,
});

/** How often `step` is sent when the upstream never does anything else. */
async function sendsOf(step: Step, parts: Parameters<typeof call>[0]): Promise<number> {
  const { clock, upstream, send } = stage([step], { retry: EAGER });
  const sent = watch(send(call(parts)));
  await clock.advance(10_000);
  expect(sent.pending).toBe(false);
  return upstream.requests.length;
}

const CODES = Object.keys(ERROR_CODES) as ErrorCode[];
const REACHED: readonly Reached[] = ["unsent", "sent", "final"];

describe("S20: however eager the policy", () => {
  test("a method that is not idempotent is sent again only where no byte of it was processed", async () => {
    const repeated: string[] = [];
    for (const code of CODES) {
      for (const reached of REACHED) {
        if ((await sendsOf(failure(code, reached), { method: "POST" })) > 1)
          repeated.push(`${code} ${reached}`);
      }
    }
    // Everything that can go wrong before the first byte, and nothing behind it.
    expect(repeated.filter((one) => !one.endsWith(" unsent"))).toEqual([]);
    expect(repeated).toEqual(
      expect.arrayContaining(["CONNECT_FAILED unsent", "STREAM_REFUSED unsent", "UPSTREAM_RESET unsent"]),
    );
    for (const status of [429, 500, 503]) {
      expect(await sendsOf(answer(status, "x-should-retry: true\r\n"), { method: "POST" })).toBe(1);
    }
  });

  test("an idempotent method is sent again where bytes had left, but never behind a byte of the response", async () => {
    const repeated: string[] = [];
    for (const code of CODES) {
      for (const reached of REACHED) {
        if ((await sendsOf(failure(code, reached), {})) > 1) repeated.push(`${code} ${reached}`);
      }
    }
    expect(repeated.filter((one) => one.endsWith(" final"))).toEqual([]);
    expect(repeated).toEqual(expect.arrayContaining(["UPSTREAM_RESET sent", "PER_TRY_TIMEOUT sent"]));
  });

  test("a response that has been handed on is not asked for again when its body breaks off", async () => {
    const source = new Source(100);
    const { clock, upstream, send } = stage([answer(200, "", source.body), ok], { retry: EAGER });
    const response = await send(call());
    const sink = new Sink();
    response.body.pipe(sink);
    source.push("half");
    source.body.fail(failure("UPSTREAM_ABORTED"));
    await clock.advance(10_000);
    expect(sink).toMatchObject({ text: "half", abortedFor: { code: "UPSTREAM_ABORTED" } });
    expect(upstream.requests).toHaveLength(1);
  });

  test.each([
    ["one byte less than replay_buffer", 65_535, 2],
    ["exactly replay_buffer", 65_536, 2],
    ["one byte more than replay_buffer", 65_537, 1],
  ])("a body of %s, %d bytes, is sent %d times", async (_, bytes, times) => {
    const source = new Source();
    const { clock, upstream, send } = stage([{ afterMs: 10, outcome: reset }, ok]);
    const sent = watch(send(call({ method: "PUT", body: source.body })));
    const first = new Sink();
    upstream.requests[0]!.body.pipe(first);
    source.push("x".repeat(bytes));
    source.body.end();
    await clock.advance(1000);
    expect(first.text).toHaveLength(bytes);
    expect(upstream.requests).toHaveLength(times);
    expect(sent.pending).toBe(false);
  });

  test.each([
    ["5 minutes old", 300_000, 1],
    ["an hour old", 3_600_000, 1],
    ["one that would be 5 minutes old after the wait", 299_900, 1],
    ["4 minutes old", 240_000, 3],
  ])("a request whose AWS signature is %s goes out with it no second time", async (_, ageMs, sends) => {
    const { clock, upstream, send } = stage([reset], { retry: EAGER });
    const stamp = new Date(clock.wall() - ageMs).toISOString().replaceAll(/[-:]|\.\d+/g, "");
    const fields =
      "Authorization: AWS4-HMAC-SHA256 Credential=x/20260901/eu-west-1/s3/aws4_request, " +
      `SignedHeaders=host;x-amz-date, Signature=0\r\nX-Amz-Date: ${stamp}\r\n`;
    watch(send(call({ fields })));
    await clock.advance(10_000);
    expect(upstream.requests).toHaveLength(sends);
  });
});

describe("S20: retries are at most a fifth of the traffic in the long run", () => {
  /** Retries beyond the full bucket and the invocation's floor. */
  const HEAD_START = 10 + 1;

  test.each([
    ["every call fails", 1],
    ["half of them fail", 0.5],
    ["one in ten fails", 0.1],
  ])("%s", async (_, failing) => {
    const random = seeded(20);
    const calls = 5000;
    const steps: Step[] = Array.from({ length: calls * 3 }, () => (random() < failing ? unavailable : ok));
    const { clock, upstream, send } = stage(steps, { retry: retryOptions({ backoffBaseMs: 0 }) });
    for (let i = 0; i < calls; i++) {
      const sent = watch(send(call()));
      while (sent.pending) await clock.advance(1);
    }
    expect(upstream.requests.length - calls).toBeLessThanOrEqual(calls * 0.2 + HEAD_START);
    expect(upstream.requests.length - calls).toBeGreaterThanOrEqual(10);
  });
});
