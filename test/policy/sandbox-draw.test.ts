import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { Lifecycle } from "../../src/lifecycle.ts";
import { sandboxDrawOf } from "../../src/policy/sandbox-draw.ts";

/** Draws ids one after the other. */
function counting(from = 1) {
  let next = from;
  return { traceId: () => String(next++).padStart(32, "0") };
}

function sandbox(): Lifecycle {
  const lifecycle = new Lifecycle(new VirtualClock());
  lifecycle.workStarted("a", Number.POSITIVE_INFINITY, "");
  return lifecycle;
}

describe("what a sandbox draws", () => {
  test("is the same whenever it is asked for, in this invocation and the next", () => {
    const lifecycle = sandbox();
    const draw = sandboxDrawOf(lifecycle, counting());
    const drawn = draw("x");
    lifecycle.workStarted("b", Number.POSITIVE_INFINITY, "");
    expect(draw("x")).toBe(drawn);
  });

  test("is the same for all routes of the sandbox, whatever each would draw from", () => {
    const lifecycle = sandbox();
    const first = sandboxDrawOf(lifecycle, counting(1))("x");
    expect(sandboxDrawOf(lifecycle, counting(50))("x")).toBe(first);
  });

  test("is another for another purpose, and in another sandbox", () => {
    const draw = sandboxDrawOf(sandbox(), counting(1));
    expect(draw("x")).not.toBe(draw("y"));
    expect(sandboxDrawOf(sandbox(), counting(2))("x")).not.toBe(draw("x"));
  });

  test("before the first invocation is drawn again in it: it may have been restored from a snapshot that others share", () => {
    const lifecycle = new Lifecycle(new VirtualClock());
    const draw = sandboxDrawOf(lifecycle, counting());
    const before = draw("x");
    expect(draw("x")).toBe(before);
    lifecycle.workStarted("a", Number.POSITIVE_INFINITY, "");
    const after = draw("x");
    expect(after).not.toBe(before);
    expect(draw("x")).toBe(after);
  });
});
