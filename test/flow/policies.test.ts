/** Each policy through the whole proxy, judged by what the origin received. The stages' own tables are in test/policy. */
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { passUntil } from "../kit/eventually.ts";
import { field } from "../kit/message.ts";
import { answer, type Origin, ok, reset, scriptedOrigin, silence, step } from "../kit/origin.ts";
import { get, type ProxyOptions, post, startProxy } from "../kit/proxy.ts";

type Defaults = NonNullable<NonNullable<ProxyOptions["policy"]>["defaults"]>;

const withDefaults = (defaults: Defaults): ProxyOptions => ({ policy: { defaults } });
const RETRY = { max_retries: 2, backoff: { base: "1ms", max: "2ms" }, budget: { ratio: 1, floor: 10 } };
const status = (code: number, fields = ""): ReturnType<typeof answer> =>
  answer(`HTTP/1.1 ${code} x\r\n${fields}Content-Length: 3\r\n\r\nbad`);

describe("retry", () => {
  test("sends again what failed, until it succeeds", async () => {
    await using origin = await scriptedOrigin([reset(), status(503), ok("third")]);
    await using proxy = await startProxy(withDefaults({ retry: RETRY }));
    expect((await proxy.get(origin, "/x")).body.toString()).toBe("third");
    expect(origin.requests.map(({ startLine }) => startLine)).toEqual(Array(3).fill("GET /x HTTP/1.1"));
  });

  test("hands on the last answer when the tries are used up", async () => {
    await using origin = await scriptedOrigin([status(503)]);
    await using proxy = await startProxy(withDefaults({ retry: RETRY }));
    const response = await proxy.get(origin);
    expect([response.status, response.body.toString()]).toEqual([503, "bad"]);
    expect(origin.requests).toHaveLength(3);
  });

  test("repeats a body to the byte, streamed or not, as long as it fits the replay buffer", async () => {
    await using origin = await scriptedOrigin([status(503), ok()]);
    await using proxy = await startProxy(withDefaults({ retry: RETRY }));
    const body = "0123456789".repeat(3000);
    await proxy.ask(
      `PUT http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n7530\r\n${body}\r\n0\r\n\r\n`,
    );
    expect(origin.requests.map((request) => request.body.toString())).toEqual([body, body]);
  });

  test("never sends POST again without an idempotency key, and does with one", async () => {
    await using origin = await scriptedOrigin([status(503), status(503), ok("kept")]);
    await using proxy = await startProxy(withDefaults({ retry: RETRY }));
    expect((await proxy.ask(post(origin, "a"))).status).toBe(503);
    expect(origin.requests).toHaveLength(1);
    expect((await proxy.ask(post(origin, "a", "Idempotency-Key: k\r\n"))).status).toBe(200);
    expect(origin.requests).toHaveLength(3);
  });

  test("is off where the policy does not ask for it", async () => {
    await using origin = await scriptedOrigin([status(503), ok()]);
    await using proxy = await startProxy();
    expect((await proxy.get(origin)).status).toBe(503);
    expect(origin.requests).toHaveLength(1);
  });
});

describe("rate limit", () => {
  test("refuses the call over the rate with 429 and says when to come again", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy({ ...withDefaults({ limits: { rate: "1/s", burst: 1 } }), clock });
    expect((await proxy.get(origin)).status).toBe(200);
    const refused = await proxy.get(origin);
    expect([refused.status, field(refused, "outrider-error")]).toEqual([429, "RATE_LIMITED"]);
    expect(field(refused, "retry-after")).toBe("1");
    await clock.advance(1000);
    expect((await proxy.get(origin)).status).toBe(200);
    expect(origin.requests).toHaveLength(2);
  });
});

describe("concurrency limit", () => {
  test("refuses the call over the limit, and counts a call until its last byte", async () => {
    const finish = Promise.withResolvers<void>();
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
        await finish.promise;
        await peer.write("half");
        return true;
      }),
      ok("next"),
    ]);
    await using proxy = await startProxy(withDefaults({ limits: { max_concurrency: 1 } }));
    using client = await proxy.client();
    await client.write(get(origin));
    // The head has come, the body has not: the call is not over.
    await client.seen("half");
    const refused = await proxy.get(origin);
    expect([refused.status, field(refused, "outrider-error")]).toEqual([503, "CONCURRENCY_LIMITED"]);
    finish.resolve();
    expect((await client.response()).body.toString()).toBe("halfhalf");
    expect((await proxy.get(origin)).body.toString()).toBe("next");
    expect(origin.requests).toHaveLength(2);
  });
});

