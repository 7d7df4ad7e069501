import { describe, expect, test } from "vitest";
import type { CircuitBreakerOptions } from "../../src/config/types.ts";
import type { EgressError } from "../../src/errors.ts";
import type { EgressRequest } from "../../src/exchange.ts";
import type { BreakerStore, BreakerTransition } from "../../src/policy/breaker-store.ts";
import { BREAKERS_MAX, circuitBreaker } from "../../src/policy/circuit-breaker.ts";
import { Source } from "./bodies.ts";
import { breakerOptions, FreezingClock } from "./breakers.ts";
import { answer, call, failure, ScriptedUpstream, type Step, settle, trailOf, watch } from "./calls.ts";

function stage(changes: Partial<CircuitBreakerOptions>, ...steps: Step[]) {
  return stageOn(new FreezingClock(), changes, null, ...steps);
}

function stageOn(
  clock: FreezingClock,
  changes: Partial<CircuitBreakerOptions>,
  store: BreakerStore | null,
  ...steps: Step[]
) {
  const upstream = new ScriptedUpstream(clock, ...steps);
  const send = circuitBreaker(breakerOptions(changes), clock, { scope: "api/", store })(upstream.send);
  /** Calls of their own, one after the other; their statuses or codes. */
  async function run(count: number, make: () => EgressRequest = call): Promise<(number | string)[]> {
    const seen: (number | string)[] = [];
    for (let i = 0; i < count; i++) {
      const request = make();
      seen.push(
        await send(request).then(
          ({ status }) => status,
          ({ code }: EgressError) => code,
        ),
      );
      settle(request);
    }
    return seen;
  }
  return { clock, upstream, send, run };
}

const bad = answer(503);
const ok = answer(200);

