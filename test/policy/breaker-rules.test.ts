import { describe, expect, test } from "vitest";
import type { EgressError } from "../../src/errors.ts";
import {
  brokenByUpstream,
  judgeAttempt,
  tripsByErrors,
  tripsBySlowness,
  tripsInARow,
  type Verdict,
} from "../../src/policy/breaker-rules.ts";
import { breakerOptions } from "./breakers.ts";
import { answer, failure } from "./calls.ts";

const judged = (
  outcome: Parameters<typeof judgeAttempt>[1],
  cancelledFor?: EgressError,
  changes: Parameters<typeof breakerOptions>[0] = {},
) => judgeAttempt(breakerOptions(changes), outcome, cancelledFor);

describe("what an attempt says about the upstream", () => {
  test.each<[string, Parameters<typeof judged>[0], Verdict]>([
    ["an answer", answer(200), "success"],
    ["an answer that is the caller's fault", answer(404), "success"],
    ["a status that the policy names", answer(503), "failure"],
    ["a server error that it does not name", answer(501), "success"],
    ["no connection", failure("CONNECT_FAILED"), "failure"],
    ["no name", failure("DNS_FAILED"), "failure"],
    ["a reset", failure("UPSTREAM_RESET"), "failure"],
    ["silence", failure("UPSTREAM_TIMEOUT"), "failure"],
    ["an answer that is no HTTP", failure("UPSTREAM_INVALID"), "failure"],
    ["a refused stream", failure("STREAM_REFUSED"), "failure"],
    ["the application's leaving", failure("CLIENT_GONE"), "nothing"],
    ["a request that broke off", failure("BODY_TIMEOUT"), "nothing"],
    ["an address that the policy denies", failure("ADDRESS_DENIED"), "nothing"],
    ["a fault on purpose, which stands for one of the upstream", failure("FAULT_INJECTED"), "failure"],
    ["a defect of the proxy", failure("INTERNAL"), "nothing"],
  ])("%s: %s → %s", (_, outcome, verdict) => {
    expect(judged(outcome)).toBe(verdict);
  });

  test.each<[string, EgressError, Verdict]>([
    ["for want of time, the attempt's", failure("PER_TRY_TIMEOUT"), "failure"],
    ["for want of time, the call's", failure("DEADLINE_EXCEEDED"), "failure"],
    ["because another attempt was faster", failure("UPSTREAM_ABORTED"), "nothing"],
    ["because nobody waits any more", failure("CLIENT_GONE"), "nothing"],
  ])("an attempt that was stopped %s says %s", (_, reason, verdict) => {
    expect(judged(reason, reason)).toBe(verdict);
    expect(judged(failure("UPSTREAM_RESET"), reason)).toBe(verdict);
  });

  test("an answer that came before the attempt was stopped counts", () => {
    expect(judged(answer(200), failure("CLIENT_GONE"))).toBe("success");
  });

  test.each<[string, string, number[], Verdict]>([
    ["a gRPC status that the policy names", "grpc-status: 14\r\n", [14], "failure"],
    ["one that it does not name", "grpc-status: 5\r\n", [14], "success"],
    ["none in the head", "", [14], "success"],
    ["one, where the policy names none", "grpc-status: 14\r\n", [], "success"],
  ])("%s (%j)", (_, fields, grpcStatuses, verdict) => {
    expect(judged(answer(200, fields), undefined, { grpcStatuses })).toBe(verdict);
  });
});

test.each([
  ["UPSTREAM_ABORTED", true],
  ["UPSTREAM_TIMEOUT", true],
  ["DEADLINE_EXCEEDED", false],
  ["CLIENT_GONE", false],
] as const)("a body that ends with %s was broken by the upstream: %s", (code, broken) => {
  expect(brokenByUpstream(failure(code))).toBe(broken);
});

describe("the rules that trip", () => {
  test.each([
    [3, 2, false],
    [3, 3, true],
    [3, 4, true],
    [1, 1, true],
    [0, 1000, false],
  ])("consecutive_failures: %i with %i in a row: %s", (consecutiveFailures, inARow, trips) => {
    expect(tripsInARow({ consecutiveFailures }, inARow)).toBe(trips);
  });

  test.each([
    ["below the ratio", 0.5, 10, 10, 4, false],
    ["at the ratio", 0.5, 10, 10, 5, true],
    ["too few calls", 0.5, 10, 9, 9, false],
    ["enough of them", 0.5, 10, 11, 11, true],
    ["no failure at all", 0.5, 0, 0, 0, false],
    ["off", 0, 1, 100, 100, false],
  ])("error_ratio: %s", (_, errorRatio, minCalls, calls, failures, trips) => {
    expect(tripsByErrors({ errorRatio, minCalls }, { calls, failures, slow: calls })).toBe(trips);
  });

  test.each([
    ["below the ratio", 100, 0.5, 10, 4, false],
    ["at the ratio", 100, 0.5, 10, 5, true],
    ["too few calls", 100, 0.5, 9, 9, false],
    ["off by slow_call", 0, 0.5, 100, 100, false],
    ["off by slow_ratio", 100, 0, 100, 100, false],
  ])("slow_ratio: %s", (_, slowCallMs, slowRatio, calls, slow, trips) => {
    expect(tripsBySlowness({ slowCallMs, slowRatio, minCalls: 10 }, { calls, failures: 0, slow })).toBe(
      trips,
    );
  });
});
