/** Hedges through the whole proxy: what two copies look like to an origin, and what becomes of the one that loses. */
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { ERROR_CODES } from "../../src/errors.ts";
import { type AttemptFacts, compose } from "../../src/exchange.ts";
import { hedge } from "../../src/policy/hedge.ts";
import { Upstream } from "../../src/upstream/upstream.ts";
import { eventually, passUntil } from "../kit/eventually.ts";
import { http2Ok, http2Origin } from "../kit/http2-origin.ts";
import { field } from "../kit/message.ts";
import { answer, ok, scriptedOrigin, silence, step } from "../kit/origin.ts";
import { get, type ProxyOptions, post, startProxy, testConfig } from "../kit/proxy.ts";
import { call, retryOptions } from "../policy/calls.ts";

type Defaults = NonNullable<NonNullable<ProxyOptions["policy"]>["defaults"]>;

const HEDGE: Defaults = { hedge: { delay: "200ms" } };

describe("a GET that is slow", () => {
  test("is sent on a second connection after the delay; the second answer is passed on and the first connection is closed", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([silence(), ok("second")]);
    await using proxy = await startProxy({ policy: { defaults: HEDGE }, clock });
    using client = await proxy.client();
    await client.write(get(origin, "/x"));
    await origin.connected(1);
    await origin.connections[0]!.seen("\r\n\r\n");
    expect(origin.connections).toHaveLength(1);
    const { value, elapsedMs } = await passUntil(clock, client.response(), { stepMs: 50 });
    expect(value.body.toString()).toBe("second");
    expect(elapsedMs).toBeGreaterThanOrEqual(200);
    expect(origin.requests.map(({ startLine, connection }) => [startLine, connection])).toEqual([
      ["GET /x HTTP/1.1", 1],
      ["GET /x HTTP/1.1", 2],
    ]);
    // Half an exchange is left on it: it must carry no other call.
    await origin.connections[0]!.gone();
    await eventually(
      "the loser's connection to be out of the pool",
      () => proxy.proxy.upstream.stats().open === 1,
    );
  });

  test("is answered by the first copy when that is sooner, and the second connection is closed", async () => {
    const clock = new VirtualClock();
    const finish = Promise.withResolvers<void>();
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await finish.promise;
        await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst");
        return true;
      }),
      silence(),
    ]);
    await using proxy = await startProxy({ policy: { defaults: HEDGE }, clock });
    using client = await proxy.client();
    await client.write(get(origin));
    const connected = passUntil(clock, origin.connected(2), { stepMs: 50 });
    await connected;
    await origin.connections[1]!.seen("\r\n\r\n");
    finish.resolve();
    expect((await client.response()).body.toString()).toBe("first");
    await origin.connections[1]!.gone();
    expect(origin.requests).toHaveLength(2);
  });

  test("streams the winner's body to its end", async () => {
    const clock = new VirtualClock();
    const body = "0123456789".repeat(20_000);
    await using origin = await scriptedOrigin([silence(), ok(body)]);
    await using proxy = await startProxy({ policy: { defaults: HEDGE }, clock });
    using client = await proxy.client();
    await client.write(get(origin));
    const { value } = await passUntil(clock, client.response(), { stepMs: 50 });
    expect(value.body.toString()).toBe(body);
  });

  test("that fails twice ends with the upstream's answer", async () => {
    const clock = new VirtualClock();
    const busy = "HTTP/1.1 503 x\r\nContent-Length: 4\r\n\r\nbusy";
    const go = Promise.withResolvers<void>();
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await go.promise;
        await peer.write(busy);
        return true;
      }),
      answer(busy),
    ]);
    await using proxy = await startProxy({ policy: { defaults: HEDGE }, clock });
    using client = await proxy.client();
    await client.write(get(origin));
    await passUntil(clock, origin.connected(2), { stepMs: 50 });
    go.resolve();
    const response = await client.response();
    expect([response.status, response.body.toString()]).toEqual([503, "busy"]);
  });
});

