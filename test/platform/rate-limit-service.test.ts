/** Envoy's rate limit protocol against a service that is made with gRPC's own library. */
import { describe, expect, test } from "vitest";
import { type Clock, systemClock, VirtualClock } from "../../src/clock.ts";
import type { FleetOptions } from "../../src/config/types.ts";
import type { EgressError } from "../../src/errors.ts";
import { createFleet } from "../../src/fleet/fleet.ts";
import { Latch } from "../../src/latch.ts";
import type { DescriptorEntry, RateLimitJudge } from "../../src/policy/rate-source.ts";
import { RateLimitServer, startRateLimitServer } from "../fleet/rate-limit-server.ts";
import { freePort } from "../fleet/redis.ts";
import { fleetOptions, ROUTE } from "../fleet/sandboxes.ts";
import { eventually } from "../kit/eventually.ts";
import { failure } from "../policy/calls.ts";

const ENTRIES: DescriptorEntry[] = [
  { key: "tenant", value: "acme ☂" },
  { key: "path", value: "/v1" },
];

/** Long enough for loopback on a busy machine; a guard, no measurement. */
const TIMEOUT_MS = 15_000;

interface TestJudge extends AsyncDisposable {
  readonly judge: RateLimitJudge;
  readonly fleet: ReturnType<typeof createFleet>;
  ask(cancelled?: Latch<EgressError>): ReturnType<RateLimitJudge["ask"]>;
}

function judgeOf(
  authority: string,
  changes: Partial<FleetOptions> = {},
  clock: Clock = systemClock,
): TestJudge {
  const options = { store: "", rateLimitService: authority, timeoutMs: TIMEOUT_MS, rateLimitDomain: "shop" };
  const fleet = createFleet(fleetOptions(0, { ...options, ...changes }), {
    clock,
    password: "",
    identity: "",
  });
  const judge = fleet.rates(ROUTE).judge!;
  return {
    judge,
    fleet,
    ask: (cancelled = new Latch()) => judge.ask(ENTRIES, { cancelled }),
    [Symbol.asyncDispose]: async () => fleet.close(),
  };
}

