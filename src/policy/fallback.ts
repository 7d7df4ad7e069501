/**
 * Answers with a response of the policy's own in place of a failure, marked `Outrider-Served: fallback`.
 *
 * Stands outside everything that may refuse or fail a call, inside the deadline: a call whose time is up gets the answer too. Once a
 * response's head has been handed on nothing can take its place. What counts as a failure is `failureCause` (failure-cause.ts).
 */
import { Body } from "../body.ts";
import type { FallbackOptions } from "../config/types.ts";
import { asEgressError, type EgressError } from "../errors.ts";
import { type EgressRequest, EgressResponse, type FieldLines, type Policy } from "../exchange.ts";
import { withField } from "../http1/fields.ts";
import { failureCause, giveUp, handOn, isAnswerable } from "./failure-cause.ts";

/** The response field that says that an answer is not what the upstream has just said. */
export const SERVED_FIELD = "Outrider-Served";

/** `ageMs` of the trail's entry for an answer that is no older one. */
export const NO_AGE_MS = -1;

/** The fields of the answer. A cache on the way must not take it for the upstream's. */
export function fallbackFields(options: Pick<FallbackOptions, "contentType">): FieldLines {
  const type = options.contentType === "" ? "" : withField("", "Content-Type", options.contentType);
  return `${type}Cache-Control: no-store\r\n${SERVED_FIELD}: fallback\r\n`;
}

/**
 * The stage.
 * @throws RangeError when `contentType` is no field value
 */
export function fallback(options: FallbackOptions): Policy {
  const fields = fallbackFields(options);
  const bytes = Buffer.from(options.body, "utf8").toString("latin1");

  function answered(request: EgressRequest, outcome: EgressResponse | EgressError): EgressResponse {
    const why = failureCause(request, outcome, options.statuses);
    if (why === null) return handOn(outcome);
    giveUp(request, outcome);
    request.trail.push({ kind: "fallback", why, ageMs: NO_AGE_MS });
    return new EgressResponse(options.status, "", fields, Body.of(bytes));
  }

  return (next) => (request) => {
    if (!isAnswerable(request)) return next(request);
    return next(request).then(
      (response) => answered(request, response),
      (error: unknown) => answered(request, asEgressError(error)),
    );
  };
}
