/** Retries through the whole proxy, judged by what the origin received and when. The rules have their tables in test/policy. */
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { eventually, passUntil } from "../kit/eventually.ts";
import { field } from "../kit/message.ts";
import { answer, type Origin, ok, reset, scriptedOrigin, step } from "../kit/origin.ts";
import { get, type ProxyOptions, post, startProxy } from "../kit/proxy.ts";

type Defaults = NonNullable<NonNullable<ProxyOptions["policy"]>["defaults"]>;

const RETRY: Defaults["retry"] = {
  max_retries: 2,
  backoff: { base: "1ms", max: "2ms" },
  budget: { ratio: 1, floor: 10 },
};
const status = (code: number, fields = "", body = "bad"): ReturnType<typeof answer> =>
  answer(`HTTP/1.1 ${code} x\r\n${fields}Content-Length: ${body.length}\r\n\r\n${body}`);

/** A GET in virtual time, and how long it took. */
async function timedGet(origin: Origin, defaults: Defaults) {
  const clock = new VirtualClock();
  await using proxy = await startProxy({ policy: { defaults }, clock });
  using client = await proxy.client();
  await client.write(get(origin));
  return await passUntil(clock, client.response(), { stepMs: 100 });
}

describe("what an upstream says about when to come again", () => {
  test.each([
    ["Retry-After", "Retry-After: 2\r\n"],
    ["RateLimit", 'RateLimit: "default";r=0;t=2\r\n'],
    ["X-RateLimit-Reset", "X-RateLimit-Reset: 2\r\n"],
    ["retry-after-ms", "retry-after-ms: 2000\r\n"],
  ])("is heeded where it fits the deadline: %s", async (_, fields) => {
    await using origin = await scriptedOrigin([status(429, fields), ok("later")]);
    const retry = { ...RETRY, on: [429] };
    const { value, elapsedMs } = await timedGet(origin, { retry, timeout: "5m" });
    expect(value.body.toString()).toBe("later");
    expect(elapsedMs).toBeGreaterThanOrEqual(2000);
    expect(origin.requests).toHaveLength(2);
  });

  test("ends the call at once where it does not fit: the application has the answer and its time", async () => {
    await using origin = await scriptedOrigin([status(429, "Retry-After: 11\r\n"), ok()]);
    const defaults: Defaults = { retry: { ...RETRY, on: [429] }, timeout: "10s" };
    // A clock that stands still: whatever waited would wait for ever.
    await using proxy = await startProxy({ policy: { defaults }, clock: new VirtualClock() });
    const response = await proxy.get(origin);
    expect([response.status, field(response, "retry-after")]).toEqual([429, "11"]);
    expect(origin.requests).toHaveLength(1);
  });
});

test("a response header that the policy names is a condition, whatever the status", async () => {
  await using origin = await scriptedOrigin([status(409, "X-Should-Retry: true\r\n"), ok("second")]);
  await using proxy = await startProxy({
    policy: { defaults: { retry: { ...RETRY, on: ["header:x-should-retry"] } } },
  });
  expect((await proxy.get(origin)).body.toString()).toBe("second");
  expect(origin.requests).toHaveLength(2);
});

test("an answer that is given up is drained, and its connection carries the next attempt", async () => {
  const clock = new VirtualClock();
  await using origin = await scriptedOrigin([
    status(503, "Retry-After: 2\r\n", "x".repeat(30_000)),
    ok("second"),
  ]);
  await using proxy = await startProxy({ policy: { defaults: { retry: RETRY } }, clock });
  using client = await proxy.client();
  await client.write(get(origin));
  await eventually("the connection to be back in the pool", () => proxy.proxy.upstream.stats().idle === 1);
  await clock.advance(2000);
  expect((await client.response()).body.toString()).toBe("second");
  expect(origin.requests.map(({ connection }) => connection)).toEqual([1, 1]);
});

test("an answer that dawdles is cut off, and its connection with it", async () => {
  await using origin = await scriptedOrigin([
    step(async ({ peer }) => {
      await peer.write("HTTP/1.1 503 x\r\nContent-Length: 8\r\n\r\nhalf");
      return false;
    }),
    ok("second"),
  ]);
  await using proxy = await startProxy({ policy: { defaults: { retry: RETRY } } });
  expect((await proxy.get(origin)).body.toString()).toBe("second");
  await origin.connections[0]!.gone();
  expect(origin.requests.map(({ connection }) => connection)).toEqual([1, 2]);
});

describe("S20: through real sockets", () => {
  test("a POST that the upstream may have acted on is sent once, a GET again", async () => {
    await using origin = await scriptedOrigin([reset()]);
    await using proxy = await startProxy({ policy: { defaults: { retry: RETRY } } });
    expect((await proxy.ask(post(origin, "pay"))).status).toBe(502);
    expect(origin.requests).toHaveLength(1);
    expect((await proxy.get(origin)).status).toBe(502);
    expect(origin.requests).toHaveLength(1 + 3);
  });

  test("nothing is sent again behind the first byte of an answer", async () => {
    await using origin = await scriptedOrigin([reset("HTTP/1.1 200 O")]);
    await using proxy = await startProxy({ policy: { defaults: { retry: RETRY } } });
    expect((await proxy.get(origin)).status).toBe(502);
    expect(origin.requests).toHaveLength(1);
  });

  test("a body that outgrows replay_buffer streams on, and is not sent again", async () => {
    await using origin = await scriptedOrigin([status(503), ok()]);
    await using proxy = await startProxy({
      policy: { defaults: { retry: { ...RETRY, replay_buffer: "1KiB" } } },
    });
    const body = "0123456789".repeat(3000);
    const response = await proxy.ask(
      `PUT http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n7530\r\n${body}\r\n0\r\n\r\n`,
    );
    expect(response.status).toBe(503);
    expect(origin.requests.map((request) => request.body.toString())).toEqual([body]);
  });
});
