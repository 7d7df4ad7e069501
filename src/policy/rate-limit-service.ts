/**
 * Lets a rate limit service judge each call (Envoy's protocol, envoy.service.ratelimit.v3). The only limit for which a call waits for
 * somebody else: choose it where such a service runs already, and leased shares (`limits.fleet`) where none does.
 *
 * Owns what a verdict, or none, means for the call. How the service is asked is the fleet room's.
 */
import type { Clock } from "../clock.ts";
import type { RateLimitOptions } from "../config/types.ts";
import { EgressError } from "../errors.ts";
import type { EgressRequest, FieldLines, Policy } from "../exchange.ts";
import { fieldValue } from "../http1/fields.ts";
import { descriptorFor } from "./rate-limit-descriptors.ts";
import type { FleetRates, RateLimitJudge, RateVerdict } from "./rate-source.ts";

const STAGE = "rate limit service";

/** Told to a client that was refused without a time to come back. */
const RETRY_AFTER_S = 1;

/**
 * The stage. A call that lacks a header of the descriptor is not asked about.
 *
 * @param local the same limit by this sandbox alone, for calls that the service does not judge under `on_failure: open`
 */
export function rateLimitService(
  options: RateLimitOptions,
  clock: Clock,
  judge: RateLimitJudge,
  names: FleetRates["names"],
  local: Policy,
): Policy {
  const entriesOf = descriptorFor(options.descriptors, names);

  /** Its verdict, or why there is none. */
  async function ask(request: EgressRequest, entries: NonNullable<ReturnType<typeof entriesOf>>) {
    const sinceMs = clock.now();
    try {
      return await judge.ask(entries, request);
    } catch (error) {
      if (request.cancelled.value !== undefined) throw request.cancelled.value;
      return error as Error;
    } finally {
      request.trail.push({ kind: "queued", stage: STAGE, waitMs: clock.now() - sinceMs });
    }
  }

  return (next) => {
    const byLocalLimit = local(next);
    return async (request) => {
      const entries = entriesOf(request.fields);
      if (entries === null) return next(request);
      const verdict = await ask(request, entries);
      if (request.cancelled.value !== undefined) throw request.cancelled.value;
      if (verdict instanceof Error) {
        if (judge.onFailure === "open") return byLocalLimit(request);
        throw refusal(request, options, `fleet.rate_limit_service gave no verdict: ${verdict.message}`, "");
      }
      if (verdict.over) throw refusal(request, options, "over the limit of the service", fieldsOf(verdict));
      return pass(request, verdict, next);
    };
  };
}

async function pass(request: EgressRequest, verdict: RateVerdict, next: Parameters<Policy>[0]) {
  const { requestFields, responseFields } = verdict;
  const sent = requestFields === "" ? request : request.with({ fields: request.fields + requestFields });
  const response = await next(sent);
  return responseFields === "" ? response : response.withFields(response.fields + responseFields);
}

function refusal(
  request: EgressRequest,
  { perSecond }: RateLimitOptions,
  why: string,
  fields: FieldLines,
): EgressError {
  request.trail.push({ kind: "limited", stage: STAGE, limit: perSecond });
  const error = new EgressError("RATE_LIMITED", why);
  error.replyFields = fields === "" ? `Retry-After: ${RETRY_AFTER_S}\r\n` : fields;
  return error;
}

/** The service's own fields, and Retry-After (RFC 9110 §10.2.3) unless it sets one itself. */
function fieldsOf({ responseFields, resetMs }: RateVerdict): FieldLines {
  if (fieldValue(responseFields, "retry-after") !== undefined) return responseFields;
  const seconds = resetMs > 0 ? Math.ceil(resetMs / 1000) : RETRY_AFTER_S;
  return `Retry-After: ${seconds}\r\n${responseFields}`;
}
