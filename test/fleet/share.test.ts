import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import {
  asking,
  capacityOf,
  type Grant,
  granted,
  hasWord,
  LEASE_MS,
  newShare,
  questionFor,
  takeShared,
  unanswered,
  untilSharedMs,
} from "../../src/fleet/share.ts";

const LIMIT = { perSecond: 100, burst: 100 };

/** A share and its steps, with the clock that they read. */
function holder(open = true, limit = LIMIT) {
  const clock = new VirtualClock();
  const share = newShare(limit, clock);
  const take = () => {
    share.asked += 1;
    return takeShared(share, open, clock);
  };
  /** Calls that pass of so many. */
  const takeMany = (count: number) => Array.from({ length: count }, take).filter(Boolean).length;
  const question = (waiting = 0) => questionFor(share, limit, waiting, clock);
  /** Asks, and the store says `grant`, or nothing. */
  const ask = (grant: Partial<Grant> | null) => {
    const asked = question();
    if (asked === null) throw new Error("there is nothing to ask");
    asking(share, asked, 0, clock);
    if (grant === null) unanswered(share, asked);
    else granted(share, { tokens: 0, credit: 0, members: 1, ...grant }, limit, clock);
    return asked;
  };
  return { clock, share, take, takeMany, question, ask };
}

describe("a share of a rate, before the store has answered", () => {
  test("lets a tenth of the burst pass when it fails open, and owes it", () => {
    const { takeMany, ask } = holder();
    expect(takeMany(50)).toBe(10);
    expect(ask({})).toMatchObject({ owed: 10 });
  });

  test("lets at least one call pass", () => {
    expect(holder(true, { perSecond: 1, burst: 1 }).takeMany(5)).toBe(1);
  });

  test("lets nothing pass when it fails closed", () => {
    const { takeMany, question } = holder(false);
    expect(takeMany(5)).toBe(0);
    expect(question()).not.toBeNull();
  });
});

describe("a share with the store's word", () => {
  test("spends what it fetched, then its credit, and pays for that with the next question", async () => {
    const { clock, takeMany, ask } = holder();
    ask({ tokens: 3, credit: 2 });
    expect(takeMany(10)).toBe(5);
    await clock.advance(100);
    expect(ask({ tokens: 1 }).owed).toBe(2);
    await clock.advance(100);
    expect(takeMany(10)).toBe(1);
    expect(ask({}).owed).toBe(0);
  });

  test("fails closed as it fails open", () => {
    const { takeMany, ask } = holder(false);
    ask({ tokens: 3, credit: 2 });
    expect(takeMany(10)).toBe(5);
  });

  test("asks for what it lately needed in 200 ms, and a little more", async () => {
    const { clock, takeMany, ask } = holder();
    ask({ tokens: 1 });
    for (let i = 0; i < 50; i++) {
      await clock.advance(100);
      takeMany(5);
      ask({ tokens: 5 });
    }
    await clock.advance(100);
    takeMany(5);
    // 50/s: 10 in 200 ms, and 7 for chance.
    expect(ask({}).want).toBe(17);
  });

  test("never asks for more than the store can hold", async () => {
    const { clock, takeMany, ask } = holder();
    ask({});
    await clock.advance(100);
    takeMany(10_000);
    expect(ask({}).want).toBe(capacityOf(LIMIT));
  });

  test("asks once at a time, and not before 100 ms are over", async () => {
    const { clock, share, question, ask } = holder();
    ask({});
    expect(question()).toBeNull();
    await clock.advance(99);
    expect(question()).toBeNull();
    await clock.advance(1);
    const asked = question()!;
    asking(share, asked, 0, clock);
    await clock.advance(1000);
    expect(question()).toBeNull();
  });

  test("asks less often the more sandboxes there are, and for more at once", async () => {
    const { clock, share, takeMany, question, ask } = holder();
    ask({ members: 1000 });
    await clock.advance(100);
    ask({ members: 1000 });
    takeMany(10);
    await clock.advance(999);
    expect(question()).toBeNull();
    await clock.advance(1);
    takeMany(10);
    ask({ members: 100_000 });
    expect(share.spacingMs).toBe(1000);
    await clock.advance(1000);
    // 15/s on average of two measurements: 30 in two questions would be 10, were they 200 ms apart.
    expect(question()!.want).toBeGreaterThan(50);
    ask({});
    expect(share.spacingMs).toBe(5000);
  });

  test("asks for nothing while it has what it needs", async () => {
    const { clock, question, ask } = holder();
    ask({ tokens: 1 });
    await clock.advance(500);
    expect(question()).toBeNull();
  });

  test("asks for as many as there are calls in line", async () => {
    const { clock, question, ask } = holder();
    ask({});
    await clock.advance(100);
    expect(question(7)).toMatchObject({ want: 7 });
  });

  test("hands back what it does not use", async () => {
    const { clock, share, ask } = holder();
    ask({ tokens: 20 });
    await clock.advance(1001);
    expect(ask({})).toEqual({ want: 0, surplus: 19, owed: 0 });
    expect(share.tokens).toBe(1);
  });
});

