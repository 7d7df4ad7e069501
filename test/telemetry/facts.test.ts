/** One pass over a call's trail, and the record made of it. */
import { expect, test } from "vitest";
import { Body } from "../../src/body.ts";
import { EgressError } from "../../src/errors.ts";
import { EgressResponse } from "../../src/exchange.ts";
import { factsOf } from "../../src/telemetry/facts.ts";
import { levelOf, recordOf } from "../../src/telemetry/record.ts";
import { timestamp } from "../../src/telemetry/record-values.ts";
import { anAttempt, aRequest, aResponse } from "./calls.ts";

const context = {
  invocationId: "inv-1",
  destination: "payments",
  route: "charges",
  policyVersion: "abc",
  wallMs: 0,
};

test("the steps of all attempts are added up, and the last attempt says whether its connection was reused", () => {
  const request = aRequest({ startedMs: 100 }, [
    { kind: "queued", stage: "concurrency limit", waitMs: 5 },
    anAttempt({
      startedMs: 105,
      resolvedMs: 107,
      connectedMs: 110,
      error: new EgressError("TLS_FAILED", "x"),
    }),
    { kind: "retry", attempt: 1, why: "connect_failure", waitMs: 10 },
    anAttempt({
      startedMs: 120,
      resolvedMs: 121,
      connectedMs: 123,
      securedMs: 130,
      firstByteMs: 150,
      address: "10.0.0.1",
    }),
  ]);
  const facts = factsOf(request, aResponse(200, "12345"), null, 160);
  expect(facts).toMatchObject({
    status: 200,
    attempts: 2,
    retries: 1,
    connects: 2,
    handshakes: 1,
    reused: false,
    reusedAttempts: 0,
    queueMs: 5,
    dnsMs: 3,
    connectMs: 5,
    tlsMs: 7,
    firstByteMs: 50,
    totalMs: 60,
    bytesDown: 5,
    address: "10.0.0.1",
  });
});

test("a reused connection has no steps of its own", () => {
  const request = aRequest({ startedMs: 1 }, [anAttempt({ startedMs: 1, reused: true, firstByteMs: 3 })]);
  const facts = factsOf(request, aResponse(), null, 4);
  expect(facts).toMatchObject({
    reused: true,
    reusedAttempts: 1,
    connects: 0,
    dnsMs: 0,
    connectMs: 0,
    tlsMs: 0,
  });
  const record = recordOf(request, facts, context);
  expect(record).toMatchObject({ reused: true, first_byte_ms: 2, total_ms: 3 });
  expect(JSON.parse(JSON.stringify(record))).not.toHaveProperty("dns_ms");
});

test("a short request body counts as sent only when an attempt may have sent it", () => {
  const body = Body.of("0123456789");
  const unsent = new EgressError("CONNECT_FAILED", "x");
  expect(factsOf(aRequest({ body }), null, unsent, 1).bytesUp).toBe(0);
  expect(factsOf(aRequest({ body }, [anAttempt({ error: unsent })]), null, unsent, 1).bytesUp).toBe(0);
  const sent = new EgressError("UPSTREAM_RESET", "x");
  expect(factsOf(aRequest({ body }, [anAttempt({ error: sent })]), null, sent, 1).bytesUp).toBe(10);
});

test("a streamed body counts the bytes that passed, also when it broke off", () => {
  const down = new Body(null, null);
  down.pipe({ write: () => true, end: () => {}, abort: () => {} });
  down.push(Buffer.alloc(1000));
  const broke = new EgressError("UPSTREAM_ABORTED", "broke off");
  down.fail(broke);
  const facts = factsOf(aRequest(), new EgressResponse(200, "", "", down), broke, 1);
  expect(facts).toMatchObject({ status: 200, bytesDown: 1000, failed: true });
});

test("a tunnel counts all its bytes", () => {
  const request = aRequest({ method: "CONNECT" }, [{ kind: "tunnel", bytesUp: 7, bytesDown: 9 }]);
  expect(factsOf(request, aResponse(200), null, 1)).toMatchObject({ bytesUp: 7, bytesDown: 9 });
});

test("a refused call has the status of the proxy's reply and the rule that refused it", () => {
  const denied = new EgressError("DENIED", "rule deny-all");
  const facts = factsOf(aRequest({}, [{ kind: "denied", rule: "acl.default" }]), null, denied, 1);
  expect(facts).toMatchObject({ status: 403, acl: "denied", aclRule: "acl.default", failed: true });
  expect(factsOf(aRequest(), null, new EgressError("ADDRESS_DENIED", "x"), 1).acl).toBe("denied");
});

