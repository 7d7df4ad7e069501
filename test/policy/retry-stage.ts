/** The retry stage on a scripted upstream in virtual time. */
import { VirtualClock } from "../../src/clock.ts";
import { type RetryStageOptions, type RetrySurroundings, retry } from "../../src/policy/retry.ts";
import { answer, failure, retryOptions, ScriptedUpstream, type Step } from "./calls.ts";

/** A retry stage on a scripted upstream. Jitter is the whole backoff, so that waits are 100, 200, … ms. */
export function stage(
  steps: Step[],
  changes: Partial<RetryStageOptions> = {},
  surroundings: Partial<RetrySurroundings> = {},
) {
  const clock = new VirtualClock();
  const upstream = new ScriptedUpstream(clock, ...steps);
  const options: RetryStageOptions = { retry: retryOptions(), perTryTimeoutMs: 0, ...changes };
  const policy = retry(options, clock, { random: () => 1, workSequence: () => 0, ...surroundings });
  return { clock, upstream, send: policy(upstream.send) };
}

/** What attempts come to. */
export const reset = failure("UPSTREAM_RESET");
export const ok = answer(200);
export const unavailable = answer(503);
