/** Sandboxes that share limits and breakers over a real Redis. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { beforeEach, describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { compose } from "../../src/exchange.ts";
import { createFleet } from "../../src/fleet/fleet.ts";
import { Lifecycle } from "../../src/lifecycle.ts";
import { policyChain } from "../../src/policy/chain.ts";
import { rateLimitStage } from "../../src/policy/rate-limit-stage.ts";
import { skipWithout } from "../clients/needs.ts";
import { freePort, MISSING_REDIS, type Redis, startRedis, storeAt } from "../fleet/redis.ts";
import { fleetOptions, ROUTE, Sandboxes, sharedLimit } from "../fleet/sandboxes.ts";
import { certificateFile } from "../kit/certificates.ts";
import { eventually } from "../kit/eventually.ts";
import { type Origin, ok, scriptedOrigin } from "../kit/origin.ts";
import { startProxy, type TestProxy } from "../kit/proxy.ts";
import { answer, call, routePolicy, watch } from "../policy/calls.ts";

const run = promisify(execFile);

/** Calls a second that eight sandboxes offer: what the limit of 100/s meets. */
const LOADS: Readonly<Record<string, readonly number[]>> = {
  "one that takes nearly all": [1000, 5, 5, 5, 5, 5, 5, 5],
  "a few greedy and a few modest": [400, 100, 50, 20, 5, 2, 1, 1],
  "little more than there is": [60, 30, 15, 5, 2, 1, 0.5, 0.5],
  "eight that want everything": [200, 200, 200, 200, 200, 200, 200, 200],
};

