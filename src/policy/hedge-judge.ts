/** Whether a call may be sent twice at once, and whether its next hedge may leave now. Pure; who obeys is `hedge.ts`. */
import type { HedgeOptions } from "../config/types.ts";
import type { EgressRequest } from "../exchange.ts";

/** What decides whether a call may be hedged at all. */
export type HedgedCall = Pick<EgressRequest, "method" | "upgrade" | "expectContinue"> & {
  /** `null` for a body that streams: there is only one of it. */
  readonly body: Pick<EgressRequest["body"], "whole">;
};

/** Whether a second copy of `call` could do no harm: a method that the policy names, with a body that is all here. */
export function mayBeHedged(options: Pick<HedgeOptions, "methods">, call: HedgedCall): boolean {
  return (
    options.methods.includes(call.method) &&
    call.method !== "CONNECT" &&
    call.upgrade === "" &&
    !call.expectContinue &&
    call.body.whole !== null
  );
}

/** What decides about the next hedge when its delay is over. */
export interface HedgeMoment {
  /** Hedges that have left already. */
  readonly sent: number;
  readonly maxHedges: number;
  /** Until the call's deadline, milliseconds; `Infinity` for none. */
  readonly leftMs: number;
  /** Until the request's signature is too old, milliseconds; `Infinity` for a request without one. */
  readonly signatureLeftMs: number;
  readonly budgetAllows: boolean;
}

/** Why no hedge leaves. */
export type NoHedge = "max_hedges" | "deadline_passed" | "signature_too_old" | "budget_spent";

/** `null` when the hedge may leave. */
export function whyNoHedge(moment: HedgeMoment): NoHedge | null {
  if (moment.sent >= moment.maxHedges) return "max_hedges";
  if (moment.leftMs <= 0) return "deadline_passed";
  if (moment.signatureLeftMs <= 0) return "signature_too_old";
  return moment.budgetAllows ? null : "budget_spent";
}
