import { describe, expect, test } from "vitest";
import { type Clock, VirtualClock } from "../../src/clock.ts";
import type { EgressError } from "../../src/errors.ts";
import {
  EJECT_MS_MAX,
  isEjected,
  newOutlierState,
  noteFailure,
  noteSuccess,
  type OutlierOptions,
  type OutlierState,
  signOf,
  signOfBreak,
} from "../../src/policy/outlier.ts";
import { answer, failure } from "./calls.ts";

const OPTIONS: OutlierOptions = { ejectAfter: 3, ejectForMs: 1000, ejectPercentMax: 100 };

function some(count: number): OutlierState[] {
  return Array.from({ length: count }, newOutlierState);
}

/** Lets the first of `peers` fail `times` times; tells which of the failures ejected it. */
function fail(peers: readonly OutlierState[], times: number, clock: Clock, options = OPTIONS): boolean[] {
  return Array.from({ length: times }, () => noteFailure(peers[0]!, peers, options, clock));
}

describe("what an attempt says about its endpoint", () => {
  const reset = failure("UPSTREAM_RESET");
  const perTry = failure("PER_TRY_TIMEOUT");
  const late = failure("DEADLINE_EXCEEDED");
  const left = failure("CLIENT_GONE");
  const because = (why: string) => ({ kind: "failure", why });

  test.each<[string, Parameters<typeof signOf>[0], EgressError | undefined, object]>([
    ["200: success", answer(200), undefined, { kind: "success" }],
    ["404: success", answer(404), undefined, { kind: "success" }],
    ["429: success, it is well and says so", answer(429), undefined, { kind: "success" }],
    ["500: success, the service's own error", answer(500), undefined, { kind: "success" }],
    ["502: failure", answer(502), undefined, because("status_502")],
    ["503: failure", answer(503), undefined, because("status_503")],
    ["504: failure", answer(504), undefined, because("status_504")],
    ["gRPC UNAVAILABLE: failure", answer(200, "grpc-status: 14\r\n"), undefined, because("grpc_status_14")],
    ["gRPC NOT_FOUND: success", answer(200, "grpc-status: 5\r\n"), undefined, { kind: "success" }],
    ["no connection: failure", failure("CONNECT_FAILED"), undefined, because("CONNECT_FAILED")],
    ["no such name: failure", failure("DNS_FAILED"), undefined, because("DNS_FAILED")],
    ["reset: failure", reset, undefined, because("UPSTREAM_RESET")],
    [
      "a bad certificate: failure",
      failure("CERTIFICATE_REJECTED"),
      undefined,
      because("CERTIFICATE_REJECTED"),
    ],
    ["too slow for the attempt: failure", perTry, perTry, because("PER_TRY_TIMEOUT")],
    ["too slow for the call: failure", late, late, because("DEADLINE_EXCEEDED")],
    ["the application left: nothing", left, left, { kind: "none" }],
    ["cancelled for whatever reason: nothing", reset, reset, { kind: "none" }],
    ["not sent, by the breaker: nothing", failure("CIRCUIT_OPEN"), undefined, { kind: "none" }],
    ["not sent, by the guard: nothing", failure("ADDRESS_DENIED"), undefined, { kind: "none" }],
  ])("%s", (_, outcome, cancelledFor, expected) => {
    expect(signOf(outcome, cancelledFor)).toEqual(expected);
  });

  test.each<[string, EgressError, object]>([
    ["broken off by the upstream: failure", failure("UPSTREAM_ABORTED"), because("UPSTREAM_ABORTED")],
    ["silent: failure", failure("UPSTREAM_TIMEOUT"), because("UPSTREAM_TIMEOUT")],
    ["longer than the call's time: nothing", failure("DEADLINE_EXCEEDED"), { kind: "none" }],
    ["not wanted any more: nothing", failure("CLIENT_GONE"), { kind: "none" }],
  ])("after a good head, %s", (_, error, expected) => {
    expect(signOfBreak(error)).toEqual(expected);
  });
});

