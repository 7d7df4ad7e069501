/** Whether a policy needs an authority at all. Cold tier: all the rest of this room is loaded only when it does. */
import type { Config } from "../config/types.ts";

/** Whether some destination's TLS is opened. */
export function intercepts({ destinations }: Pick<Config, "destinations">): boolean {
  return destinations.some(({ tls }) => tls?.intercept === true);
}
