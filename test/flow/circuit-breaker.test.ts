/** The circuit breaker through the whole proxy, judged by what the origin received. Its own tables are in test/policy. */
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { RETRY_TOKENS_MAX } from "../../src/policy/retry-budget.ts";
import { eventually, passUntil, signal } from "../kit/eventually.ts";
import { field, type ResponseMessage } from "../kit/message.ts";
import { apart, type Origin, type OriginTurn, scriptedOrigin, step } from "../kit/origin.ts";
import { get, type ProxyOptions, post, startProxy, type TestProxy } from "../kit/proxy.ts";

type Defaults = NonNullable<NonNullable<ProxyOptions["policy"]>["defaults"]>;

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const BAD = "HTTP/1.1 503 x\r\nContent-Length: 3\r\n\r\nbad";

/** An origin whose behaviour the test changes while it runs, and a proxy in virtual time before it. */
async function scene(defaults: Defaults) {
  const clock = new VirtualClock();
  let behave: (turn: OriginTurn) => Promise<boolean>;
  const behaviour = {
    answers: (bytes: string, when: Promise<void> = Promise.resolve()) => {
      behave = async ({ peer }) => {
        await when;
        await peer.write(bytes);
        return true;
      };
    },
    breaksOff: () => {
      behave = async ({ peer }) => {
        await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        await apart();
        peer.reset();
        return false;
      };
    },
    fallsSilent: () => {
      behave = async () => false;
    },
  };
  const origin = await scriptedOrigin([step((turn) => behave(turn))]);
  const proxy = await startProxy({ policy: { defaults }, clock });
  return {
    clock,
    origin,
    proxy,
    ...behaviour,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      await origin[Symbol.asyncDispose]();
    },
  };
}

const told = (response: ResponseMessage) => field(response, "outrider-error") ?? response.status;

