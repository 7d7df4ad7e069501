/** The adaptive limit through the whole proxy, judged by what the origin received. Its simulation is in test/policy. */
import { expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { eventually, signal } from "../kit/eventually.ts";
import { field, type ResponseMessage } from "../kit/message.ts";
import { scriptedOrigin, step } from "../kit/origin.ts";
import { get, startProxy } from "../kit/proxy.ts";

/** A proxy in virtual time before an origin that keeps its answers until it is told to give them. */
async function scene(limits: { min: number; max: number; queue: number }) {
  const clock = new VirtualClock();
  let gate = signal();
  const origin = await scriptedOrigin([
    step(async ({ peer }) => {
      await gate.given;
      await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
      return true;
    }),
  ]);
  const proxy = await startProxy({
    policy: { defaults: { limits: { adaptive_concurrency: limits } } },
    clock,
  });
  return {
    clock,
    origin,
    proxy,
    /** Lets every call go that is at the origin now. */
    answerAll() {
      gate.give();
      gate = signal();
    },
    async [Symbol.asyncDispose]() {
      gate.give();
      await proxy[Symbol.asyncDispose]();
      await origin[Symbol.asyncDispose]();
    },
  };
}

const told = (response: ResponseMessage) => field(response, "outrider-error") ?? response.status;

test("a call over the limit waits in line, and is refused when the line is full", async () => {
  await using it = await scene({ min: 2, max: 2, queue: 1 });
  const first = [it.proxy.get(it.origin, "/1"), it.proxy.get(it.origin, "/2")];
  await eventually("two calls", () => it.origin.requests.length === 2);
  const waiting = it.proxy.get(it.origin, "/waits");
  // Of two that come then one is in line or both are, and the other is refused: the line has one place.
  const refused = await Promise.race([waiting, it.proxy.get(it.origin, "/waits")]);
  expect([refused.status, told(refused)]).toEqual([503, "CONCURRENCY_LIMITED"]);
  expect(it.origin.requests).toHaveLength(2);
  it.answerAll();
  for (const response of await Promise.all(first)) expect(told(response)).toBe(200);
  await eventually("the one in line", () => it.origin.requests.length === 3);
  expect(it.origin.requests[2]!.startLine).toBe("GET /waits HTTP/1.1");
  it.answerAll();
});

test("the limit falls when answers take longer, and fewer calls reach the upstream at once", async () => {
  await using it = await scene({ min: 1, max: 100, queue: 0 });
  /** As many calls at once as get through, up to 30, answered after `ms`; how many those were. */
  async function wave(ms: number): Promise<number> {
    const before = it.origin.requests.length;
    let refused = 0;
    const calls = Array.from({ length: 30 }, async () => {
      using client = await it.proxy.client();
      await client.write(get(it.origin));
      const response = await client.response();
      if (told(response) === "CONCURRENCY_LIMITED") refused += 1;
    });
    await eventually("all thirty", () => it.origin.requests.length - before + refused === 30);
    await it.clock.advance(ms);
    it.answerAll();
    await Promise.all(calls);
    return it.origin.requests.length - before;
  }

  expect(await wave(200)).toBe(20);
  expect(await wave(200)).toBeGreaterThan(20);
  for (let i = 0; i < 3; i++) await wave(1000);
  const few = await wave(1000);
  expect(few).toBeLessThan(14);
  expect(few).toBeGreaterThanOrEqual(1);
  for (let i = 0; i < 6; i++) await wave(200);
  expect(await wave(200)).toBeGreaterThan(few);
});
