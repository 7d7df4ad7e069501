/** The hedge stage on a scripted upstream in virtual time. */
import { VirtualClock } from "../../src/clock.ts";
import type { HedgeOptions } from "../../src/config/types.ts";
import { ERROR_CODES, type ErrorCode } from "../../src/errors.ts";
import type { EgressRequest } from "../../src/exchange.ts";
import { hedge } from "../../src/policy/hedge.ts";
import { answer, failure, retryOptions, ScriptedUpstream, type Step } from "./calls.ts";

/** One hedge after 50 ms. */
export const OPTIONS: HedgeOptions = {
  delayMs: 50,
  percentile: 0,
  maxHedges: 1,
  methods: ["GET"],
  budgetRatio: 0.1,
};

/** A hedge stage on a scripted upstream in virtual time. */
export function stage(steps: Step[], changes: Partial<HedgeOptions> = {}) {
  const clock = new VirtualClock();
  const upstream = new ScriptedUpstream(clock, ...steps);
  const policy = hedge({ hedge: { ...OPTIONS, ...changes }, retry: retryOptions() }, clock);
  return { clock, upstream, send: policy(upstream.send) };
}

/** What copies come to. */
export const ok = answer(200);
export const slow = (afterMs: number, outcome = ok): Step => ({ afterMs, outcome });
export const reset = failure("UPSTREAM_RESET");
export const slowError = (code: ErrorCode): Step => ({ afterMs: 100, outcome: failure(code) });

/** What the attempt was ended for, when it was ended by this proxy and nobody is to blame. */
export function endedFor(request: EgressRequest | undefined): string | undefined {
  const reason = request?.cancelled.value;
  if (reason === undefined || ERROR_CODES[reason.code].blame === "upstream") return undefined;
  return ERROR_CODES[reason.code].status === 0 ? reason.message : undefined;
}
