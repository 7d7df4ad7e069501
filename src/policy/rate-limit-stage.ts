/** Which rate limit a route gets: this sandbox's own, a share of the fleet's, or a service's word with one of these behind it. */
import type { Clock } from "../clock.ts";
import type { RateLimitOptions } from "../config/types.ts";
import type { Policy } from "../exchange.ts";
import { rateLimit } from "./rate-limit.ts";
import { rateLimitService } from "./rate-limit-service.ts";
import type { FleetRates } from "./rate-source.ts";

/** The stage that `options` ask for, as far as the fleet (`rates`, left out: there is none) has what it takes. */
export function rateLimitStage(options: RateLimitOptions, clock: Clock, rates?: FleetRates): Policy {
  const shared = options.fleet ? rates?.tokens : null;
  const tokens = shared == null ? rateLimit(options, clock) : rateLimit(options, clock, shared(options));
  if (options.descriptors.length === 0 || rates === undefined || rates.judge === null) return tokens;
  return rateLimitService(options, clock, rates.judge, rates.names, tokens);
}