describe("a circuit breaker", () => {
  test("hands calls and answers on as they are while it is closed, and leaves no trace", async () => {
    const { clock, send, upstream } = stage({}, ok);
    const request = call();
    expect(await send(request)).toBe(ok);
    expect(upstream.requests[0]).toBe(request);
    expect(trailOf(request)).toEqual([]);
    expect(clock.untilNext()).toBeNull();
  });

  test("refuses at once when it has opened; the call that opened it says so in its trail", async () => {
    const { clock, run, send, upstream } = stage({}, bad);
    expect(await run(2)).toEqual([503, 503]);
    const third = call();
    expect(await send(third)).toBe(bad);
    expect(trailOf(third)).toEqual([
      { kind: "breaker", from: "closed", to: "open", why: "consecutive_failures" },
    ]);
    await clock.advance(7500);
    await expect(send(call())).rejects.toMatchObject({
      code: "CIRCUIT_OPEN",
      reached: "unsent",
      replyFields: "Retry-After: 3\r\n",
      message: "api.example:443 is not called: its breaker is open for another 2500 ms",
    });
    expect(upstream.requests).toHaveLength(3);
    expect(clock.untilNext()).toBeNull();
  });

  test("lets one call go when its time is over, refuses those beside it, and closes when it went well", async () => {
    const { clock, run, send } = stage({}, bad, bad, bad, { afterMs: 50, outcome: ok }, ok);
    await run(3);
    await clock.advance(10_000);
    const probe = call();
    const probed = watch(send(probe));
    await expect(send(call())).rejects.toMatchObject({
      code: "CIRCUIT_OPEN",
      replyFields: "Retry-After: 1\r\n",
      message: "api.example:443 is not called: its breaker is being probed",
    });
    await clock.advance(50);
    expect(probed.value).toBe(ok);
    expect(trailOf(probe)).toEqual([
      { kind: "breaker", from: "open", to: "half_open", why: "open_for_over" },
      { kind: "breaker", from: "half_open", to: "closed", why: "probes_succeeded" },
    ]);
    expect(await run(3)).toEqual([200, 200, 200]);
  });

  test("opens again when the probe fails, for the whole time", async () => {
    const { clock, run } = stage({}, bad);
    await run(3);
    await clock.advance(10_000);
    expect(await run(2)).toEqual([503, "CIRCUIT_OPEN"]);
    await clock.advance(9999);
    expect(await run(1)).toEqual(["CIRCUIT_OPEN"]);
    await clock.advance(1);
    expect(await run(1)).toEqual([503]);
  });

  test.each([
    ["stood still", (clock: FreezingClock) => clock.freeze(900_000)],
    ["went on", (clock: FreezingClock) => clock.advance(900_000)],
  ])("counts a freeze in which the monotonic clock %s as waited", async (_, freeze) => {
    const { clock, run } = stage({}, bad, bad, bad, ok);
    await run(3);
    await freeze(clock);
    expect(await run(2)).toEqual([200, 200]);
  });

  test("gives the probe to the next call when the application leaves the one that was it", async () => {
    const { clock, run, send } = stage({}, bad, bad, bad, "silence", ok);
    await run(3);
    await clock.advance(10_000);
    const left = call();
    const probe = watch(send(left));
    left.cancelled.fire(failure("CLIENT_GONE"));
    await clock.advance(0);
    expect(probe.error?.code).toBe("CLIENT_GONE");
    expect(await run(1)).toEqual([200]);
  });

  test("works at one call at a time as it does at many", async () => {
    const { clock, upstream, send } = stage({}, { afterMs: 10, outcome: bad });
    const seen = Array.from({ length: 8 }, () => watch(send(call())));
    await clock.advance(10);
    // All eight had been let go before the third failure.
    expect(seen.map(({ value }) => value?.status)).toEqual(Array(8).fill(503));
    await expect(send(call())).rejects.toMatchObject({ code: "CIRCUIT_OPEN" });
    expect(upstream.requests).toHaveLength(8);
  });

  test("counts attempts that are slow to their head", async () => {
    const slow = { slowCallMs: 100, slowRatio: 0.5, minCalls: 2 };
    const { clock, send } = stage(slow, { afterMs: 101, outcome: ok });
    const requests = [call(), call()];
    for (const request of requests) {
      watch(send(request));
      await clock.advance(101);
    }
    expect(trailOf(requests[1]!)).toMatchObject([{ to: "open", why: "slow_ratio" }]);
  });

  test("is held open by hand, and says so without a time", async () => {
    const { send, upstream } = stage({ isolated: true }, ok);
    const error: EgressError = await send(call()).then(
      () => expect.unreachable(),
      (reason) => reason,
    );
    expect(error.code).toBe("CIRCUIT_OPEN");
    expect(error.replyFields).toBe("");
    expect(error.message).toContain("circuit_breaker.isolated");
    expect(upstream.requests).toHaveLength(0);
  });
});

