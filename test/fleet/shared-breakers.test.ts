/** Breakers that sandboxes share, in a real Redis. */
import { beforeEach, describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { SharedBreakers, transitionIn } from "../../src/fleet/shared-breakers.ts";
import type { RedisStore } from "../../src/fleet/store.ts";
import type { BreakerTransition } from "../../src/policy/breaker-store.ts";
import { skipWithout } from "../clients/needs.ts";
import { eventually } from "../kit/eventually.ts";
import { freePort, MISSING_REDIS, startRedis, storeAt } from "./redis.ts";

const KEY = "api:api.example:443";

/** A sandbox's view of the breakers in the store at `port`. */
function sandbox(
  port: number,
  member: string,
  onFailure: "open" | "closed" = "open",
  clock = new VirtualClock(),
) {
  const store = storeAt(`redis://127.0.0.1:${port}`, { clock });
  const breakers = new SharedBreakers({ store, clock, onFailure, prefix: "test:", member: () => member });
  return { clock, store, breakers, [Symbol.dispose]: () => store.close() };
}

const opened = (clock: VirtualClock, changes: Partial<BreakerTransition> = {}): BreakerTransition => ({
  key: KEY,
  to: "open",
  why: "5 failures in a row",
  atWallMs: clock.wall(),
  untilWallMs: clock.wall() + 10_000,
  ...changes,
});

const quiet = (...some: { store: RedisStore }[]): Promise<void> =>
  eventually("the store to have answered", () => some.every(({ store }) => store.pending === 0));

/** Lets a look that was asked for begin. */
const turn = (): Promise<void> => new Promise((done) => setImmediate(done));

describe("a shared breaker", () => {
  beforeEach((context) => skipWithout(context, MISSING_REDIS));

  test("that one sandbox opens is open for the others when they next look, a second later at most", async () => {
    await using redis = await startRedis();
    using a = sandbox(redis.port, "a");
    using b = sandbox(redis.port, "b");
    expect(b.breakers.load(KEY)).toBeNull();
    await turn();
    await quiet(b);
    const transition = opened(a.clock);
    a.breakers.announce(transition);
    expect(a.breakers.load(KEY)).toEqual(transition);
    await quiet(a);
    await b.clock.advance(999);
    expect(b.breakers.load(KEY)).toBeNull();
    await turn();
    expect(b.store.pending).toBe(0);
    await b.clock.advance(1);
    b.breakers.load(KEY);
    await turn();
    await quiet(b);
    await turn();
    expect(b.breakers.load(KEY)).toEqual(transition);
  });

  test("is looked at when an invocation begins, whatever the age of the memory", async () => {
    await using redis = await startRedis();
    using a = sandbox(redis.port, "a");
    using b = sandbox(redis.port, "b");
    b.breakers.load(KEY);
    await turn();
    await quiet(b);
    a.breakers.announce(opened(a.clock));
    await quiet(a);
    b.breakers.refresh();
    await turn();
    await quiet(b);
    await turn();
    expect(b.breakers.load(KEY)?.to).toBe("open");
  });

  test("keeps the last word: an earlier transition that arrives late changes nothing", async () => {
    await using redis = await startRedis();
    using a = sandbox(redis.port, "a");
    using b = sandbox(redis.port, "b");
    a.breakers.announce(opened(a.clock, { to: "closed", atWallMs: a.clock.wall() + 5, untilWallMs: 0 }));
    await quiet(a);
    b.breakers.announce(opened(a.clock));
    await quiet(b);
    using c = sandbox(redis.port, "c");
    c.breakers.load(KEY);
    await turn();
    await quiet(c);
    await turn();
    expect(c.breakers.load(KEY)?.to).toBe("closed");
  });

  test("has one prober of eight, and another after the next transition", async () => {
    await using redis = await startRedis();
    const eight = Array.from({ length: 8 }, (_, at) => sandbox(redis.port, `sandbox-${at}`));
    const elect = async () => {
      const elected = await Promise.all(eight.map(({ breakers }) => breakers.elect(KEY)));
      return elected.flatMap((won, at) => (won ? [at] : []));
    };
    const first = await elect();
    expect(first).toHaveLength(1);
    expect(await elect()).toEqual(first);
    eight[0]!.breakers.announce(opened(eight[0]!.clock));
    await quiet(eight[0]!);
    expect(await elect()).toHaveLength(1);
    for (const one of eight) one.store.close();
  });

  test("has another prober when the elected one is gone", async () => {
    await using redis = await startRedis();
    using a = sandbox(redis.port, "a");
    using b = sandbox(redis.port, "b");
    expect(await a.breakers.elect(KEY)).toBe(true);
    expect(await b.breakers.elect(KEY)).toBe(false);
    const leaseMs = (await a.store.command("PTTL", `test:{breaker:${KEY}}:prober`)) as number;
    expect(leaseMs).toBeGreaterThan(0);
    expect(leaseMs).toBeLessThanOrEqual(5000);
    // As the store does when that time is over.
    await a.store.command("DEL", `test:{breaker:${KEY}}:prober`);
    expect(await b.breakers.elect(KEY)).toBe(true);
  });

  test("is remembered while the store is away", async () => {
    await using redis = await startRedis();
    using a = sandbox(redis.port, "a");
    using b = sandbox(redis.port, "b");
    a.breakers.announce(opened(a.clock));
    await quiet(a);
    b.breakers.load(KEY);
    await turn();
    await quiet(b);
    await redis.kill();
    await b.clock.advance(5000);
    b.breakers.load(KEY);
    await turn();
    await quiet(b);
    expect(b.breakers.load(KEY)?.to).toBe("open");
  });
});

describe("a shared breaker without its store", () => {
  test("is this sandbox's alone, which may probe when it fails open and may not when it fails closed", async () => {
    const port = await freePort();
    using open = sandbox(port, "a");
    using closed = sandbox(port, "b", "closed");
    const transition = opened(open.clock);
    open.breakers.announce(transition);
    expect(open.breakers.load(KEY)).toEqual(transition);
    expect(await open.breakers.elect(KEY)).toBe(true);
    expect(await closed.breakers.elect(KEY)).toBe(false);
  });

  test("remembers a thousand breakers", async () => {
    using some = sandbox(await freePort(), "a");
    for (let at = 0; at <= 1000; at++) some.breakers.announce(opened(some.clock, { key: `key-${at}` }));
    expect(some.breakers.load("key-1000")).not.toBeNull();
    expect(some.breakers.load("key-0")).toBeNull();
  });
});

describe("a transition out of the store", () => {
  const good = { key: KEY, to: "open", why: "w", atWallMs: 1, untilWallMs: 2 };
  test("is taken when it is one", () => {
    expect(transitionIn(JSON.stringify(good))).toEqual(good);
  });

  test.each([
    ["nothing", null],
    ["no text", 5],
    ["no JSON", "{"],
    ["null", "null"],
    ["another state", JSON.stringify({ ...good, to: "half_open" })],
    ["a time that is none", JSON.stringify({ ...good, untilWallMs: "soon" })],
    ["no key", JSON.stringify({ ...good, key: 1 })],
  ])("is not taken when it is %s", (_what, text) => {
    expect(transitionIn(text)).toBeNull();
  });
});