describe("eight sandboxes that share 100/s", () => {
  beforeEach((context) => skipWithout(context, MISSING_REDIS));

  test.each(Object.entries(LOADS))(
    "use 95 to 105 of them: %s",
    async (_what, loads) => {
      await using redis = await startRedis();
      using sandboxes = new Sandboxes(fleetOptions(redis.port), sharedLimit(), loads);
      // The burst that the store begins with goes first.
      await sandboxes.run(4);
      await sandboxes.run(10);
      expect(sandboxes.passed).toBeGreaterThanOrEqual(950);
      expect(sandboxes.passed).toBeLessThanOrEqual(1050);
    },
    60_000,
  );

  test("serve those who want less than their part in full, and the others alike", async () => {
    await using redis = await startRedis();
    using sandboxes = new Sandboxes(fleetOptions(redis.port), sharedLimit(), [300, 150, 80, 5, 3, 2]);
    await sandboxes.run(4);
    await sandboxes.run(20);
    const [a, b, c, ...modest] = sandboxes.all;
    for (const { passed, refused } of modest) expect(refused).toBeLessThanOrEqual((passed + refused) * 0.1);
    const greedy = [a!, b!, c!].map(({ passed }) => passed);
    expect(Math.max(...greedy)).toBeLessThan(1.35 * Math.min(...greedy));
  }, 60_000);

  test("leave what one of them no longer needs to the others", async () => {
    await using redis = await startRedis();
    using sandboxes = new Sandboxes(fleetOptions(redis.port), sharedLimit(), [200, 200]);
    await sandboxes.run(5);
    sandboxes.all[0]!.offeredPerSecond = 0;
    await sandboxes.run(2);
    await sandboxes.run(10);
    expect(sandboxes.all[1]!.passed).toBeGreaterThanOrEqual(950);
    sandboxes.all[0]!.offeredPerSecond = 200;
    await sandboxes.run(2);
    await sandboxes.run(10);
    expect(sandboxes.all[0]!.passed).toBeGreaterThan(380);
  }, 60_000);

  test("refuse nobody while together they want less than that, even when Redis is killed and comes back", async () => {
    await using redis = await startRedis();
    const loads = [40, 10, 10, 8, 5, 3, 1, 1];
    using sandboxes = new Sandboxes(fleetOptions(redis.port), sharedLimit(), loads);
    await sandboxes.run(5);
    const refused = () => sandboxes.all.map(({ refused }) => refused);
    const none = loads.map(() => 0);
    await sandboxes.run(5);
    expect(refused()).toEqual(none);
    await redis.kill();
    await sandboxes.run(10);
    expect(refused()).toEqual(none);
    await redis.start();
    await sandboxes.run(10);
    expect(refused()).toEqual(none);
    expect(sandboxes.all.every(({ failures }) => failures.length === 0)).toBe(true);
  }, 60_000);

  test("keep to the limit again after Redis was away, and at most to twice of it meanwhile", async () => {
    await using redis = await startRedis();
    using sandboxes = new Sandboxes(
      fleetOptions(redis.port),
      sharedLimit(),
      LOADS["one that takes nearly all"]!,
    );
    await sandboxes.run(5);
    await redis.kill();
    await sandboxes.run(10);
    expect(sandboxes.passed).toBeGreaterThan(700);
    expect(sandboxes.passed).toBeLessThanOrEqual(2000);
    // What is refused is refused by the limit, never by the store's absence.
    const messages = new Set(sandboxes.all.flatMap(({ failures }) => failures));
    for (const message of messages) expect(message).toMatch(/^100\/s \(burst 100\) used up/);
    await redis.start();
    await sandboxes.run(4);
    await sandboxes.run(10);
    expect(sandboxes.passed).toBeGreaterThanOrEqual(950);
    expect(sandboxes.passed).toBeLessThanOrEqual(1050);
  }, 60_000);

  test("fail closed: without the store calls are refused, and pass again when it is back", async () => {
    await using redis = await startRedis();
    const options = fleetOptions(redis.port, { onFailure: "closed" });
    using sandboxes = new Sandboxes(options, sharedLimit(), [40, 5]);
    await sandboxes.run(5);
    await redis.kill();
    await sandboxes.run(2);
    await sandboxes.run(5);
    expect(sandboxes.passed).toBe(0);
    expect(sandboxes.all[0]!.failures.at(-1)).toBe(
      "no share of 100/s (burst 100): fleet.store has not answered",
    );
    await redis.start();
    await sandboxes.run(5);
    await sandboxes.run(5);
    expect(sandboxes.passed).toBeGreaterThan(200);
  }, 60_000);

  test("keep the limit of each key apart, and put no key into the store as it is", async () => {
    await using redis = await startRedis();
    const clock = new VirtualClock();
    const parts = { clock, password: "", identity: "", storeMs: () => clock.wall() };
    const fleet = createFleet(fleetOptions(redis.port), parts);
    const limit = sharedLimit({ perSecond: 10, burst: 10, keyHeader: "x-api-key" });
    const send = rateLimitStage(limit, clock, fleet.rates(ROUTE))(async () => answer());
    const of = (key: string) => watch(send(call({ fields: `X-Api-Key: ${key}\r\n` })));
    of("secret-one");
    of("secret-two");
    const store = storeAt(`redis://127.0.0.1:${redis.port}`);
    await new Promise((turn) => setImmediate(turn));
    await eventually("the store to have answered", () => fleet.pending() === 0);
    const keys = (await store.command("KEYS", "*")) as string[];
    expect(keys.filter((key) => key.endsWith("}:tokens"))).toHaveLength(2);
    expect(keys.join()).not.toContain("secret");
    store.close();
    fleet.close();
  });

  test("lets calls wait for tokens of the fleet", async () => {
    await using redis = await startRedis();
    const limit = sharedLimit({ perSecond: 10, burst: 1, overflow: "wait" });
    using sandboxes = new Sandboxes(fleetOptions(redis.port), limit, [5, 5]);
    await sandboxes.run(5);
    await sandboxes.run(10);
    expect(sandboxes.all.map(({ refused }) => refused)).toEqual([0, 0]);
    expect(sandboxes.passed).toBeGreaterThan(70);
    expect(sandboxes.passed).toBeLessThanOrEqual(110);
  }, 60_000);

  test("do nothing while nothing is called", async () => {
    await using redis = await startRedis();
    using sandboxes = new Sandboxes(fleetOptions(redis.port), sharedLimit(), [50]);
    await sandboxes.run(1);
    sandboxes.all[0]!.offeredPerSecond = 0;
    await sandboxes.settled();
    expect(sandboxes.clock.untilNext()).toBeNull();
  });
});

