/**
 * What counts as a failure that another answer may stand in for, and how the failed one is got rid of. The part that `fallback.ts` and
 * `stale-if-error.ts` share; which answer it is, is theirs.
 */
import { EgressError, ERROR_CODES, type ErrorCode } from "../errors.ts";
import type { EgressRequest, EgressResponse } from "../exchange.ts";
import { fieldValue } from "../http1/fields.ts";
import { discard, superseded } from "./discard.ts";

/** What the access rules refuse stays refused, wherever in the chain they are asked. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set(["DENIED", "ADDRESS_DENIED"]);

/**
 * Whether a call can be answered by somebody else at all: not when the answer is a connection (CONNECT, Upgrade), and not in gRPC,
 * whose clients understand an error of ours and no text.
 */
export function isAnswerable({ method, upgrade, fields }: EgressRequest): boolean {
  if (method === "CONNECT" || upgrade !== "") return false;
  return !(fieldValue(fields, "content-type") ?? "").toLowerCase().startsWith("application/grpc");
}

/**
 * Why `outcome` is a failure: the error's code, or the status when it is one of `statuses`; `null` when it is none. Nothing that the
 * application is to blame for is one, and nothing is once the application has broken the call off.
 */
export function failureCause(
  request: Pick<EgressRequest, "cancelled">,
  outcome: EgressResponse | EgressError,
  statuses: readonly number[],
): string | null {
  if (request.cancelled.value !== undefined && isClients(request.cancelled.value)) return null;
  if (outcome instanceof EgressError) {
    return isClients(outcome) || REFUSALS.has(outcome.code) ? null : outcome.code;
  }
  return statuses.includes(outcome.status) && outcome.tunnel === null ? String(outcome.status) : null;
}

const isClients = ({ code }: EgressError): boolean => ERROR_CODES[code].blame === "client";

/** Nobody reads `outcome` any more: a short body is drained, so that its connection serves on, until the call is over. */
export function giveUp(request: EgressRequest, outcome: EgressResponse | EgressError): void {
  if (outcome instanceof EgressError) return;
  const reason = superseded(`another answer took the place of ${outcome.status}`);
  const cutOff = discard(outcome, reason);
  request.settled.on(cutOff);
}

/** What there is, as the stage's own answer: rejects with an error, resolves with a response. */
export function handOn(outcome: EgressResponse | EgressError): EgressResponse {
  if (outcome instanceof EgressError) throw outcome;
  return outcome;
}
