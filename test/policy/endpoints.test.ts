import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import type { BalanceOptions, Endpoint } from "../../src/config/types.ts";
import type { EgressError } from "../../src/errors.ts";
import { compose, type EgressRequest, newAttempt, type Send } from "../../src/exchange.ts";
import { endpointSet, endpointSets, endpoints } from "../../src/policy/endpoints.ts";
import { retry } from "../../src/policy/retry.ts";
import {
  answer,
  call,
  failure,
  retryOptions,
  ScriptedUpstream,
  type Step,
  seeded,
  settle,
  trailOf,
  watch,
} from "./calls.ts";

const BALANCE: BalanceOptions = {
  algorithm: "least_request",
  ejectAfter: 2,
  ejectForMs: 1000,
  ejectPercentMax: 100,
};

/** Endpoints `a`, `b`, … at port 1, 2, …, each with the priority that is given. */
function places(...priorities: number[]): Endpoint[] {
  return priorities.map((priority, i) => ({
    host: String.fromCharCode(97 + i),
    port: i + 1,
    priority,
    weight: 1,
  }));
}

/** The stage over a script for each endpoint; `outside` are stages around it. */
function stage(
  list: readonly Endpoint[],
  scripts: Record<string, Step[]>,
  balance: Partial<BalanceOptions> = {},
) {
  const clock = new VirtualClock();
  const set = endpointSet({ endpoints: list, balance: { ...BALANCE, ...balance } })!;
  const upstreams = new Map(
    Object.entries(scripts).map(([host, steps]) => [host, new ScriptedUpstream(clock, ...steps)]),
  );
  const dialled: string[] = [];
  const send: Send = (request) => {
    dialled.push(request.address!.host);
    return upstreams.get(request.address!.host)!.send(request);
  };
  const policy = endpoints(set, clock, seeded(3));
  const inFlight = () => set.states.map((state) => state.inFlight);
  return { clock, set, policy, dialled, inFlight, upstream: send, send: policy(send) };
}

/** Sends calls one after another, each to its end. */
async function callTimes(times: number, send: Send): Promise<EgressRequest[]> {
  const calls = Array.from({ length: times }, () => call());
  for (const request of calls) {
    await send(request).catch((error: EgressError) => error);
    settle(request);
  }
  return calls;
}

describe("endpoints", () => {
  test("change where a call is dialled and nothing else of it", async () => {
    const { policy } = stage(places(0), {});
    const seen: EgressRequest[] = [];
    const request = call({ path: "/x", fields: "A: b\r\n" });
    await policy(async (sent) => {
      seen.push(sent);
      return answer();
    })(request);
    expect(seen).toEqual([request.with({ address: { host: "a", port: 1 } })]);
  });

  test("leave a call alone that another stage has sent elsewhere", async () => {
    const { policy, inFlight } = stage(places(0), {});
    const elsewhere = call().with({ address: { host: "canary", port: 9 } });
    const seen: EgressRequest[] = [];
    await policy(async (request) => {
      seen.push(request);
      return answer();
    })(elsewhere);
    expect(seen).toEqual([elsewhere]);
    expect(inFlight()).toEqual([0]);
  });

  test("there is no set for a destination without any", () => {
    expect(endpointSet({ endpoints: [], balance: BALANCE })).toBeNull();
  });

  test("all routes of a destination share what is known of them, and no two destinations do", () => {
    const destination = (name: string) =>
      ({ name, endpoints: places(0), balance: BALANCE }) as unknown as Parameters<
        ReturnType<typeof endpointSets>
      >[0];
    const [one, other] = [destination("one"), destination("other")];
    const setOf = endpointSets([one, other]);
    expect(setOf(one)).toBe(setOf(one));
    expect(setOf(one)).not.toBe(setOf(other));
  });
});

describe("a call occupies its endpoint", () => {
  test("until its last byte, not until its head", async () => {
    const { send, inFlight } = stage(places(0), { a: [answer()] });
    const request = call();
    await send(request);
    expect(inFlight()).toEqual([1]);
    settle(request);
    expect(inFlight()).toEqual([0]);
  });

  test.each<[string, Step]>([
    ["an error", failure("UPSTREAM_RESET")],
    ["an answer that is a failure", answer(503)],
  ])("no longer than until %s", async (_, step) => {
    const { send, inFlight } = stage(places(0), { a: [step] });
    const request = call();
    await send(request).catch(() => {});
    expect(inFlight()).toEqual([0]);
    settle(request);
    expect(inFlight()).toEqual([0]);
  });

  test("no longer than until it is cancelled", async () => {
    const { clock, send, inFlight } = stage(places(0), { a: ["silence"] });
    const request = call();
    const seen = watch(send(request));
    expect(inFlight()).toEqual([1]);
    request.cancelled.fire(failure("CLIENT_GONE"));
    await clock.advance(0);
    expect(seen.error?.code).toBe("CLIENT_GONE");
    expect(inFlight()).toEqual([0]);
  });

  test("so that calls at the same time go to different ones", async () => {
    const { send, dialled } = stage(places(0, 0), { a: ["silence"], b: ["silence"] });
    for (let i = 0; i < 6; i++) watch(send(call()));
    expect(dialled.filter((host) => host === "a")).toHaveLength(3);
  });
});

