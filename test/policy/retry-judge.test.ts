import { describe, expect, test } from "vitest";
import type { RetryOptions } from "../../src/config/types.ts";
import type { ErrorCode } from "../../src/errors.ts";
import { ERROR_CODES } from "../../src/errors.ts";
import { type FailedAttempt, judge, RETRY_AFTER_MS_MAX } from "../../src/policy/retry-judge.ts";
import { failure, retryOptions, seeded } from "./calls.ts";

const NOON = Date.UTC(2026, 8, 1, 12);

/** The first attempt of a GET that met a reset, with all the time and budget in the world; half of the jitter. */
function failed(changes: Partial<FailedAttempt> = {}): FailedAttempt {
  return {
    attempt: 1,
    method: "GET",
    outcome: failure("UPSTREAM_RESET"),
    replayable: true,
    switchesProtocol: false,
    hasIdempotencyKey: false,
    cancelled: false,
    leftMs: Number.POSITIVE_INFINITY,
    signatureLeftMs: Number.POSITIVE_INFINITY,
    budgetAllows: true,
    wallMs: NOON,
    random: () => 0.5,
    ...changes,
  };
}

const unavailable = (fields = "") => ({ status: 503, fields });
/** A response that consists of nothing but its head (gRPC over HTTP/2, "Trailers-Only"). */
const grpc = (status: string, httpStatus = 200, fields = "") => ({
  status: httpStatus,
  fields: `content-type: application/grpc\r\ngrpc-status: ${status}\r\n${fields}`,
});

/** Every condition there is. */
const OPTIONS = retryOptions({
  on: ["connect_failure", "reset_before_response", "refused_stream", "per_try_timeout"],
  grpcStatuses: [8, 14],
  responseHeaders: ["x-should-retry"],
});

describe("an attempt is made again", () => {
  test.each<[string, Partial<FailedAttempt>, string, number]>([
    ["a reset of an idempotent method", {}, "reset_before_response", 50],
    [
      "no connection, whatever the method",
      { method: "POST", outcome: failure("CONNECT_FAILED") },
      "connect_failure",
      50,
    ],
    ["no address", { method: "POST", outcome: failure("DNS_FAILED") }, "connect_failure", 50],
    ["a slow name service", { method: "POST", outcome: failure("DNS_TIMEOUT") }, "connect_failure", 50],
    ["a slow connection", { method: "POST", outcome: failure("CONNECT_TIMEOUT") }, "connect_failure", 50],
    ["no TLS", { method: "POST", outcome: failure("TLS_FAILED") }, "connect_failure", 50],
    ["slow TLS", { method: "POST", outcome: failure("TLS_TIMEOUT") }, "connect_failure", 50],
    ["a silent upstream", { outcome: failure("UPSTREAM_TIMEOUT") }, "reset_before_response", 50],
    [
      "a reset before the first byte left",
      { method: "POST", outcome: failure("UPSTREAM_RESET", "unsent") },
      "reset_before_response",
      50,
    ],
    ["a slow attempt", { outcome: failure("PER_TRY_TIMEOUT") }, "per_try_timeout", 50],
    [
      "a slow attempt that never connected",
      { method: "POST", outcome: failure("PER_TRY_TIMEOUT", "unsent") },
      "per_try_timeout",
      50,
    ],
    ["a status", { outcome: unavailable() }, "status_503", 50],
    [
      "a POST with an idempotency key",
      { method: "POST", hasIdempotencyKey: true },
      "reset_before_response",
      50,
    ],
    [
      "a status of a POST with an idempotency key",
      { method: "POST", hasIdempotencyKey: true, outcome: unavailable() },
      "status_503",
      50,
    ],
    [
      "a stream that was refused, whatever the method",
      { method: "POST", outcome: failure("STREAM_REFUSED") },
      "refused_stream",
      50,
    ],
    ["a gRPC status", { outcome: grpc("14") }, "grpc_status_14", 50],
    [
      "a gRPC status of a POST with an idempotency key",
      { method: "POST", hasIdempotencyKey: true, outcome: grpc("8") },
      "grpc_status_8",
      50,
    ],
    ["a status before a gRPC status", { outcome: grpc("14", 503) }, "status_503", 50],
    [
      "Retry-After of a gRPC status",
      { outcome: grpc("14", 200, "retry-after: 2\r\n") },
      "grpc_status_14",
      2000,
    ],
    [
      "CONNECT that never connected",
      { method: "CONNECT", switchesProtocol: true, outcome: failure("CONNECT_FAILED") },
      "connect_failure",
      50,
    ],
    [
      "Retry-After in seconds wins over the backoff",
      { outcome: unavailable("Retry-After: 2\r\n") },
      "status_503",
      2000,
    ],
    [
      "Retry-After as a date",
      { outcome: unavailable("retry-after: Tue, 01 Sep 2026 12:00:03 GMT\r\n") },
      "status_503",
      3000,
    ],
    [
      "Retry-After of a date that has passed",
      { outcome: unavailable("retry-after: Tue, 01 Sep 2026 11:00:00 GMT\r\n") },
      "status_503",
      0,
    ],
    [
      "a malformed Retry-After is not there",
      { outcome: unavailable("Retry-After: soon\r\n") },
      "status_503",
      50,
    ],
    [
      "a reset of a quota that fits the deadline",
      { outcome: { status: 429, fields: 'RateLimit: "default";r=0;t=3\r\n' }, leftMs: 3001 },
      "status_429",
      3000,
    ],
    ["gRPC pushback", { outcome: grpc("14", 200, "grpc-retry-pushback-ms: 20\r\n") }, "grpc_status_14", 20],
    [
      "a response header that the policy names, whatever the status",
      { outcome: { status: 409, fields: "X-Should-Retry: true\r\n" } },
      "header_x-should-retry",
      50,
    ],
    ["the backoff doubles", { attempt: 2 }, "reset_before_response", 100],
    ["a wait that just fits", { leftMs: 51 }, "reset_before_response", 50],
    ["a signature that is still good", { signatureLeftMs: 51 }, "reset_before_response", 50],
  ])("%s", (_, changes, why, waitMs) => {
    expect(judge(OPTIONS, failed(changes))).toEqual({ kind: "retry", why, waitMs });
  });

  test("the backoff ends at its bound", () => {
    const verdict = judge(retryOptions({ maxRetries: 10 }), failed({ attempt: 9 }));
    expect(verdict).toMatchObject({ kind: "retry", waitMs: 500 });
  });
});