describe("an endpoint is ejected", () => {
  test("by as many failures in a row as the policy says, and not by fewer", () => {
    const clock = new VirtualClock();
    const peers = some(2);
    expect(fail(peers, 3, clock)).toEqual([false, false, true]);
    expect(peers.map((peer) => isEjected(peer, clock))).toEqual([true, false]);
  });

  test("not when a success comes between", () => {
    const clock = new VirtualClock();
    const peers = some(2);
    fail(peers, 2, clock);
    noteSuccess(peers[0]!);
    expect(fail(peers, 3, clock)).toEqual([false, false, true]);
  });

  test("never where the policy says so", () => {
    expect(fail(some(2), 50, new VirtualClock(), { ...OPTIONS, ejectAfter: 0 })).not.toContain(true);
  });

  test.each([
    [1, 100, 1],
    [1, 99, 0],
    [2, 50, 1],
    [3, 50, 1],
    [3, 66, 1],
    [3, 67, 2],
    [4, 50, 2],
    [5, 0, 0],
    [5, 100, 5],
  ])("of %i endpoints with %i percent at most: %i", (count, ejectPercentMax, expected) => {
    const clock = new VirtualClock();
    const peers = some(count);
    for (const peer of peers) {
      for (let i = 0; i < 10; i++) noteFailure(peer, peers, { ...OPTIONS, ejectPercentMax }, clock);
    }
    expect(peers.filter((peer) => isEjected(peer, clock))).toHaveLength(expected);
  });

  test("as soon as it can be spared: the next failure does it", async () => {
    const clock = new VirtualClock();
    const [first, second] = some(2) as [OutlierState, OutlierState];
    const half = { ...OPTIONS, ejectPercentMax: 50 };
    fail([first, second], 3, clock, half);
    expect(fail([second, first], 5, clock, half)).not.toContain(true);
    await clock.advance(1000);
    expect(fail([second, first], 1, clock, half)).toEqual([true]);
  });
});

describe("an ejection", () => {
  test("ends after its time", async () => {
    const clock = new VirtualClock();
    const peers = some(1);
    fail(peers, 3, clock);
    await clock.advance(999);
    expect(isEjected(peers[0]!, clock)).toBe(true);
    await clock.advance(1);
    expect(isEjected(peers[0]!, clock)).toBe(false);
  });

  test.each([
    ["the monotonic clock", 1000, 0],
    ["the wall clock", 0, 1000],
  ])("ends in a freeze in which only %s went on", (_, nowMs, wallMs) => {
    const peers = some(1);
    const at = (now: number, wall: number): Clock => ({
      now: () => now,
      wall: () => wall,
      after: () => ({ cancel: () => {} }),
    });
    fail(peers, 3, at(0, 0));
    expect(isEjected(peers[0]!, at(nowMs - 1, wallMs - 1))).toBe(true);
    expect(isEjected(peers[0]!, at(nowMs, wallMs))).toBe(false);
  });

  test("does not grow by failures of calls that were under way when it began", async () => {
    const clock = new VirtualClock();
    const peers = some(3);
    fail(peers, 3, clock);
    await clock.advance(500);
    expect(fail(peers, 5, clock)).not.toContain(true);
    await clock.advance(500);
    expect(isEjected(peers[0]!, clock)).toBe(false);
  });

  test("is followed by a probation: one failure is enough for the next, which is twice as long, up to a bound", async () => {
    const clock = new VirtualClock();
    const peers = some(1);
    fail(peers, 3, clock);
    const lastedMs: number[] = [];
    for (let i = 0; i < 12; i++) {
      lastedMs.push(peers[0]!.ejection!.forMs);
      await clock.advance(peers[0]!.ejection!.forMs);
      expect(isEjected(peers[0]!, clock)).toBe(false);
      expect(fail(peers, 1, clock)).toEqual([true]);
    }
    expect(lastedMs.slice(0, 5)).toEqual([1000, 2000, 4000, 8000, 16_000]);
    expect(lastedMs.at(-1)).toBe(EJECT_MS_MAX);
  });

  test("of a policy that asks for more than the bound is as long as it asks, each time", async () => {
    const clock = new VirtualClock();
    const peers = some(1);
    const long = { ...OPTIONS, ejectForMs: 2 * EJECT_MS_MAX };
    fail(peers, 3, clock, long);
    await clock.advance(2 * EJECT_MS_MAX);
    fail(peers, 1, clock, long);
    expect(peers[0]!.ejection!.forMs).toBe(2 * EJECT_MS_MAX);
  });

  test("is short again once the endpoint was in use for as long as it had been ejected", async () => {
    const clock = new VirtualClock();
    const peers = some(1);
    fail(peers, 3, clock);
    await clock.advance(1000);
    fail(peers, 1, clock);
    await clock.advance(4000);
    noteSuccess(peers[0]!);
    fail(peers, 3, clock);
    expect(peers[0]!.ejection!.forMs).toBe(1000);
  });
});

test("the state survives being written down and read", () => {
  const clock = new VirtualClock();
  const peers = some(2);
  fail(peers, 3, clock);
  const read = JSON.parse(JSON.stringify(peers)) as OutlierState[];
  expect(read).toEqual(peers);
  expect(isEjected(read[0]!, clock)).toBe(true);
});