describe("a rate limit service of gRPC's own library", () => {
  test("is asked in its own words, and its fields come back", async () => {
    await using server = await startRateLimitServer(() => ({
      overallCode: "OK",
      statuses: [{ code: "OK", limitRemaining: 7, durationUntilReset: { seconds: 30 } }],
      responseHeadersToAdd: [{ key: "RateLimit-Remaining", value: "7" }],
      requestHeadersToAdd: [{ key: "X-Class", rawValue: Buffer.from("gold") }],
    }));
    await using client = judgeOf(server.authority);
    expect(await client.ask()).toEqual({
      over: false,
      resetMs: 0,
      requestFields: "X-Class: gold\r\n",
      responseFields: "RateLimit-Remaining: 7\r\n",
    });
    expect(server.questions).toEqual([
      { domain: "shop", descriptors: [{ entries: ENTRIES }], hitsAddend: 0 },
    ]);
  });

  test("says when the limit that is used up is fresh again", async () => {
    await using server = await startRateLimitServer(() => ({
      overallCode: "OVER_LIMIT",
      statuses: [
        { code: "OK", durationUntilReset: { seconds: 3600 } },
        { code: "OVER_LIMIT", durationUntilReset: { seconds: 2, nanos: 500_000_000 } },
      ],
      rawBody: Buffer.from("slow down"),
    }));
    await using client = judgeOf(server.authority);
    expect(await client.ask()).toMatchObject({ over: true, resetMs: 2500 });
  });

  test("cannot smuggle a field that frames a message or breaks a line", async () => {
    await using server = await startRateLimitServer(() => ({
      overallCode: "OK",
      responseHeadersToAdd: [
        { key: "Transfer-Encoding", value: "chunked" },
        { key: "content-length", value: "0" },
        { key: "X-A", value: "1\r\nX-B: 2" },
        { key: "X C", value: "3" },
        { key: "", value: "4" },
        { key: "X-Good", value: "5" },
      ],
    }));
    await using client = judgeOf(server.authority);
    expect((await client.ask()).responseFields).toBe("X-Good: 5\r\n");
  });

  test("is asked many things at once on one connection", async () => {
    await using server = await startRateLimitServer(() => ({ overallCode: "OK" }));
    await using client = judgeOf(server.authority);
    const verdicts = await Promise.all(Array.from({ length: 200 }, () => client.ask()));
    expect(verdicts.every(({ over }) => !over)).toBe(true);
    expect(server.questions).toHaveLength(200);
  });

  test("that has no opinion gives no verdict", async () => {
    await using server = await startRateLimitServer(() => ({ overallCode: "UNKNOWN" }));
    await using client = judgeOf(server.authority);
    await expect(client.ask()).rejects.toThrow("its overall_code is 0");
  });

  test("that fails gives no verdict", async () => {
    await using server = await startRateLimitServer(() => "failure");
    await using client = judgeOf(server.authority);
    await expect(client.ask()).rejects.toThrow("it answered with grpc-status 14");
  });

  test("that is silent gives no verdict when fleet.timeout is over, and the next question finds a fresh connection", async () => {
    let judgement: "silence" | { overallCode: string } = "silence";
    await using server = await startRateLimitServer(() => judgement);
    const clock = new VirtualClock();
    await using client = judgeOf(server.authority, { timeoutMs: 100 }, clock);
    const asked = expect(client.ask()).rejects.toThrow("no answer in 100 ms");
    await eventually("the question to arrive", () => server.questions.length === 1);
    await clock.advance(100);
    await asked;
    judgement = { overallCode: "OK" };
    expect(await client.ask()).toMatchObject({ over: false });
    expect(clock.untilNext()).toBeNull();
  });

  test("is left when the call is cancelled", async () => {
    await using server = await startRateLimitServer(() => "silence");
    await using client = judgeOf(server.authority);
    const cancelled = new Latch<EgressError>();
    const reason = failure("CLIENT_GONE");
    const asked = expect(client.ask(cancelled)).rejects.toBe(reason);
    await eventually("the question to arrive", () => server.questions.length === 1);
    cancelled.fire(reason);
    await asked;
  });

  test("that fails is spoken of once, and once more when it answers", async () => {
    let judgement: "failure" | { overallCode: string } = "failure";
    await using server = await startRateLimitServer(() => judgement);
    const said: string[] = [];
    const options = fleetOptions(0, { store: "", rateLimitService: server.authority, timeoutMs: TIMEOUT_MS });
    const report = (sentence: string): void => void said.push(sentence);
    const fleet = createFleet(options, { clock: systemClock, password: "", identity: "", report });
    const ask = () => fleet.rates(ROUTE).judge!.ask(ENTRIES, { cancelled: new Latch() });
    await expect(ask()).rejects.toThrow();
    await expect(ask()).rejects.toThrow();
    judgement = { overallCode: "OK" };
    await ask();
    await ask();
    expect(said).toEqual([
      "fleet.rate_limit_service cannot be used: it answered with grpc-status 14. fleet.on_failure decides until it can.",
      "fleet.rate_limit_service answers again.",
    ]);
    fleet.close();
  });

  test("that is not there gives no verdict, and is found when it has come", async () => {
    const port = await freePort();
    await using client = judgeOf(`127.0.0.1:${port}`);
    await expect(client.ask()).rejects.toThrow("ECONNREFUSED");
    await using _server = await new RateLimitServer(() => ({ overallCode: "OK" })).listen(port);
    expect(await client.ask()).toMatchObject({ over: false });
  });

  test("is asked on a fresh connection after a freeze", async () => {
    await using server = await startRateLimitServer(() => ({ overallCode: "OK" }));
    await using client = judgeOf(server.authority);
    await client.ask();
    const work = { id: "1", deadlineMs: Infinity, trace: "", sequence: 2, startedMs: 0 };
    client.fleet.lifecycle.workStarted?.(work, 900_000);
    expect(await client.ask()).toMatchObject({ over: false });
  });
});