describe("an attempt is not made again", () => {
  const bare: Partial<RetryOptions> = {};
  test.each<[string, string, Partial<FailedAttempt>, Partial<RetryOptions>]>([
    ["cancelled", "the call was given up", { cancelled: true }, bare],
    ["not_a_condition", "a status that is not named", { outcome: { status: 500, fields: "" } }, bare],
    ["not_a_condition", "a condition that is not named", {}, { on: ["connect_failure"] }],
    [
      "not_a_condition",
      "a response header that says false",
      { outcome: { status: 409, fields: "X-Should-Retry: false\r\n" } },
      bare,
    ],
    ["not_a_condition", "the policy's own refusal", { outcome: failure("RATE_LIMITED") }, bare],
    ["not_a_condition", "a refused stream that is not named", { outcome: failure("STREAM_REFUSED") }, bare],
    ["not_a_condition", "a gRPC status that is not named", { outcome: grpc("14") }, bare],
    ["not_a_condition", "a gRPC status of success", { outcome: grpc("0") }, { grpcStatuses: [14] }],
    ["not_a_condition", "a gRPC status that is none", { outcome: grpc("14x") }, { grpcStatuses: [14] }],
    ["not_a_condition", "a gRPC status beyond the last", { outcome: grpc("17") }, { grpcStatuses: [14] }],
    [
      "not_idempotent",
      "a gRPC status of a POST",
      { method: "POST", outcome: grpc("14") },
      { grpcStatuses: [14] },
    ],
    [
      "body_not_kept",
      "a refused stream whose body is gone",
      { replayable: false, outcome: failure("STREAM_REFUSED") },
      { on: ["refused_stream"] },
    ],
    ["max_retries", "as often as allowed already", { attempt: 3 }, bare],
    [
      "response_begun",
      "a reset inside the response head",
      { outcome: failure("UPSTREAM_RESET", "final") },
      bare,
    ],
    ["switches_protocol", "an Upgrade that was sent", { switchesProtocol: true }, bare],
    [
      "switches_protocol",
      "an Upgrade that was answered",
      { switchesProtocol: true, outcome: unavailable() },
      bare,
    ],
    ["not_idempotent", "a POST that was sent", { method: "POST" }, bare],
    ["not_idempotent", "a POST that was answered", { method: "POST", outcome: unavailable() }, bare],
    ["not_idempotent", "a slow POST", { method: "POST", outcome: failure("PER_TRY_TIMEOUT") }, bare],
    ["not_idempotent", "methods have case", { method: "get" }, bare],
    ["body_not_kept", "a body too long to be kept", { replayable: false }, bare],
    [
      "body_not_kept",
      "however little was sent",
      { replayable: false, outcome: failure("CONNECT_FAILED") },
      bare,
    ],
    [
      "retry_after_too_long",
      "Retry-After behind the deadline",
      { outcome: unavailable("Retry-After: 2\r\n"), leftMs: 2000 },
      bare,
    ],
    [
      "retry_after_too_long",
      "Retry-After of hours without a deadline",
      { outcome: unavailable(`Retry-After: ${RETRY_AFTER_MS_MAX / 1000 + 1}\r\n`) },
      bare,
    ],
    [
      "retry_after_too_long",
      "a reset of a quota behind the deadline",
      { outcome: { status: 429, fields: "X-RateLimit-Reset: 3\r\n" }, leftMs: 3000 },
      bare,
    ],
    [
      "told_not_to",
      "gRPC pushback that says never",
      { outcome: grpc("14", 200, "grpc-retry-pushback-ms: -1\r\n") },
      { grpcStatuses: [14] },
    ],
    [
      "not_a_condition",
      "a response header that the policy does not name",
      { outcome: { status: 409, fields: "X-Should-Retry: true\r\n" } },
      bare,
    ],
    [
      "not_idempotent",
      "a response header of a POST",
      { method: "POST", outcome: { status: 409, fields: "X-Should-Retry: true\r\n" } },
      { responseHeaders: ["x-should-retry"] },
    ],
    ["deadline_too_near", "a backoff that ends at the deadline", { leftMs: 50 }, bare],
    ["deadline_too_near", "a deadline that has passed", { leftMs: -1, random: () => 0 }, bare],
    ["signature_too_old", "a signature that would be too old by then", { signatureLeftMs: 50 }, bare],
    [
      "signature_too_old",
      "a signature that is too old",
      { signatureLeftMs: Number.NEGATIVE_INFINITY, random: () => 0 },
      bare,
    ],
    ["budget_spent", "nothing left in the budget", { budgetAllows: false }, bare],
  ])("%s: %s", (why, _, changes, options) => {
    expect(judge(retryOptions(options), failed(changes))).toEqual({ kind: "stop", why });
  });

  test("no condition names an error that sending again cannot help", () => {
    const all = retryOptions({ statuses: Array.from({ length: 200 }, (_, i) => 400 + i) });
    for (const code of Object.keys(ERROR_CODES) as ErrorCode[]) {
      if (ERROR_CODES[code].reached !== "final") continue;
      expect([code, judge(all, failed({ outcome: failure(code) })).kind]).toEqual([code, "stop"]);
    }
  });

  test("names of Object.prototype are no methods, conditions or headers (S25)", () => {
    for (const method of ["__proto__", "constructor", "toString"]) {
      expect(judge(retryOptions(), failed({ method }))).toEqual({ kind: "stop", why: "not_idempotent" });
    }
  });
});

