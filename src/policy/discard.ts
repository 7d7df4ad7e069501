/**
 * Gets rid of a response that nobody will read, so that its connection can serve the next attempt: what is left of a short body is
 * drained, a long one is cut off.
 */
import { EgressError } from "../errors.ts";
import type { EgressResponse } from "../exchange.ts";

/** Bytes that are read and dropped at most. Overflow: the body is cancelled and its connection with it, which is cheaper. */
export const DRAIN_BYTES_MAX = 65_536;

/**
 * Why an attempt is ended whose answer is not wanted any more: nothing that its upstream could be blamed for, and nothing that a
 * client ever sees.
 *
 * @param why for the log
 */
export function superseded(why: string): EgressError {
  return new EgressError("SUPERSEDED", why);
}

/** Begins to drain `response`. The function that it returns cuts off, with `reason`, what has not come by then. */
export function discard(response: EgressResponse, reason: EgressError): () => void {
  const { body } = response;
  const cutOff = () => body.cancel(reason);
  if (body.over) return cutOff;
  if (body.length !== null && body.length > DRAIN_BYTES_MAX) cutOff();
  else {
    let drainedBytes = 0;
    body.pipe({
      write: (chunk) => {
        drainedBytes += chunk.length;
        if (drainedBytes > DRAIN_BYTES_MAX) cutOff();
        return true;
      },
      end: () => {},
      abort: () => {},
    });
  }
  return cutOff;
}