describe("eight proxies that share 100/s", () => {
  beforeEach((context) => skipWithout(context, MISSING_REDIS));

  /** Far more than loopback needs; virtual, so that nothing waits for it. */
  const policyFor = (redis: Redis) => ({
    defaults: { limits: { rate: "100/s", burst: 10, fleet: true } },
    fleet: { store: `redis://127.0.0.1:${redis.port}`, timeout: "10s" },
  });

  /** Lets virtual seconds pass in which each proxy gets its calls; the statuses that came back. */
  async function offer(
    { proxies, origin, clock }: { proxies: TestProxy[]; origin: Origin; clock: VirtualClock },
    loads: readonly number[],
    seconds: number,
  ): Promise<Map<number, number>> {
    const statuses = new Map<number, number>();
    const owed = loads.map(() => 0);
    for (let ms = 0; ms < seconds * 1000; ms += 50) {
      const calls = proxies.flatMap((proxy, at) => {
        owed[at]! += (loads[at]! * 50) / 1000;
        const count = Math.floor(owed[at]!);
        owed[at]! -= count;
        return Array.from({ length: count }, () => proxy.get(origin));
      });
      for (const { status } of await Promise.all(calls))
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      await new Promise((turn) => setImmediate(turn));
      await eventually("the store to have answered", () =>
        proxies.every(({ fleet }) => fleet!.pending() === 0),
      );
      await clock.advance(50);
    }
    return statuses;
  }

  async function scene(redis: Redis) {
    const clock = new VirtualClock();
    const origin = await scriptedOrigin([ok()]);
    const policy = policyFor(redis);
    const proxies = await Promise.all(Array.from({ length: 8 }, () => startProxy({ policy, clock })));
    return {
      clock,
      origin,
      proxies,
      [Symbol.asyncDispose]: async () => {
        for (const proxy of proxies) await proxy[Symbol.asyncDispose]();
        await origin[Symbol.asyncDispose]();
      },
    };
  }

  test("send 95 to 105 of them to the origin under uneven load, and answer the rest with 429", async () => {
    await using redis = await startRedis();
    await using all = await scene(redis);
    const loads = [70, 40, 15, 5, 2, 1, 0.5, 0.5];
    await offer(all, loads, 2);
    const before = all.origin.requests.length;
    const statuses = await offer(all, loads, 6);
    const sent = all.origin.requests.length - before;
    expect(sent).toBeGreaterThanOrEqual(570);
    expect(sent).toBeLessThanOrEqual(630);
    expect(statuses.get(200)).toBe(sent);
    expect([...statuses.keys()].sort()).toEqual([200, 429]);
  }, 120_000);

  test("fail no call when Redis is killed and started again", async () => {
    await using redis = await startRedis();
    await using all = await scene(redis);
    const loads = [40, 10, 5, 5, 2, 1, 0.5, 0.5];
    await offer(all, loads, 2);
    const statuses = [await offer(all, loads, 2)];
    await redis.kill();
    statuses.push(await offer(all, loads, 3));
    await redis.start();
    statuses.push(await offer(all, loads, 3));
    expect(statuses.map((some) => [...some.keys()])).toEqual([[200], [200], [200]]);
  }, 120_000);
});

