/** The step of the store in which tokens change hands, in a real Redis. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { LEASE_MS, type Question } from "../../src/fleet/share.ts";
import type { RedisStore } from "../../src/fleet/store.ts";
import { fetchTokens } from "../../src/fleet/tokens-script.ts";
import { skipWithout } from "../clients/needs.ts";
import { MISSING_REDIS, type Redis, startRedis, storeAt } from "./redis.ts";

const LIMIT = { perSecond: 100, burst: 50 };
const START_MS = 1_790_000_000_000;

describe("the bucket in the store", () => {
  beforeEach((context) => skipWithout(context, MISSING_REDIS));

  let redis: Redis | undefined;
  let store: RedisStore;
  let buckets = 0;
  beforeAll(async () => {
    if (MISSING_REDIS !== null) return;
    redis = await startRedis();
    store = storeAt(`redis://127.0.0.1:${redis.port}`);
  });
  afterAll(async () => {
    store?.close();
    await redis?.[Symbol.asyncDispose]();
  });

  /** A fresh bucket. Its questions come `ms` after the first. */
  function bucket(limit = LIMIT) {
    const key = `bucket:${buckets++}`;
    return (member: string, ms: number, question: Partial<Question>, seenMs = -1) =>
      fetchTokens(
        store,
        limit,
        { want: 0, surplus: 0, owed: 0, ...question },
        { key, member, seenMs },
        START_MS + ms,
      );
  }

  test("is full at first", async () => {
    const ask = bucket();
    expect(await ask("a", 0, { want: 30 })).toEqual({ tokens: 30, credit: 20, members: 1 });
  });

  test("fills at its rate, up to the burst", async () => {
    const ask = bucket();
    await ask("a", 0, { want: 50 });
    expect(await ask("a", 100, { want: 50 })).toMatchObject({ tokens: 10 });
    expect(await ask("a", 10_000, { want: 100 })).toMatchObject({ tokens: 50 });
  });

  test("fills slowly too, and hands out whole tokens", async () => {
    const ask = bucket({ perSecond: 0.5, burst: 1 });
    expect((await ask("a", 0, { want: 1 })).tokens).toBe(1);
    expect((await ask("a", 1900, { want: 1 })).tokens).toBe(0);
    expect((await ask("a", 2000, { want: 1 })).tokens).toBe(1);
  });

  test("takes back what is not used, and what is owed goes first", async () => {
    const ask = bucket();
    await ask("a", 0, { want: 50 });
    expect((await ask("a", 0, { surplus: 20 })).credit).toBe(20);
    expect((await ask("a", 0, { want: 50, owed: 15 })).tokens).toBe(5);
  });

  test("bears debts of a burst and no more, so that it recovers", async () => {
    const ask = bucket();
    expect((await ask("a", 0, { want: 1, owed: 1_000_000 })).tokens).toBe(0);
    expect((await ask("a", 510, { want: 5 })).tokens).toBe(1);
  });

  test("gives everybody who competes an equal part, and what the modest leave", async () => {
    const ask = bucket();
    await ask("greedy-1", 0, { want: 50 });
    await ask("greedy-1", 0, { want: 100 });
    await ask("greedy-2", 0, { want: 100 });
    const got = { greedy1: 0, greedy2: 0, modest: 0 };
    for (let ms = 50; ms <= 5000; ms += 50) {
      if (ms % 100 === 0) got.greedy1 += (await ask("greedy-1", ms, { want: 100 })).tokens;
      else got.greedy2 += (await ask("greedy-2", ms, { want: 20 })).tokens;
      if (ms % 100 === 0) got.modest += (await ask("modest", ms, { want: 1 })).tokens;
    }
    expect(got.modest).toBe(50);
    expect(got.greedy1 + got.greedy2 + got.modest).toBeGreaterThan(475);
    const [less, more] = [got.greedy1, got.greedy2].sort((a, b) => a - b);
    expect(more).toBeLessThan(1.35 * less!);
  });

  test("gives no credit while somebody goes short, and divides it among the active otherwise", async () => {
    const ask = bucket();
    await ask("b", 0, { want: 1 });
    expect(await ask("a", 0, { want: 9 })).toEqual({ tokens: 9, credit: 20, members: 2 });
    expect(await ask("a", 11_000, { want: 10 })).toEqual({ tokens: 10, credit: 40, members: 2 });
    expect(await ask("a", 11_000, { want: 1000 })).toMatchObject({ credit: 0 });
  });

  test("forgets sandboxes that have not asked for a minute", async () => {
    const ask = bucket();
    await ask("a", 0, {});
    expect((await ask("b", LEASE_MS - 1, {})).members).toBe(2);
    expect((await ask("b", LEASE_MS + 1, {})).members).toBe(1);
  });

  test("that the store has lost begins with a fifth of a second for whoever knows that there was one", async () => {
    expect((await bucket()("a", 0, { want: 50 }, 500)).tokens).toBe(20);
    expect((await bucket()("a", 0, { want: 50 }, 10 * LEASE_MS)).tokens).toBe(50);
  });

  test("stands still when the store's clock goes back", async () => {
    const ask = bucket();
    await ask("a", 10_000, { want: 50 });
    expect((await ask("a", 0, { want: 50 })).tokens).toBe(0);
    expect((await ask("a", 10_100, { want: 50 })).tokens).toBe(10);
  });

  test("goes by the store's own time", async () => {
    const asker = { key: "own-time", member: "a", seenMs: -1 };
    const grant = await fetchTokens(store, LIMIT, { want: 5, surplus: 0, owed: 0 }, asker, 0);
    expect(grant.tokens).toBe(5);
    const at = await store.command("HGET", "{own-time}:tokens", "at");
    const [seconds] = (await store.command("TIME")) as string[];
    expect(Math.abs(Number(at) / 1000 - Number(seconds))).toBeLessThan(60);
  });

  test("leaves nothing in the store for ever", async () => {
    await bucket()("a", 0, { want: 500 });
    const keys = (await store.command("KEYS", "{bucket:*")) as string[];
    expect(keys.length).toBeGreaterThan(0);
    for (const key of keys) expect(await store.command("PTTL", key)).toBeGreaterThan(0);
  });
});