describe("deadline", () => {
  const silentCall = async (origin: Origin, fields: string, options: ProxyOptions) => {
    const clock = new VirtualClock();
    await using proxy = await startProxy({ ...options, clock });
    using client = await proxy.client();
    await client.write(get(origin, "/", fields));
    await origin.connected(1);
    await origin.connections[0]!.seen("\r\n\r\n");
    return await passUntil(clock, client.response(), { stepMs: 100 });
  };

  test("ends a call that takes longer than timeout, and its connection with it", async () => {
    await using origin = await scriptedOrigin([silence()]);
    const { value, elapsedMs } = await silentCall(origin, "", withDefaults({ timeout: "2s" }));
    expect([value.status, field(value, "outrider-error")]).toEqual([504, "DEADLINE_EXCEEDED"]);
    expect(elapsedMs).toBeGreaterThanOrEqual(2000);
    await origin.connections[0]!.gone();
  });

  test("is the caller's own where that is nearer", async () => {
    await using origin = await scriptedOrigin([silence()]);
    const header = "X-Envoy-Expected-Rq-Timeout-Ms: 500\r\n";
    const { value, elapsedMs } = await silentCall(origin, header, withDefaults({ timeout: "20s" }));
    expect(field(value, "outrider-error")).toBe("DEADLINE_EXCEEDED");
    expect(elapsedMs).toBeLessThan(20_000);
  });

  test("cuts off an answer that has begun, visibly", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
        return false;
      }),
    ]);
    await using proxy = await startProxy({ ...withDefaults({ timeout: "2s" }), clock });
    using client = await proxy.client();
    await client.write(get(origin));
    await client.seen("half");
    expect((await passUntil(clock, client.gone(), { stepMs: 100 })).value).toBe("reset");
    expect(client.received).not.toMatch(/\r\n0\r\n\r\n$/);
  });
});

test("per_try_timeout ends an attempt, and the next one may succeed", async () => {
  const clock = new VirtualClock();
  await using origin = await scriptedOrigin([silence(), ok("second")]);
  const retry = { ...RETRY, on: ["per_try_timeout" as const] };
  await using proxy = await startProxy({ ...withDefaults({ per_try_timeout: "1s", retry }), clock });
  using client = await proxy.client();
  await client.write(get(origin));
  await origin.connected(1);
  await origin.connections[0]!.seen("\r\n\r\n");
  const { value } = await passUntil(clock, client.response(), { stepMs: 100 });
  expect(value.body.toString()).toBe("second");
  await origin.connections[0]!.gone();
});

test("per_try_timeout without a retry is an answer of its own", async () => {
  const clock = new VirtualClock();
  await using origin = await scriptedOrigin([silence()]);
  await using proxy = await startProxy({ ...withDefaults({ per_try_timeout: "1s" }), clock });
  using client = await proxy.client();
  await client.write(get(origin));
  await origin.connected(1);
  await origin.connections[0]!.seen("\r\n\r\n");
  const { value } = await passUntil(clock, client.response(), { stepMs: 100 });
  expect([value.status, field(value, "outrider-error")]).toEqual([504, "PER_TRY_TIMEOUT"]);
});

describe("trace context", () => {
  test("is begun where there is none, with another span for each attempt", async () => {
    await using origin = await scriptedOrigin([status(503), ok()]);
    const policy = { defaults: { retry: RETRY }, telemetry: { propagate: ["tracecontext" as const] } };
    await using proxy = await startProxy({ policy });
    await proxy.get(origin);
    const parents = origin.requests.map((request) => field(request, "traceparent")!);
    expect(parents).toHaveLength(2);
    for (const parent of parents) expect(parent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3]$/);
    const [first, second] = parents.map((parent) => parent.split("-"));
    expect(first![1]).toBe(second![1]);
    expect(first![2]).not.toBe(second![2]);
  });

  test("is continued where the application has begun one", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy({ policy: { telemetry: { propagate: ["tracecontext"] } } });
    const trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    await proxy.ask(get(origin, "/", `traceparent: 00-${trace}-00f067aa0ba902b7-01\r\n`));
    expect(field(origin.requests[0]!, "traceparent")).toMatch(new RegExp(`^00-${trace}-[0-9a-f]{16}-01$`));
  });
});

describe("admission", () => {
  test("a destination that is denied is not called", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy({
      policy: { destinations: [{ name: "no", hosts: ["127.0.0.1"], access: "deny" }] },
    });
    const refused = await proxy.get(origin);
    expect([refused.status, field(refused, "outrider-error")]).toEqual([403, "DENIED"]);
    const tunnel = await proxy.ask(`CONNECT ${origin.authority} HTTP/1.1\r\nHost: x\r\n\r\n`);
    expect([tunnel.status, field(tunnel, "outrider-error")]).toEqual([403, "DENIED"]);
    expect(origin.connections).toHaveLength(0);
  });

  test("what the file does not name is denied where that is the default, and only noted in report mode", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using strict = await startProxy({ policy: { acl: { default: "deny" } } });
    expect(field(await strict.get(origin), "outrider-error")).toBe("DENIED");
    expect(origin.connections).toHaveLength(0);
    await using lenient = await startProxy({ policy: { acl: { default: "deny", mode: "report" } } });
    expect((await lenient.get(origin)).status).toBe(200);
    expect(lenient.proxy.telemetry.metrics().destinations[0]!.wouldDeny).toBe(1);
  });
});