describe("a share whose store is away", () => {
  test("still spends what it fetched, and no credit", async () => {
    const { clock, takeMany, ask } = holder(false);
    ask({ tokens: 3, credit: 50 });
    await clock.advance(100);
    takeMany(2);
    ask(null);
    expect(takeMany(10)).toBe(1);
  });

  test("goes on at an equal part of the rate when it fails open, and owes nothing for it", async () => {
    const { clock, share, takeMany, ask } = holder();
    ask({ tokens: 1, members: 4 });
    takeMany(1);
    await clock.advance(100);
    ask(null);
    let passed = 0;
    for (let i = 0; i < 100; i++) {
      await clock.advance(100);
      passed += takeMany(20);
    }
    expect(passed).toBeGreaterThanOrEqual(250);
    expect(passed).toBeLessThanOrEqual(255);
    expect(share.owed).toBe(0);
  });

  test("goes on at what it was granted of late and a quarter more, if that is more", async () => {
    const { clock, takeMany, ask } = holder();
    for (let i = 0; i < 100; i++) {
      takeMany(20);
      ask({ tokens: 6, members: 8 });
      takeMany(6);
      await clock.advance(100);
    }
    takeMany(20);
    ask(null);
    let passed = 0;
    for (let i = 0; i < 100; i++) {
      await clock.advance(100);
      passed += takeMany(20);
    }
    // 60/s, and a quarter more.
    expect(passed).toBeGreaterThanOrEqual(740);
    expect(passed).toBeLessThanOrEqual(765);
  });

  test("asks again, and takes the store's word when it is back", async () => {
    const { clock, share, ask } = holder();
    ask(null);
    expect(hasWord(share, clock)).toBe(false);
    await clock.advance(100);
    ask({ tokens: 1 });
    expect(hasWord(share, clock)).toBe(true);
  });
});

describe("a share after a freeze", () => {
  /** Time passes by the wall clock alone, as where the monotonic one stands still. */
  const frozen = (clock: VirtualClock, ms: number) => {
    const wall = clock.wall.bind(clock);
    clock.wall = () => wall() + ms;
  };

  test("has lost what it held, by whichever clock went on", () => {
    const { clock, takeMany, ask } = holder(false);
    ask({ tokens: 50, credit: 50 });
    frozen(clock, LEASE_MS);
    expect(takeMany(10)).toBe(0);
  });

  test("may ask at once, and lets its part of the burst pass meanwhile when it fails open", () => {
    const { clock, takeMany, question, ask } = holder();
    ask({ tokens: 50, members: 20 });
    frozen(clock, LEASE_MS);
    expect(question()).not.toBeNull();
    expect(takeMany(50)).toBe(5);
  });

  test("keeps what it held over a short one", () => {
    const { clock, takeMany, ask } = holder(false);
    ask({ tokens: 5 });
    frozen(clock, LEASE_MS - 1);
    expect(takeMany(10)).toBe(5);
  });
});

describe("the time until a token", () => {
  test("is none while there is one", () => {
    const { clock, share, ask } = holder();
    ask({ tokens: 2 });
    expect(untilSharedMs(share, true, 2, clock)).toBe(0);
  });

  test("is that until the next question, and longer for whoever stands further behind", async () => {
    const { clock, share, ask } = holder();
    ask({});
    await clock.advance(40);
    expect(untilSharedMs(share, true, 1, clock)).toBe(60);
    expect(untilSharedMs(share, true, 11, clock)).toBe(160);
  });
});
