/** The rate limit service as the policy room knows it. Loads the client with the first question, so that nobody else pays for it. */
import type { Clock } from "../clock.ts";
import type { FleetOptions } from "../config/types.ts";
import type { RateLimitJudge } from "../policy/rate-source.ts";
import type { Reachability } from "./reachability.ts";
import type { RlsClient } from "./rls-client.ts";

/** A judge, and a way to let go of its connection. */
export interface RlsJudge extends RateLimitJudge {
  /** After a freeze, and at the end. */
  forget(): void;
}

/** The judge that `options` name; `null` for none. Does no I/O. */
export function rlsJudge(options: FleetOptions, clock: Clock, reachability: Reachability): RlsJudge | null {
  if (options.rateLimitService === "") return null;
  const { rateLimitService: authority, rateLimitDomain: domain, timeoutMs } = options;
  let client: RlsClient | null = null;
  let loading: Promise<RlsClient> | null = null;
  const load = async (): Promise<RlsClient> => {
    const { RlsClient } = await import("./rls-client.ts");
    client = new RlsClient({ authority, domain, timeoutMs }, clock);
    return client;
  };
  return {
    onFailure: options.onFailure,
    ask: async (entries, request) => {
      try {
        const verdict = await (client ?? (await (loading ??= load()))).ask(entries, request);
        reachability.answered();
        return verdict;
      } catch (error) {
        // A call that was given up says nothing about the service.
        if (request.cancelled.value === undefined) reachability.failed((error as Error).message);
        throw error;
      }
    },
    forget: () => client?.forget(),
  };
}
