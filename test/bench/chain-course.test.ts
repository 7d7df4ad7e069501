/** The chain of stages is measured without sockets only while it answers rightly. */

import { expect, test } from "vitest";
import { ChainCourse } from "../../bench/load/chain-course.ts";
import { STAGES, stagePolicy } from "../../bench/peers/outrider-stages.ts";

test.each(STAGES.map((stage) => [stage.name, stage] as const))(
  "the chain of %s answers and is measured",
  async (_name, stage) => {
    const course = new ChainCourse((originPort) => stagePolicy({ port: 0, originPort, stage }));
    expect(await course.cpuUsPerCall(64)).toBeGreaterThan(0);
  },
);

test("a chain that does not let a call pass is refused", async () => {
  const expires = new Date(Date.now() + 2 * 86_400_000).toISOString().slice(0, 10);
  const stage = { keys: () => [`fault: { percent: 100, abort: 503, expires: ${expires} }`] };
  const course = new ChainCourse((originPort) => stagePolicy({ port: 0, originPort, stage }));
  await expect(course.cpuUsPerCall(1)).rejects.toThrow("answered 503");
});
