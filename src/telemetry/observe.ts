/**
 * Watches calls from outside the chain of policies.
 *
 * Owns the promise that observing changes nothing: the response, the rejection and the promise that carries them are the ones
 * that came from inside, and whatever goes wrong in a witness is told to the witness, never to the call.
 */
import { asEgressError, type EgressError } from "../errors.ts";
import type { EgressRequest, EgressResponse, Policy } from "../exchange.ts";
import type { Work } from "../lifecycle.ts";

/** One call as far as it has come. */
export class ObservedCall {
  readonly request: EgressRequest;
  /** The invocation in which it began, or the last one before; `null` when there has been none. */
  readonly work: Work | null;
  /** What was passed to the application; `null` while there is none and when the chain rejected. */
  response: EgressResponse | null = null;
  /** Why the chain rejected, else why the exchange broke off; `null` while it is well. */
  error: EgressError | null = null;
  /** Whether the response was a tunnel's and came while somebody wanted it. */
  tunnel = false;
  /** Whether the last byte has passed, or the call was torn down. */
  over = false;

  constructor(request: EgressRequest, work: Work | null) {
    this.request = request;
    this.work = work;
  }
}

/** Who is told. */
export interface Witness {
  /** A call begins. */
  began(request: EgressRequest): ObservedCall;
  /** A tunnel to the upstream stands. At most once for each call, and never after `ended`. */
  tunnelled(call: ObservedCall): void;
  /** Its last byte has passed or it was torn down. Once for each call that began. */
  ended(call: ObservedCall): void;
  /** The witness itself threw. Must not throw. */
  stumbled(error: unknown): void;
}

/**
 * A policy that tells `witness` about each call and alters none. Put it first, so that it sees the call as the application
 * does.
 */
export function observe(witness: Witness): Policy {
  return (next) => (request) => {
    const call = begin(witness, request);
    const sent = next(request);
    if (call !== null) {
      // Both handlers, so that this side branch never becomes an unhandled rejection of its own.
      sent.then(
        (response) => answered(witness, call, response),
        (error: unknown) => void (call.error = asEgressError(error)),
      );
    }
    return sent;
  };
}

/** The application may have gone away while the policies were at work; then the tunnel is nobody's. */
function answered(witness: Witness, call: ObservedCall, response: EgressResponse): void {
  call.response = response;
  if (response.tunnel === null || call.over) return;
  call.tunnel = true;
  try {
    witness.tunnelled(call);
  } catch (error) {
    witness.stumbled(error);
  }
}

function begin(witness: Witness, request: EgressRequest): ObservedCall | null {
  try {
    const call = witness.began(request);
    request.settled.on((outcome) => {
      try {
        call.over = true;
        call.error ??= outcome.error;
        witness.ended(call);
      } catch (error) {
        witness.stumbled(error);
      }
    });
    return call;
  } catch (error) {
    witness.stumbled(error);
    return null;
  }
}
