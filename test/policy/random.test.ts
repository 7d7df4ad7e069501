import { expect, test } from "vitest";
import { RandomPool } from "../../src/policy/random.ts";

/** A pool over a generator that counts its calls and fills with that number. */
function counted(epoch: () => number = () => 0) {
  const seen = { fills: 0 };
  const pool = new RandomPool(epoch, (bytes) => {
    seen.fills += 1;
    bytes.fill(seen.fills);
  });
  return { pool, seen };
}

test("ids are hex digits of the lengths that W3C Trace Context asks for, and no two are alike", () => {
  const pool = new RandomPool(() => 0);
  const ids = new Set<string>();
  for (let i = 0; i < 2000; i++) {
    const spanId = pool.spanId();
    const traceId = pool.traceId();
    expect(spanId).toMatch(/^[0-9a-f]{16}$/);
    expect(traceId).toMatch(/^[0-9a-f]{32}$/);
    ids.add(spanId).add(traceId);
  }
  expect(ids.size).toBe(4000);
});

test("fractions are spread over [0, 1)", () => {
  const pool = new RandomPool(() => 0);
  const tenths = new Array(10).fill(0);
  for (let i = 0; i < 10_000; i++) tenths[Math.floor(pool.fraction() * 10)]++;
  expect(tenths).toHaveLength(10);
  for (const count of tenths) expect(count).toBeGreaterThan(800);
  const { pool: highest } = counted();
  expect(highest.fraction()).toBeLessThan(1);
});

test("the generator is asked once for 512 span ids, and not before the first", () => {
  const { pool, seen } = counted();
  expect(seen.fills).toBe(0);
  for (let i = 0; i < 512; i++) pool.spanId();
  expect(seen.fills).toBe(1);
  expect(pool.spanId()).toBe("02".repeat(8));
  expect(seen.fills).toBe(2);
});

test("what was drawn ahead of a snapshot is not used after it: an invocation empties the pool", () => {
  let sequence = 0;
  const { pool } = counted(() => sequence);
  expect(pool.spanId()).toBe("01".repeat(8));
  sequence = 1;
  expect(pool.spanId()).toBe("02".repeat(8));
  expect(pool.spanId()).toBe("02".repeat(8));
});