test("a POST is never sent twice", async () => {
  const clock = new VirtualClock();
  const go = Promise.withResolvers<void>();
  await using origin = await scriptedOrigin([
    step(async ({ peer }) => {
      await go.promise;
      await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
      return true;
    }),
  ]);
  await using proxy = await startProxy({ policy: { defaults: HEDGE }, clock });
  using client = await proxy.client();
  await client.write(post(origin, "pay"));
  await origin.connected(1);
  await origin.connections[0]!.seen("pay");
  await clock.advance(60_000 / 2);
  go.resolve();
  expect((await client.response()).status).toBe(200);
  expect(origin.requests).toHaveLength(1);
});

test("each copy is a span of one trace, and an attempt with a number of its own", async () => {
  const clock = new VirtualClock();
  await using origin = await scriptedOrigin([silence(), ok()]);
  const policy = { defaults: HEDGE, telemetry: { propagate: ["tracecontext" as const] } };
  await using proxy = await startProxy({ policy, clock });
  using client = await proxy.client();
  await client.write(get(origin));
  await passUntil(clock, client.response(), { stepMs: 50 });
  const [first, second] = origin.requests.map((request) => field(request, "traceparent")!.split("-"));
  expect(second![1]).toBe(first![1]);
  expect(second![2]).not.toBe(first![2]);
});

test("over HTTP/2 the copy that loses has its stream reset, and the connection lives on", async () => {
  const clock = new VirtualClock();
  const resets: number[] = [];
  let calls = 0;
  await using origin = await http2Origin((request) => {
    calls += 1;
    if (calls === 1) request.stream.on("close", () => resets.push(request.stream.rstCode));
    else http2Ok("second")(request);
  });
  await using proxy = await startProxy({
    policy: {
      destinations: [
        {
          name: "api",
          hosts: ["api.test"],
          upstream: { host: "127.0.0.1", port: origin.port },
          http_version: "http2",
          ...HEDGE,
        },
      ],
    },
    clock,
  });
  using client = await proxy.client();
  await client.write("GET http://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n");
  await eventually("the first copy", () => origin.requests.length === 1);
  const { value } = await passUntil(clock, client.response(), { stepMs: 50 });
  expect(value.body.toString()).toBe("second");
  await eventually("the first copy's stream to be reset", () => resets.length === 1);
  const CANCEL = 8;
  expect(resets).toEqual([CANCEL]);
  expect(origin.sessions.map(({ closed }) => closed)).toEqual([false]);
});

test("the trail tells of both copies: which won, and that the other was ended by nobody's fault", async () => {
  const clock = new VirtualClock();
  await using origin = await scriptedOrigin([silence(), ok("second")]);
  const { limits, destinations } = testConfig();
  const upstream = new Upstream({ limits, clock });
  const send = compose(
    [
      hedge(
        {
          hedge: { delayMs: 200, percentile: 0, maxHedges: 1, methods: ["GET"], budgetRatio: 0.1 },
          retry: retryOptions(),
        },
        clock,
      ),
    ],
    upstream.sender({
      address: null,
      originate: false,
      tunnelOverTls: false,
      httpVersion: "http1",
      tls: () => {
        throw new Error("no TLS here");
      },
      policy: destinations.at(-1)!.policy,
      vet: () => null,
    }),
  );
  const request = call({ scheme: "http", host: "127.0.0.1", port: origin.port });
  const answered = send(request);
  await origin.connected(1);
  await origin.connections[0]!.seen("\r\n\r\n");
  const { value } = await passUntil(clock, answered, { stepMs: 50 });
  expect(value.body.whole).toBe("second");
  const attempts = request.trail.flatMap((entry): AttemptFacts[] =>
    entry.kind === "attempt" ? [entry.attempt] : [],
  );
  expect(attempts.map(({ number, status }) => [number, status])).toEqual([
    [1, 0],
    [2, 200],
  ]);
  expect(attempts[0]!.error?.message).toBe("another copy of the call was answered first");
  expect(ERROR_CODES[attempts[0]!.error!.code]).toMatchObject({ status: 0, reached: "final" });
  expect(ERROR_CODES[attempts[0]!.error!.code].blame).not.toBe("upstream");
  expect(attempts[1]!.error).toBeNull();
  expect(request.trail).toContainEqual({ kind: "hedge", attempt: 2, afterMs: 200, won: true });
  upstream.destroy();
});