test("whatever happens, no wait reaches the deadline or outlives the signature, and only harmless attempts are repeated", () => {
  const seed = 20_260_901;
  const random = seeded(seed);
  const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)]!;
  // Half of them from the codes that can be retried at all: most cannot.
  const hopeful: readonly ErrorCode[] = ["CONNECT_FAILED", "UPSTREAM_RESET", "PER_TRY_TIMEOUT"];
  const codes = [...(Object.keys(ERROR_CODES) as ErrorCode[]), ...Array(10).fill(hopeful).flat()];
  let retries = 0;
  for (let round = 0; round < 20_000; round++) {
    const options = retryOptions({
      maxRetries: pick([0, 1, 3, 10]),
      backoffBaseMs: pick([0, 1, 50, 5000]),
      backoffMaxMs: pick([1, 1000, 60_000]),
      statuses: pick([[], [429], [429, 503]]),
    });
    const retryAfter = pick([
      "",
      "",
      "Retry-After: 0\r\n",
      "Retry-After: 1\r\n",
      "Retry-After: 7200\r\n",
      "Retry-After: x\r\n",
    ]);
    const attempt = failed({
      attempt: 1 + Math.floor(random() * 11),
      method: pick(["GET", "PUT", "POST", "CONNECT"]),
      outcome:
        random() < 0.5
          ? { status: pick([200, 429, 503]), fields: retryAfter }
          : failure(pick(codes), pick([undefined, "unsent", "sent", "final"] as const)),
      replayable: random() < 0.9,
      switchesProtocol: random() < 0.1,
      hasIdempotencyKey: random() < 0.3,
      cancelled: random() < 0.05,
      leftMs: pick([-5, 0, random() * 100, random() * 5000, Number.POSITIVE_INFINITY]),
      signatureLeftMs: pick([Number.NEGATIVE_INFINITY, random() * 5000, Number.POSITIVE_INFINITY]),
      budgetAllows: random() < 0.9,
      random,
    });
    const verdict = judge(options, attempt);
    if (verdict.kind === "stop") continue;
    retries += 1;
    const { outcome } = attempt;
    const unsent = "reached" in outcome && outcome.reached === "unsent";
    const harmless =
      unsent ||
      ((options.methods.includes(attempt.method) || attempt.hasIdempotencyKey) && !attempt.switchesProtocol);
    const sound =
      verdict.waitMs >= 0 &&
      verdict.waitMs < attempt.leftMs &&
      verdict.waitMs < attempt.signatureLeftMs &&
      attempt.attempt <= options.maxRetries &&
      attempt.replayable &&
      attempt.budgetAllows &&
      !attempt.cancelled &&
      harmless;
    expect(sound, `seed ${seed}, round ${round}: ${JSON.stringify({ options, attempt, verdict })}`).toBe(
      true,
    );
  }
  // Otherwise the loop above showed nothing.
  expect(retries).toBeGreaterThan(200);
});
