/** Whatever way a call takes through the proxy, both sides see what they would have seen without it. */
import { describe, expect, test } from "vitest";
import { cellsOf, EARLY_CLOSES } from "./cells.ts";
import { differences, observeDirect } from "./matrix.ts";
import { DIRECT, PATHS } from "./paths.ts";

/** A guard against hanging, never a measurement: some seconds when nothing else runs. */
const TEST_MS_MAX = 300_000;

describe("a direct call shows what its cell says:", () => {
  test.each(DIRECT)(
    "$name",
    async (path) => {
      for (const group of EARLY_CLOSES) {
        const cells = cellsOf(group);
        const observations = await observeDirect(path.tls, group);
        for (const [at, { client, origin, after }] of observations.entries()) {
          const { request, size, keepAlive } = cells[at]!;
          const whole = group === "none" && request !== "none" ? size : 0;
          expect(origin.end).toBe(group === "client in request" ? "broken" : "whole");
          if (group === "none") expect(origin.body).toBe(`${whole} bytes as sent`);
          if (client === "left") expect(group).toMatch(/^client/);
          else expect([client.own, client.end]).toEqual([true, group === "none" ? "whole" : "broken"]);
          if (keepAlive === "kept") expect(after).toMatchObject({ status: "200", own: true, end: "whole" });
        }
      }
    },
    TEST_MS_MAX,
  );
});

describe.each(PATHS)("$name:", (path) => {
  test.each(EARLY_CLOSES)(
    "early close: %s",
    async (group) => {
      expect(await differences(path, group)).toEqual([]);
    },
    TEST_MS_MAX,
  );
});

test("the matrix has thousands of cells", () => {
  const cells = EARLY_CLOSES.flatMap(cellsOf).length;
  expect(cells * PATHS.length).toBeGreaterThan(4000);
});
