import { describe, expect, test } from "vitest";
import { fnv1a, stickyPoint } from "../../src/policy/sticky-hash.ts";

describe("FNV-1a with 32 bits", () => {
  // Test vectors of draft-eastlake-fnv.
  test.each([
    ["", 0x811c9dc5],
    ["a", 0xe40c292c],
    ["foobar", 0xbf9cf968],
  ])("of %j is %i", (key, hash) => {
    expect(fnv1a(key)).toBe(hash);
  });
});

describe("the place of a key", () => {
  // Computed apart from this code; a change of one of them moves callers to another side of a split that is under way.
  test.each([
    ["", 0.6689221884589642],
    ["tenant-1", 0.26811606041155756],
    ["tenant-2", 0.2115051643922925],
    ["5759e988bd862e3fe1be46a994272793", 0.8501226531807333],
  ])("%j lies where it has always lain", (key, point) => {
    expect(stickyPoint(key)).toBe(point);
  });

  test("keys that differ in their last digit only are spread evenly over ten parts", () => {
    const parts = new Array<number>(10).fill(0);
    for (let i = 0; i < 10_000; i++) parts[Math.floor(stickyPoint(`tenant-${i}`) * 10)]! += 1;
    for (const count of parts) {
      expect(count).toBeGreaterThan(850);
      expect(count).toBeLessThan(1150);
    }
  });
});
