/**
 * Spares a destination: at most so many calls a second, all together or for each value of a header. A call without a token is refused, or
 * waits for its turn when it can have it before its deadline.
 *
 * Owns the refusal. Tokens are `rate-source.ts`'s matter, lines and keys `rate-limit-lines.ts`'s. A call counts once, whatever attempts
 * it takes.
 */
import type { Clock } from "../clock.ts";
import type { RateLimitOptions } from "../config/types.ts";
import { EgressError } from "../errors.ts";
import type { EgressRequest, Policy } from "../exchange.ts";
import { fieldValue } from "../http1/fields.ts";
import { RateLines } from "./rate-limit-lines.ts";
import { localTokens } from "./rate-limit-local.ts";
import type { TokenSourceFor } from "./rate-source.ts";

const STAGE = "rate limit";

/**
 * The stage. All calls of the route that it is composed into have one limit, or one for each value of `keyHeader`; those without that
 * header share one. Whoever may choose the header's value freely may choose a fresh limit with it.
 *
 * @param sourceFor where tokens come from; a bucket of this sandbox's own unless given
 */
export function rateLimit(
  options: RateLimitOptions,
  clock: Clock,
  sourceFor: TokenSourceFor = localTokens(options, clock),
): Policy {
  const { keyHeader } = options;
  const lines = new RateLines(sourceFor, options.keysMax, STAGE, clock);
  const quota = quotaField(options);

  function refuse(request: EgressRequest, waitMs: number, unavailable: string): Promise<never> {
    request.trail.push({ kind: "limited", stage: STAGE, limit: options.perSecond });
    const rate = `${options.perSecond}/s (burst ${options.burst})`;
    const error = new EgressError(
      "RATE_LIMITED",
      unavailable === ""
        ? `${rate} used up, a token for this call in ${Math.ceil(waitMs)} ms`
        : `no share of ${rate}: ${unavailable}`,
    );
    error.replyFields = limitFields(quota, waitMs);
    return Promise.reject(error);
  }

  return (next) => (request) => {
    const line = lines.line(keyHeader === "" ? "" : (fieldValue(request.fields, keyHeader) ?? ""));
    const { source, queue } = line;
    if (queue.length === 0 && source.take(0)) return next(request);
    const waitMs = source.untilMs(queue.length + 1);
    const fits = waitMs < request.deadlineMs - clock.now();
    if (options.overflow === "reject" || lines.full || !fits) {
      return refuse(request, waitMs, source.unavailable);
    }
    return lines.turn(line, request).then(() => next(request));
  };
}

/** RateLimit-Policy of draft-ietf-httpapi-ratelimit-headers-11: the quota and the seconds in which a spent one is full again. */
function quotaField(options: RateLimitOptions): string {
  const windowSeconds = Math.max(1, Math.ceil(options.burst / options.perSecond));
  return `RateLimit-Policy: "outrider";q=${Math.floor(options.burst)};w=${windowSeconds}\r\n`;
}

/** The fields of a refusal: Retry-After (RFC 9110 §10.2.3) and the draft's RateLimit, both in whole seconds. */
function limitFields(quota: string, waitMs: number): string {
  const seconds = Math.max(1, Math.ceil(waitMs / 1000));
  return `Retry-After: ${seconds}\r\n${quota}RateLimit: "outrider";r=0;t=${seconds}\r\n`;
}
