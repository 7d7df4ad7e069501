/** Calls that wait, for their turn or for another try: what the upstream receives, and when. */
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import type { PolicyFile } from "../../src/config/schema.ts";
import { eventually, passUntil } from "../kit/eventually.ts";
import { field } from "../kit/message.ts";
import { answer, type Origin, ok, scriptedOrigin, step } from "../kit/origin.ts";
import { get, startProxy, type TestProxy } from "../kit/proxy.ts";

const defaults = (values: PolicyFile["defaults"]): Omit<PolicyFile, "version"> => ({ defaults: values });

/** Begins a call and leaves it open; the answer comes with `response()`. */
async function begin(proxy: TestProxy, origin: Origin, path = "/") {
  const client = await proxy.client();
  await client.write(get(origin, path));
  return client;
}

const paths = (origin: Origin): (string | undefined)[] =>
  origin.requests.map(({ startLine }) => startLine.split(" ")[1]);

describe("rate limit with overflow: wait", () => {
  const waiting = { rate: "1/s", burst: 1, overflow: "wait" } as const;

  test("calls go out at the rate, in the order in which they came", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy({ clock, policy: defaults({ limits: waiting }) });
    const answers: Promise<unknown>[] = [];
    for (const path of ["/1", "/2", "/3"]) {
      answers.push((await begin(proxy, origin, path)).response());
      await eventually(
        `${path} to be taken`,
        () => proxy.proxy.listener.open().connections === answers.length,
      );
    }
    await answers[0];
    expect(paths(origin)).toEqual(["/1"]);
    await clock.advance(1000);
    await answers[1];
    expect(paths(origin)).toEqual(["/1", "/2"]);
    await clock.advance(1000);
    await answers[2];
    expect(paths(origin)).toEqual(["/1", "/2", "/3"]);
  });

  test("a call that would wait past its deadline is refused at once", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy({ clock, policy: defaults({ limits: waiting, timeout: "500ms" }) });
    await proxy.get(origin);
    const refused = await proxy.get(origin);
    expect([refused.status, field(refused, "retry-after")]).toEqual([429, "1"]);
    expect(origin.requests).toHaveLength(1);
  });

  test("a call whose application has gone takes no token", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy({ clock, policy: defaults({ limits: waiting }) });
    await proxy.get(origin);
    const impatient = await begin(proxy, origin, "/gone");
    await eventually("the call to wait", () => proxy.proxy.listener.open().connections === 1);
    impatient.reset();
    await eventually("the application to be gone", () => proxy.proxy.listener.open().connections === 0);
    const answered = (await begin(proxy, origin, "/stays")).response();
    expect((await passUntil(clock, answered)).elapsedMs).toBeLessThanOrEqual(2000);
    expect(paths(origin)).toEqual(["/", "/stays"]);
  });
});

describe("concurrency limit with a queue", () => {
  test("one more call waits, a further one is refused; the slot passes on with the last byte", async () => {
    const finish = Promise.withResolvers<void>();
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
        await finish.promise;
        await peer.write("half");
        return true;
      }),
      ok("waited"),
    ]);
    await using proxy = await startProxy({ policy: defaults({ limits: { max_concurrency: 1, queue: 1 } }) });
    using first = await begin(proxy, origin, "/1");
    await first.until("half");
    using second = await begin(proxy, origin, "/2");
    await eventually("the second to wait", () => proxy.proxy.listener.open().connections === 2);
    const refused = await proxy.get(origin, "/3");
    expect([refused.status, field(refused, "outrider-error")]).toEqual([503, "CONCURRENCY_LIMITED"]);
    expect(paths(origin)).toEqual(["/1"]);
    finish.resolve();
    expect((await second.response()).body.toString()).toBe("waited");
    expect(paths(origin)).toEqual(["/1", "/2"]);
  });

  test.each([
    ["breaks off", "reset"],
    ["is left by its application", "leave"],
  ])("a call that %s gives its slot back", async (_how, what) => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
        await new Promise((resolve) => setTimeout(resolve, 20));
        if (what === "reset") peer.reset();
        return false;
      }),
      ok("next"),
    ]);
    await using proxy = await startProxy({ policy: defaults({ limits: { max_concurrency: 1 } }) });
    using broken = await begin(proxy, origin);
    await broken.until("half");
    if (what === "leave") broken.reset();
    else expect(await broken.gone()).toBe("reset");
    await eventually("the connection to be closed", () => proxy.proxy.listener.open().connections === 0);
    expect((await proxy.get(origin)).body.toString()).toBe("next");
  });
});

describe("a retry", () => {
  const busy = (fields = "") => answer(`HTTP/1.1 503 x\r\n${fields}Content-Length: 0\r\n\r\n`);
  const retry = { max_retries: 1, budget: { floor: 9 }, backoff: { base: "1ms", max: "1ms" } } as const;

  test("waits as long as Retry-After asks, where the deadline allows it", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([busy("Retry-After: 2\r\n"), ok("second")]);
    await using proxy = await startProxy({ clock, policy: defaults({ retry, timeout: "5s" }) });
    const { value, elapsedMs } = await passUntil(clock, proxy.get(origin), { stepMs: 100 });
    expect(value.body.toString()).toBe("second");
    expect(elapsedMs).toBeGreaterThanOrEqual(2000);
  });

  test("is not made where the deadline does not allow it: the application gets the answer that there is", async () => {
    await using origin = await scriptedOrigin([busy("Retry-After: 9\r\n"), ok("too late")]);
    await using proxy = await startProxy({ policy: defaults({ retry, timeout: "5s" }) });
    const response = await proxy.get(origin);
    expect([response.status, field(response, "retry-after")]).toEqual([503, "9"]);
    expect(origin.requests).toHaveLength(1);
  });

  test("goes out over the connection that the failed attempt gave back", async () => {
    await using origin = await scriptedOrigin([busy(), ok("second")]);
    await using proxy = await startProxy({ policy: defaults({ retry }) });
    expect((await proxy.get(origin)).body.toString()).toBe("second");
    expect(origin.requests.map(({ connection }) => connection)).toEqual([1, 1]);
  });

  test("is not made any more when the application has gone meanwhile", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([busy("Retry-After: 60\r\n"), ok()]);
    await using proxy = await startProxy({ clock, policy: defaults({ retry }) });
    const client = await begin(proxy, origin);
    await eventually("the first attempt", () => proxy.proxy.upstream.stats().idle === 1);
    client.reset();
    await eventually("the application to be gone", () => proxy.proxy.listener.open().connections === 0);
    await clock.advance(120_000);
    expect(origin.requests).toHaveLength(1);
  });
});
