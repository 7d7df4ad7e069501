/**
 * A Lambda extension is told when an invocation begins and never when it ends. The pause before an invocation was counted from the
 * start of the sandbox, so that after its first 4 seconds every invocation closed all pooled connections.
 */
import { expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { Lifecycle } from "../../src/lifecycle.ts";

function lifecycleWithPauses(): { clock: VirtualClock; lifecycle: Lifecycle; pauses: number[] } {
  const clock = new VirtualClock();
  const lifecycle = new Lifecycle(clock);
  const pauses: number[] = [];
  lifecycle.subscribe({ workStarted: (_work, idleMs) => void pauses.push(idleMs) });
  lifecycle.ready();
  return { clock, lifecycle, pauses };
}

test("without word of its end, the pause is counted from the beginning of the invocation before", async () => {
  const { clock, lifecycle, pauses } = lifecycleWithPauses();
  for (const [id, beforeMs] of [
    ["a", 6000],
    ["b", 50],
    ["c", 70],
    ["d", 9000],
  ] as const) {
    await clock.advance(beforeMs);
    lifecycle.workStarted(id, clock.wall() + 3000, "");
  }
  expect(pauses).toEqual([6000, 50, 70, 9000]);
});

test("with word of its end, the pause is counted from there", async () => {
  const { clock, lifecycle, pauses } = lifecycleWithPauses();
  lifecycle.workStarted("a", clock.wall() + 3000, "");
  await clock.advance(2000);
  await lifecycle.workFinished();
  await clock.advance(30);
  lifecycle.workStarted("b", clock.wall() + 3000, "");
  expect(pauses).toEqual([0, 30]);
});
