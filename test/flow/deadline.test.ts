/** The deadline through the whole proxy: what the upstream is told of it, and that the application hears in time. */
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { passUntil } from "../kit/eventually.ts";
import { field } from "../kit/message.ts";
import { answer, ok, scriptedOrigin, silence } from "../kit/origin.ts";
import { get, type ProxyOptions, startProxy } from "../kit/proxy.ts";

type Defaults = NonNullable<NonNullable<ProxyOptions["policy"]>["defaults"]>;

const HEADER: Defaults = { deadline_header: "X-Remaining-Ms", timeout: "5s" };

describe("the upstream is told", () => {
  test("how much time is left, in whole milliseconds", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy({ policy: { defaults: HEADER }, clock: new VirtualClock() });
    await proxy.get(origin);
    expect(field(origin.requests[0]!, "x-remaining-ms")).toBe("5000");
  });

  test("less in each attempt, by the time that the ones before took", async () => {
    const clock = new VirtualClock();
    const busy = answer("HTTP/1.1 503 x\r\nRetry-After: 10\r\nContent-Length: 0\r\n\r\n");
    await using origin = await scriptedOrigin([busy, busy, ok()]);
    const defaults: Defaults = { ...HEADER, timeout: "10m", retry: { max_retries: 2 } };
    await using proxy = await startProxy({ policy: { defaults }, clock });
    using client = await proxy.client();
    await client.write(get(origin));
    await passUntil(clock, client.response(), { stepMs: 1000 });
    const told = origin.requests.map((request) => Number(field(request, "x-remaining-ms")));
    expect(told).toHaveLength(3);
    expect(told[0]).toBeLessThanOrEqual(600_000);
    expect(told[1]).toBeLessThanOrEqual(told[0]! - 10_000);
    expect(told[2]).toBeLessThanOrEqual(told[1]! - 10_000);
  });

  test("what is left of the invocation less the reserve, when that is nearer", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy({
      policy: { defaults: { ...HEADER, deadline_reserve: "500ms" } },
      clock,
    });
    proxy.lifecycle.workStarted("id", clock.wall() + 3000, "");
    await proxy.get(origin);
    expect(field(origin.requests[0]!, "x-remaining-ms")).toBe("2500");
  });

  test("nothing where a signature covers the field", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy({ policy: { defaults: HEADER }, clock: new VirtualClock() });
    const signed =
      "Authorization: AWS4-HMAC-SHA256 SignedHeaders=host;x-remaining-ms, Signature=0\r\nX-Remaining-Ms: 7000\r\n";
    await proxy.ask(get(origin, "/", signed));
    expect(field(origin.requests[0]!, "x-remaining-ms")).toBe("7000");
  });
});

describe("the application hears of a silent upstream", () => {
  test("while its invocation can still answer: a labelled 504 before the end, by the reserve", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([silence()]);
    await using proxy = await startProxy({ policy: { defaults: { deadline_reserve: "1s" } }, clock });
    const invocationEndsMs = clock.now() + 5000;
    proxy.lifecycle.workStarted("id", clock.wall() + 5000, "");
    using client = await proxy.client();
    await client.write(get(origin));
    await origin.connected(1);
    await origin.connections[0]!.seen("\r\n\r\n");
    await clock.advance(3999);
    expect(client.received).toBe("");
    await clock.advance(1);
    // No more virtual time passes: the answer is there when the deadline is.
    const response = await client.response();
    expect([response.status, field(response, "outrider-error")]).toEqual([504, "DEADLINE_EXCEEDED"]);
    expect(clock.now()).toBeLessThanOrEqual(invocationEndsMs - 1000);
    await origin.connections[0]!.gone();
  });
});