describe("failures", () => {
  test("eject an endpoint, and the call that did it says so", async () => {
    const { send, dialled } = stage(places(0, 1), { a: [failure("CONNECT_FAILED")], b: [answer()] });
    const calls = await callTimes(4, send);
    expect(dialled).toEqual(["a", "a", "b", "b"]);
    expect(calls.map(trailOf)).toEqual([
      [],
      [{ kind: "ejected", endpoint: "a:1", why: "CONNECT_FAILED" }],
      [],
      [],
    ]);
  });

  test("an ejected endpoint is used again after its time, and ejected again by one failure", async () => {
    const { clock, send, dialled } = stage(places(0, 1), {
      a: [answer(503), answer(503), answer(503), answer()],
      b: [answer()],
    });
    await callTimes(3, send);
    await clock.advance(1000);
    await callTimes(2, send);
    expect(dialled).toEqual(["a", "a", "b", "a", "b"]);
    await clock.advance(2000);
    await callTimes(2, send);
    expect(dialled.slice(5)).toEqual(["a", "a"]);
  });

  test("of all endpoints leave all of them in use", async () => {
    const { send, dialled } = stage(places(0, 0, 1), {
      a: [answer(502)],
      b: [answer(502)],
      c: [answer(502)],
    });
    await callTimes(30, send);
    expect([...new Set(dialled.slice(-20))].sort()).toEqual(["a", "b", "c"]);
  });

  test("count where the answer breaks off after a good head", async () => {
    const clock = new VirtualClock();
    const set = endpointSet({ endpoints: places(0, 1), balance: BALANCE })!;
    const dialled: string[] = [];
    const send = endpoints(
      set,
      clock,
      seeded(3),
    )(async (request) => {
      dialled.push(request.address!.host);
      const error = request.address!.host === "a" ? failure("UPSTREAM_ABORTED") : null;
      request.trail.push({
        kind: "attempt",
        attempt: { ...newAttempt(request.attempt, 0), status: 200, error },
      });
      return answer();
    });
    await callTimes(4, send);
    expect(dialled).toEqual(["a", "a", "b", "b"]);
  });

  test("do not count for calls that the application gives up", async () => {
    const { send, dialled } = stage(places(0, 1), { a: ["silence"], b: [answer()] });
    for (let i = 0; i < 5; i++) {
      const request = call();
      const sent = send(request).catch(() => {});
      request.cancelled.fire(failure("CLIENT_GONE"));
      await sent;
      settle(request);
    }
    expect(dialled).toEqual(Array(5).fill("a"));
  });
});

describe("each retry of a call goes to another endpoint", () => {
  /** The stage inside as many retries as there are asked for, in no time. */
  function retried(maxRetries: number, ...given: Parameters<typeof stage>) {
    const made = stage(...given);
    const options = retryOptions({ maxRetries, budgetFloor: 10, backoffBaseMs: 1 });
    const around = retry({ retry: options, perTryTimeoutMs: 0 }, made.clock, {
      random: () => 0,
      workSequence: () => 0,
    });
    return { ...made, send: compose([around, made.policy], made.upstream) };
  }

  test("of the same priority while there is one, then of the next", async () => {
    const scripts = { a: [answer(503)], b: [answer(503)], c: [answer(200)] };
    const { clock, send, dialled } = retried(2, places(0, 0, 1), scripts);
    const seen = watch(send(call()));
    await clock.advance(1000);
    expect(seen.value?.status).toBe(200);
    expect([...dialled.slice(0, 2)].sort()).toEqual(["a", "b"]);
    expect(dialled.slice(2)).toEqual(["c"]);
  });

  test("and to the same again when there is no other", async () => {
    const { clock, send, dialled } = retried(1, places(0), { a: [answer(503), answer(200)] });
    const seen = watch(send(call()));
    await clock.advance(1000);
    expect(seen.value?.status).toBe(200);
    expect(dialled).toEqual(["a", "a"]);
  });

  test("and the next call begins at the first priority again", async () => {
    const scripts = { a: [answer(503)], b: [answer()] };
    const { clock, send, dialled } = retried(1, places(0, 1), scripts, { ejectAfter: 0 });
    for (let i = 0; i < 2; i++) {
      const request = call();
      const seen = watch(send(request));
      await clock.advance(1000);
      expect(seen.value?.status).toBe(200);
      settle(request);
    }
    expect(dialled).toEqual(["a", "b", "a", "b"]);
  });
});

test("nothing is remembered of a call that is over", async () => {
  const { set, send } = stage(places(0, 0), { a: [answer(), failure("UPSTREAM_RESET")], b: ["silence"] });
  const requests = Array.from({ length: 6 }, () => call());
  for (const request of requests) watch(send(request));
  expect(set.triedBy.size).toBe(6);
  for (const request of requests) {
    request.cancelled.fire(failure("CLIENT_GONE"));
    settle(request);
  }
  expect(set.triedBy.size).toBe(0);
});

test("ewma learns from the time to the head, and keeps away from an endpoint that fails fast", async () => {
  const { clock, set, send, dialled } = stage(
    places(0, 0),
    { a: [{ afterMs: 100, outcome: answer() }], b: [{ afterMs: 1, outcome: answer(503) }] },
    { algorithm: "ewma", ejectAfter: 0 },
  );
  for (let i = 0; i < 20; i++) {
    const request = call();
    watch(send(request));
    await clock.advance(200);
    settle(request);
  }
  expect(set.states[0]!.latency?.ms).toBeCloseTo(100);
  expect(dialled.filter((host) => host === "b")).toHaveLength(1);
});
