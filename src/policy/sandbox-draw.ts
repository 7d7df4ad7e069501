/**
 * What is drawn once for a sandbox: the same for all its destinations and routes, another in the next sandbox.
 *
 * A sandbox is known by its `Lifecycle`. What was drawn before the first invocation is drawn again in it: sandboxes that are restored
 * from one snapshot would share it (AWS Lambda Developer Guide, "Handling uniqueness with Lambda SnapStart").
 */
import type { Lifecycle } from "../lifecycle.ts";
import type { RandomSource } from "./random.ts";
import { stickyPoint } from "./sticky-hash.ts";

/** A number in [0, 1), this sandbox's own for `purpose`. */
export type SandboxDraw = (purpose: string) => number;

const draws = new WeakMap<object, SandboxDraw>();

/** The draw of the sandbox that `lifecycle` is of. `random` is used by the first to ask. */
export function sandboxDrawOf(
  lifecycle: Pick<Lifecycle, "work">,
  random: Pick<RandomSource, "traceId">,
): SandboxDraw {
  let draw = draws.get(lifecycle);
  if (draw === undefined) {
    draw = newSandboxDraw(() => lifecycle.work !== null, random);
    draws.set(lifecycle, draw);
  }
  return draw;
}

function newSandboxDraw(hasWorked: () => boolean, random: Pick<RandomSource, "traceId">): SandboxDraw {
  let seed = "";
  let final = false;
  return (purpose) => {
    if (!final) {
      final = hasWorked();
      if (final || seed === "") seed = random.traceId();
    }
    return stickyPoint(`${seed} ${purpose}`);
  };
}