test("a call whose client went away before any response has no status", () => {
  const facts = factsOf(aRequest(), null, new EgressError("CLIENT_GONE", "x"), 1);
  expect(facts).toMatchObject({ status: 0, failed: true });
});

const remarkable: readonly [what: string, facts: ReturnType<typeof factsOf>, expected: boolean][] = [
  ["a 200", factsOf(aRequest(), aResponse(200), null, 1), false],
  ["a 304", factsOf(aRequest(), aResponse(304), null, 1), false],
  ["a 404", factsOf(aRequest(), aResponse(404), null, 1), true],
  ["a 503", factsOf(aRequest(), aResponse(503), null, 1), true],
  [
    "an error of the path",
    factsOf(aRequest(), aResponse(200), new EgressError("UPSTREAM_ABORTED", "x"), 1),
    true,
  ],
  [
    "a 200 at the second try",
    factsOf(aRequest({}, [{ kind: "retry", attempt: 1, why: "503", waitMs: 1 }]), aResponse(200), null, 1),
    true,
  ],
  [
    "a call that enforced rules would refuse",
    factsOf(aRequest({}, [{ kind: "would_deny", rule: "r" }]), aResponse(200), null, 1),
    true,
  ],
];

test.each(remarkable)("%s is worth a line whatever the sampling says: %#", (_what, facts, expected) => {
  expect(facts.remarkable).toBe(expected);
});

test("a record names the error, who is to blame and what Node reported", () => {
  const cause = Object.assign(new Error("connect ECONNREFUSED 10.0.0.1:443"), { code: "ECONNREFUSED" });
  const error = new EgressError("CONNECT_FAILED", "10.0.0.1:443 refused the connection", cause);
  const request = aRequest({ id: "c-7" });
  const record = recordOf(request, factsOf(request, null, error, 3), context);
  expect(record).toMatchObject({
    event: "call",
    time: "1970-01-01T00:00:00.000Z",
    call_id: "c-7",
    invocation_id: "inv-1",
    destination: "payments",
    route: "charges",
    status: 502,
    error: "CONNECT_FAILED",
    blame: "upstream",
    error_detail: "10.0.0.1:443 refused the connection",
    error_cause: "ECONNREFUSED",
    policy_version: "abc",
  });
  expect(record.error_stack).toBeUndefined();
  expect(levelOf(record)).toBe("warn");
});

test("only a defect of the proxy brings its stack", () => {
  const error = new EgressError("INTERNAL", "x is not a function", new TypeError("x is not a function"));
  const request = aRequest();
  const record = recordOf(request, factsOf(request, null, error, 3), context);
  expect(record.error_cause).toBe("TypeError");
  expect(record.error_stack).toContain("facts.test.ts");
  expect(levelOf(record)).toBe("error");
});

const traces: readonly [what: string, fields: string, expected: string | undefined][] = [
  [
    "a traceparent",
    "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n",
    "4bf92f3577b34da6a3ce929d0e0e4736",
  ],
  [
    "an X-Amzn-Trace-Id",
    "X-Amzn-Trace-Id: Sampled=1;Root=1-5759e988-bd862e3fe1be46a994272793\r\n",
    "1-5759e988-bd862e3fe1be46a994272793",
  ],
  ["a traceparent that is not one", "traceparent: hello\r\n", undefined],
  ["nothing", "", undefined],
];

test.each(traces)(
  "a call without a trace of ours is found by the application's own: %s",
  (_what, fields, expected) => {
    const request = aRequest({ fields });
    expect(recordOf(request, factsOf(request, aResponse(), null, 1), context).trace_id).toBe(expected);
  },
);

test("the trace that a stage gave the call wins", () => {
  const request = aRequest(
    { fields: "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n" },
    [{ kind: "trace", traceId: "a".repeat(32), spanId: "b".repeat(16) }],
  );
  expect(recordOf(request, factsOf(request, aResponse(), null, 1), context).trace_id).toBe("a".repeat(32));
});

test("a clock gone wild gives the epoch rather than an exception", () => {
  expect(timestamp(1_790_000_000_123)).toBe("2026-09-21T14:13:20.123Z");
  expect(timestamp(Number.NaN)).toBe("1970-01-01T00:00:00.000Z");
  expect(timestamp(1e300)).toBe("1970-01-01T00:00:00.000Z");
});
