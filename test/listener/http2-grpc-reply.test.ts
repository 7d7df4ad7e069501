import { describe, expect, test } from "vitest";
import { EgressError, ERROR_CODES, type ErrorCode } from "../../src/errors.ts";
import { grpcRefusal, grpcStatusFor, isGrpc, percentEncoded } from "../../src/listener/grpc-reply.ts";

/** Every code; `null`: no answer is possible any more. */
const STATUSES: readonly [code: ErrorCode, status: number | null][] = [
  ["BAD_REQUEST", 13],
  ["BAD_TARGET", 13],
  ["MISDIRECTED", 13],
  ["LOOP_DETECTED", 13],
  ["HEAD_TIMEOUT", 4],
  ["BODY_TIMEOUT", 4],
  ["TARGET_TOO_LONG", 8],
  ["EXPECTATION_FAILED", 13],
  ["HEAD_TOO_LARGE", 8],
  ["CODING_UNSUPPORTED", 13],
  ["VERSION_UNSUPPORTED", 13],
  ["TUNNEL_IDLE", null],
  ["CLIENT_GONE", null],
  ["DENIED", 7],
  ["ADDRESS_DENIED", 7],
  ["RATE_LIMITED", 8],
  ["CONCURRENCY_LIMITED", 8],
  ["BUDGET_SPENT", 8],
  ["CIRCUIT_OPEN", 14],
  ["FAULT_INJECTED", 14],
  ["SUPERSEDED", null],
  ["OVERLOADED", 14],
  ["DRAINING", 14],
  ["IDENTITY_UNAVAILABLE", 14],
  ["INTERNAL", 13],
  ["DEADLINE_EXCEEDED", 4],
  ["PER_TRY_TIMEOUT", 4],
  ["DNS_FAILED", 14],
  ["DNS_TIMEOUT", 4],
  ["CONNECT_FAILED", 14],
  ["CONNECT_TIMEOUT", 4],
  ["TLS_FAILED", 14],
  ["TLS_TIMEOUT", 4],
  ["CERTIFICATE_REJECTED", 14],
  ["UPSTREAM_RESET", 14],
  ["STREAM_REFUSED", 14],
  ["VERSION_REFUSED", 14],
  ["UPSTREAM_INVALID", 14],
  ["UPSTREAM_TIMEOUT", 4],
  ["UPSTREAM_ABORTED", 14],
];

describe("grpc-status of a refusal", () => {
  test.each(STATUSES)("%s is %s", (code, status) => {
    expect(grpcStatusFor(code)).toBe(status);
  });

  test("is decided for every code", () => {
    expect(STATUSES.map(([code]) => code).sort()).toEqual(Object.keys(ERROR_CODES).sort());
  });
});

describe("a refusal of a gRPC call", () => {
  test("is one list: status 200, grpc-status, a message, the stable code", () => {
    const list = grpcRefusal(new EgressError("DENIED", "never shown"), "c-1");
    const fields = new Map(list.flatMap((name, at) => (at % 2 === 0 ? [[name, list[at + 1]] as const] : [])));
    expect(Object.fromEntries(fields)).toEqual({
      ":status": "200",
      "content-type": "application/grpc",
      "grpc-status": "7",
      "grpc-message": "outrider: admit: The policy does not allow this destination. [DENIED c-1]",
      "outrider-error": "DENIED",
    });
  });

  test.each([
    ["content-type: application/grpc\r\n", true],
    ["Content-Type: application/grpc+proto\r\n", true],
    ["content-type: Application/GRPC; x=y\r\n", true],
    ["content-type: application/grpc-web\r\n", false],
    ["content-type: application/json\r\n", false],
    ["", false],
  ])("goes to whoever sends %j: %s", (fields, expected) => {
    expect(isGrpc(fields)).toBe(expected);
  });

  test.each([
    ["plain text", "plain text"],
    ["100%", "100%25"],
    ["a\nb", "a%0Ab"],
    ["ä€", "%C3%A4%E2%82%AC"],
    ["~\x7f", "~%7F"],
  ])("encodes %j as %j", (text, expected) => {
    expect(percentEncoded(text)).toBe(expected);
  });
});