describe("a circuit breaker judges a body later than its head", () => {
  const broken = async (send: ReturnType<typeof stage>["send"], source: Source, reason: EgressError) => {
    const request = call();
    await send(request);
    source.body.fail(reason);
    request.settled.fire({ error: reason });
    return request;
  };

  test("a break of the body counts as a failure, and opens it", async () => {
    const sources = [new Source(), new Source(), new Source()];
    const { send, run } = stage({}, ...sources.map(({ body }) => answer(200, "", body)), ok);
    const [first, , third] = [
      await broken(send, sources[0]!, failure("UPSTREAM_ABORTED")),
      await broken(send, sources[1]!, failure("UPSTREAM_ABORTED")),
      await broken(send, sources[2]!, failure("UPSTREAM_ABORTED")),
    ];
    expect(trailOf(first)).toEqual([]);
    expect(trailOf(third)).toMatchObject([{ kind: "breaker", to: "open" }]);
    expect(await run(1)).toEqual(["CIRCUIT_OPEN"]);
  });

  test.each(["CLIENT_GONE", "DEADLINE_EXCEEDED"] as const)("%s is no fault of the upstream", async (code) => {
    const source = new Source();
    const { send, run } = stage({ consecutiveFailures: 1 }, answer(200, "", source.body), ok);
    await broken(send, source, failure(code));
    expect(await run(1)).toEqual([200]);
  });

  test("a body that was given up for another attempt is none either", async () => {
    const source = new Source();
    const { send, run } = stage({ consecutiveFailures: 1 }, answer(429, "", source.body), ok);
    const request = call();
    await send(request);
    source.body.cancel(failure("UPSTREAM_ABORTED"));
    await send(request.with({ attempt: 2 }));
    settle(request);
    expect(await run(1)).toEqual([200]);
  });

  test("a stream that is still open when its call is over leaves its listener alone", async () => {
    const source = new Source();
    const { send } = stage({}, answer(200, "", source.body));
    const request = call();
    const ended: (EgressError | null)[] = [];
    await send(request);
    source.body.onEnded((error) => ended.push(error));
    settle(request);
    source.body.end();
    expect(ended).toEqual([null]);
  });

  test("a grpc-status in the trailers counts like one in the head", async () => {
    const source = new Source();
    const grpc = { consecutiveFailures: 1, grpcStatuses: [14] };
    const { send, run } = stage(grpc, answer(200, "", source.body), ok);
    const request = call();
    await send(request);
    source.body.end("grpc-status: 14\r\n");
    request.trail.push({ kind: "grpc", status: 14 });
    settle(request);
    expect(trailOf(request)).toMatchObject([{ kind: "grpc" }, { kind: "breaker", to: "open" }]);
    expect(await run(1)).toEqual(["CIRCUIT_OPEN"]);
  });
});

describe("each upstream has a breaker of its own", () => {
  const at = (host: string) => () => call({ host });

  test("a host that fails does not close the way to another", async () => {
    const { run } = stage({}, bad);
    await run(3, at("a.example"));
    expect(await run(1, at("b.example"))).toEqual([503]);
    expect(await run(1, at("a.example"))).toEqual(["CIRCUIT_OPEN"]);
  });

  test("nor does an endpoint, where a stage has chosen one", async () => {
    const { run } = stage({}, bad);
    const to = (host: string) => () => call().with({ address: { host, port: 443 } });
    await run(3, to("10.0.0.1"));
    expect(await run(1, to("10.0.0.2"))).toEqual([503]);
    expect(await run(1, to("10.0.0.1"))).toEqual(["CIRCUIT_OPEN"]);
  });

  test("an endpoint without a port of its own stands on the call's", async () => {
    const { run } = stage({}, bad);
    const to = (port: number) => () => call({ port }).with({ address: { host: "10.0.0.1", port: 0 } });
    await run(3, to(443));
    expect(await run(1, to(8443))).toEqual([503]);
    expect(await run(1, to(443))).toEqual(["CIRCUIT_OPEN"]);
  });

  test("they are bounded: a closed one is forgotten before one that is open", async () => {
    const { run } = stage({}, bad);
    await run(3, at("open.example"));
    await run(2, at("closed.example"));
    for (let i = 0; i < BREAKERS_MAX - 1; i++) await run(1, at(`${i}.example`));
    expect(await run(1, at("open.example"))).toEqual(["CIRCUIT_OPEN"]);
    // Its two failures are forgotten with it.
    expect(await run(3, at("closed.example"))).toEqual([503, 503, 503]);
  });
});

/** A store in memory that several stages may hold; elects whom the test says. */
class SharedMemory implements BreakerStore {
  readonly announced: BreakerTransition[] = [];
  readonly asked: string[] = [];
  elects: boolean | Promise<boolean> = true;

  load(key: string): BreakerTransition | null {
    return this.announced.findLast((transition) => transition.key === key) ?? null;
  }

  announce(transition: BreakerTransition): void {
    this.announced.push(transition);
  }

  elect(key: string): Promise<boolean> {
    this.asked.push(key);
    return Promise.resolve(this.elects);
  }
}