describe("a store behind TLS and a password", () => {
  beforeEach((context) => skipWithout(context, MISSING_REDIS));

  const pem = (name: "ca" | "server"): string => certificateFile(name).replace("file:", "");

  test("is not spoken to when its certificate is of a CA that nobody trusts", async () => {
    const port = await freePort();
    await using _redis = await startRedis({
      port: "0",
      "tls-port": String(port),
      "tls-cert-file": pem("server"),
      "tls-key-file": pem("server"),
      "tls-ca-cert-file": pem("ca"),
      "tls-auth-clients": "no",
    });
    const store = storeAt(`rediss://127.0.0.1:${port}`, { password: "hush" });
    await expect(store.command("PING")).rejects.toThrow(
      /SELF_SIGNED_CERT|UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER/,
    );
  });

  test("is spoken to by a process that trusts its CA, under a name that the certificate has", async () => {
    const port = await freePort();
    await using _redis = await startRedis({
      port: "0",
      "tls-port": String(port),
      "tls-cert-file": pem("server"),
      "tls-key-file": pem("server"),
      "tls-ca-cert-file": pem("ca"),
      "tls-auth-clients": "no",
      requirepass: "hush",
    });
    const program = `
      import { storeAt } from "./test/fleet/redis.ts";
      setInterval(() => {}, 1000); // The store keeps no process alive.
      const store = storeAt("rediss://localhost:${port}", { password: "hush" });
      process.stdout.write(String(await store.command("PING")));
      process.exit(0);`;
    const { stdout } = await run(process.execPath, ["--input-type=module", "--eval", program], {
      env: { ...process.env, NODE_EXTRA_CA_CERTS: pem("ca") },
      timeout: 60_000,
    });
    expect(stdout).toBe("PONG");
  });

  test("takes commands of whoever has the password, and of nobody else", async () => {
    await using redis = await startRedis({ requirepass: "hush" });
    const at = (password: string) => storeAt(`redis://127.0.0.1:${redis.port}/2`, { password });
    const right = at("hush");
    expect(await right.command("PING")).toBe("PONG");
    right.close();
    await expect(at("wrong").command("PING")).rejects.toThrow("WRONGPASS");
    await expect(at("").command("PING")).rejects.toThrow("NOAUTH");
  });
});

describe("sandboxes that share a breaker", () => {
  beforeEach((context) => skipWithout(context, MISSING_REDIS));

  const OPTIONS = {
    consecutiveFailures: 3,
    errorRatio: 0,
    slowCallMs: 0,
    slowRatio: 0,
    windowMs: 10_000,
    minCalls: 1,
    openForMs: 5000,
    halfOpenProbes: 1,
    statuses: [503],
    grpcStatuses: [],
    isolated: false,
    shared: true,
  };

  test("stop calling an upstream that one of them found broken, one of them probes it, and all go on when it is well", async () => {
    await using redis = await startRedis();
    const clock = new VirtualClock();
    let status = 503;
    const calls = Array.from({ length: 8 }, () => 0);
    const sandboxes = calls.map((_, at) => {
      const fleet = createFleet(fleetOptions(redis.port), { clock, password: "", identity: "" });
      const chain = policyChain(routePolicy({ circuitBreaker: OPTIONS }), {
        clock,
        lifecycle: new Lifecycle(clock),
        breakers: { store: fleet.breakers!, scope: "api:" },
      });
      const send = compose(chain, async () => {
        calls[at]! += 1;
        return answer(status);
      });
      return { fleet, send };
    });
    const everybodyCalls = async () => {
      const outcomes = await Promise.all(
        sandboxes.map(({ send }) =>
          send(call()).then(
            ({ status }) => status,
            (error) => error.code,
          ),
        ),
      );
      await new Promise((turn) => setImmediate(turn));
      await eventually("the store to have answered", () =>
        sandboxes.every(({ fleet }) => fleet.pending() === 0),
      );
      return outcomes as (number | string)[];
    };
    const passSecond = () => clock.advance(1000);

    for (let i = 0; i < 3; i++) await sandboxes[0]!.send(call());
    await eventually("the first to have told it", () => sandboxes[0]!.fleet.pending() === 0);
    await everybodyCalls();
    await passSecond();
    await everybodyCalls();
    calls.fill(0);
    expect(await everybodyCalls()).toEqual(Array(8).fill("CIRCUIT_OPEN"));
    expect(calls).toEqual(Array(8).fill(0));

    status = 200;
    await clock.advance(5000);
    const probed = await everybodyCalls();
    expect(probed.filter((outcome) => outcome === 200)).toHaveLength(1);
    expect(calls.reduce((sum, count) => sum + count)).toBe(1);

    await passSecond();
    await everybodyCalls();
    await passSecond();
    await everybodyCalls();
    expect(await everybodyCalls()).toEqual(Array(8).fill(200));
    for (const { fleet } of sandboxes) fleet.close();
  }, 60_000);
});