describe("a circuit breaker", () => {
  const breaker = { consecutive_failures: 2, open_for: "10s", on: [503] };

  test("keeps calls from an upstream that fails, and says when to come again", async () => {
    await using it = await scene({ circuit_breaker: breaker });
    it.answers(BAD);
    expect(told(await it.proxy.get(it.origin))).toBe(503);
    expect(told(await it.proxy.get(it.origin))).toBe(503);
    const refused = await it.proxy.get(it.origin);
    expect([refused.status, told(refused), field(refused, "retry-after")]).toEqual([
      503,
      "CIRCUIT_OPEN",
      "10",
    ]);
    expect(it.origin.requests).toHaveLength(2);
  });

  test("lets them go again once the upstream is well", async () => {
    await using it = await scene({ circuit_breaker: breaker });
    it.answers(BAD);
    for (let i = 0; i < 3; i++) await it.proxy.get(it.origin);
    await it.clock.advance(10_000);
    it.answers(OK);
    for (let i = 0; i < 3; i++) expect(told(await it.proxy.get(it.origin))).toBe(200);
    expect(it.origin.requests).toHaveLength(5);
  });

  test("counts attempts, not calls: a call with retries opens it for itself", async () => {
    const retry = {
      max_retries: 5,
      on: [503],
      backoff: { base: "1ms", max: "1ms" },
      budget: { ratio: 1, floor: 10 },
    };
    await using it = await scene({ circuit_breaker: breaker, retry });
    it.answers(BAD);
    const { value } = await passUntil(it.clock, it.proxy.get(it.origin), { stepMs: 10 });
    expect(told(value)).toBe("CIRCUIT_OPEN");
    expect(it.origin.requests).toHaveLength(2);
  });

  test("opens by answers that break off, good though their heads are", async () => {
    await using it = await scene({ circuit_breaker: breaker });
    it.breaksOff();
    for (let i = 0; i < 2; i++) {
      using client = await it.proxy.client();
      await client.write(get(it.origin));
      expect(await client.gone()).toBe("reset");
    }
    expect(told(await it.proxy.get(it.origin))).toBe("CIRCUIT_OPEN");
    expect(it.origin.requests).toHaveLength(2);
  });

  test("opens by connections that cannot be made", async () => {
    await using it = await scene({ circuit_breaker: breaker });
    const { authority } = it.origin;
    await it.origin[Symbol.asyncDispose]();
    const ask = () => it.proxy.ask(`GET http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    expect([told(await ask()), told(await ask()), told(await ask())]).toEqual([
      "CONNECT_FAILED",
      "CONNECT_FAILED",
      "CIRCUIT_OPEN",
    ]);
  });

  test("does not count a call that the application left", async () => {
    await using it = await scene({ circuit_breaker: { ...breaker, consecutive_failures: 1 } });
    it.fallsSilent();
    for (let i = 0; i < 3; i++) {
      const client = await it.proxy.client();
      await client.write(get(it.origin));
      await eventually("the request", () => it.origin.requests.length === i + 1);
      client.reset();
      await it.origin.connections[i]!.gone();
    }
    it.answers(OK);
    expect(told(await it.proxy.get(it.origin))).toBe(200);
  });

  test("counts an upstream that takes the request and says nothing", async () => {
    await using it = await scene({ circuit_breaker: { ...breaker, consecutive_failures: 1 }, timeout: "2s" });
    it.fallsSilent();
    const { value } = await passUntil(it.clock, it.proxy.get(it.origin), { stepMs: 500 });
    expect(told(value)).toBe("DEADLINE_EXCEEDED");
    expect(told(await it.proxy.get(it.origin))).toBe("CIRCUIT_OPEN");
  });

  test("held open by hand lets nothing through", async () => {
    await using it = await scene({ circuit_breaker: { isolated: true } });
    const refused = await it.proxy.get(it.origin);
    expect([told(refused), field(refused, "retry-after")]).toEqual(["CIRCUIT_OPEN", undefined]);
    expect(it.origin.connections).toHaveLength(0);
  });
});

/** `lines` connections, each of which sends `each` requests one after the other; everything that came back. */
async function storm(
  proxy: TestProxy,
  request: string,
  { lines, each }: { lines: number; each: number },
): Promise<(string | number)[]> {
  const line = async (): Promise<(string | number)[]> => {
    const seen: (string | number)[] = [];
    using client = await proxy.client();
    for (let i = 0; i < each; i++) seen.push(told(await client.ask(request)));
    return seen;
  };
  return (await Promise.all(Array.from({ length: lines }, line))).flat();
}

const countOf = (seen: readonly (string | number)[], what: string | number): number =>
  seen.filter((one) => one === what).length;

describe("fault 30: an upstream that answers nothing but 503, under a storm of calls", () => {
  const breaker = { consecutive_failures: 5, open_for: "10s", on: [503] };
  const asks = (origin: Origin) => post(origin, "x");

  test("fault 30: the breaker opens before a second has passed, and the upstream gets hardly more than opened it", async () => {
    await using it = await scene({ circuit_breaker: breaker });
    it.answers(BAD);
    const seen = await storm(it.proxy, asks(it.origin), { lines: 10, each: 20 });
    // The clock has not moved at all: nothing had to wait for it to open.
    expect(it.clock.now()).toBe(0);
    expect(countOf(seen, 503) + countOf(seen, "CIRCUIT_OPEN")).toBe(200);
    // Five failures, and at most what was on its way beside the fifth.
    expect(it.origin.requests.length).toBeGreaterThanOrEqual(5);
    expect(it.origin.requests.length).toBeLessThanOrEqual(5 + 9);
    expect(countOf(seen, 503)).toBe(it.origin.requests.length);
  });

  test("fault 30: half-open, one probe goes out whatever the storm, and its success ends it", async () => {
    await using it = await scene({ circuit_breaker: breaker });
    it.answers(BAD);
    await storm(it.proxy, asks(it.origin), { lines: 5, each: 4 });
    const before = it.origin.requests.length;
    await it.clock.advance(10_000);
    const recovered = signal();
    it.answers(OK, recovered.given);
    const probe = it.proxy.ask(asks(it.origin));
    await eventually("the probe", () => it.origin.requests.length === before + 1);
    const seen = await storm(it.proxy, asks(it.origin), { lines: 10, each: 10 });
    expect(countOf(seen, "CIRCUIT_OPEN")).toBe(100);
    expect(it.origin.requests).toHaveLength(before + 1);
    recovered.give();
    expect(told(await probe)).toBe(200);
    expect(countOf(await storm(it.proxy, asks(it.origin), { lines: 10, each: 5 }), 200)).toBe(50);
    expect(it.origin.requests).toHaveLength(before + 51);
  });

  test("fault 30: a probe that fails costs the upstream one call in each span", async () => {
    await using it = await scene({ circuit_breaker: breaker });
    it.answers(BAD);
    await storm(it.proxy, asks(it.origin), { lines: 5, each: 4 });
    for (let span = 0; span < 3; span++) {
      const before = it.origin.requests.length;
      await it.clock.advance(10_000);
      await storm(it.proxy, asks(it.origin), { lines: 10, each: 5 });
      expect(it.origin.requests).toHaveLength(before + 1);
    }
  });

  test("fault 30: the retry budget holds where no breaker stops the storm", async () => {
    const floor = 3;
    const retry = {
      max_retries: 3,
      on: [503],
      backoff: { base: "1ms", max: "2ms" },
      budget: { ratio: 0.2, floor },
    };
    await using it = await scene({ retry });
    it.answers(BAD);
    const { value: seen } = await passUntil(
      it.clock,
      storm(it.proxy, get(it.origin), { lines: 10, each: 10 }),
      { stepMs: 5 },
    );
    expect(countOf(seen, 503)).toBe(100);
    expect(it.origin.requests.length).toBeGreaterThan(100);
    expect(it.origin.requests.length).toBeLessThanOrEqual(100 + RETRY_TOKENS_MAX + floor);
  });

  test("fault 30: with both, retries meet the open breaker and not the upstream", async () => {
    const retry = { max_retries: 3, on: [503], backoff: { base: "1ms", max: "2ms" } };
    await using it = await scene({ circuit_breaker: breaker, retry });
    it.answers(BAD);
    await passUntil(it.clock, storm(it.proxy, get(it.origin), { lines: 10, each: 10 }), { stepMs: 5 });
    expect(it.origin.requests.length).toBeLessThanOrEqual(5 + 9);
  });
});