describe("sandboxes that share a breaker", () => {
  function fleet(...steps: Step[]) {
    const clock = new FreezingClock();
    const store = new SharedMemory();
    const sandbox = () => stageOn(clock, { shared: true }, store, ...steps);
    return { clock, store, one: sandbox(), other: sandbox() };
  }

  test("tell one another that it opened, and the others do not try for themselves", async () => {
    const { store, one, other } = fleet(bad);
    await one.run(3);
    expect(store.announced).toMatchObject([{ key: "api/api.example:443", to: "open" }]);
    const request = call();
    await expect(other.send(request)).rejects.toMatchObject({ code: "CIRCUIT_OPEN" });
    expect(trailOf(request)).toEqual([{ kind: "breaker", from: "closed", to: "open", why: "fleet" }]);
    expect(other.upstream.requests).toHaveLength(0);
    expect(store.announced).toHaveLength(1);
  });

  test("let the one that is elected probe, and close by its word", async () => {
    const { clock, store, one, other } = fleet(bad, bad, bad, ok);
    await one.run(3);
    await other.run(1);
    await clock.advance(10_000);
    expect(await one.run(1)).toEqual([200]);
    expect(store.announced).toMatchObject([{ to: "open" }, { to: "closed" }]);
    const first = call();
    await other.send(first);
    expect(trailOf(first)).toEqual([{ kind: "breaker", from: "open", to: "closed", why: "fleet" }]);
    expect(store.asked).toEqual(["api/api.example:443"]);
  });

  test("the one that is not elected goes on refusing, and asks again a second later", async () => {
    const { clock, store, one } = fleet(bad, bad, bad, ok);
    await one.run(3);
    await clock.advance(10_000);
    store.elects = false;
    expect(await one.run(3)).toEqual(Array(3).fill("CIRCUIT_OPEN"));
    expect(store.asked).toHaveLength(1);
    await clock.advance(1000);
    store.elects = true;
    expect(await one.run(1)).toEqual([200]);
    expect(store.asked).toHaveLength(2);
  });

  test("while one call waits for the election the others are refused, and its own end ends the wait", async () => {
    const { clock, store, one } = fleet(bad, bad, bad, ok);
    await one.run(3);
    await clock.advance(10_000);
    const election = Promise.withResolvers<boolean>();
    store.elects = election.promise;
    const first = call();
    const waiting = watch(one.send(first));
    expect(await one.run(1)).toEqual(["CIRCUIT_OPEN"]);
    first.cancelled.fire(failure("DEADLINE_EXCEEDED"));
    await clock.advance(0);
    expect(waiting.error?.code).toBe("DEADLINE_EXCEEDED");
    election.resolve(true);
    await clock.advance(0);
    // The answer was for this sandbox, so its next call is the probe.
    expect(await one.run(1)).toEqual([200]);
    expect(store.asked).toHaveLength(1);
  });

  test("a store that fails lets this sandbox probe", async () => {
    const { clock, store, one } = fleet(bad, bad, bad, ok);
    await one.run(3);
    await clock.advance(10_000);
    store.elects = Promise.reject(new Error("no store"));
    expect(await one.run(1)).toEqual([200]);
  });

  test("go on listening after a word from the future", async () => {
    const { clock, store, other } = fleet(ok);
    const key = "api/api.example:443";
    const atWallMs = clock.wall() + 3_600_000;
    store.announce({ key, to: "open", why: "error_ratio", atWallMs, untilWallMs: atWallMs + 10_000 });
    expect(await other.run(1)).toEqual(["CIRCUIT_OPEN"]);
    await clock.advance(10);
    store.announce({ key, to: "closed", why: "probes_succeeded", atWallMs: clock.wall(), untilWallMs: 0 });
    expect(await other.run(1)).toEqual([200]);
  });

  test("are asked nothing where the policy does not share", async () => {
    const store = new SharedMemory();
    const { clock, run } = stageOn(new FreezingClock(), {}, store, bad, bad, bad, ok);
    await run(3);
    await clock.advance(10_000);
    expect(await run(1)).toEqual([200]);
    expect([store.announced, store.asked]).toEqual([[], []]);
  });
});
