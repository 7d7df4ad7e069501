/** The exchange that a connection or a stream carries: how far it has come, and who waits for it. Knows no sockets. */
import type { Body } from "../body.ts";
import { EgressError } from "../errors.ts";
import type { AttemptFacts, EgressRequest, EgressResponse } from "../exchange.ts";

/** See the file's header. One per request sent. */
export class InFlight {
  readonly request: EgressRequest;
  readonly facts: AttemptFacts;
  readonly resolve: (response: EgressResponse) => void;
  readonly #reject: (error: EgressError) => void;
  /** The response head has been handed on. */
  responded = false;
  /** Interim responses so far. */
  interims = 0;
  /** The response's body, once it is coming. */
  body: Body | null = null;
  /** The last byte of the request has been written. */
  requestSent: boolean;
  /** The response lets the connection serve another request. */
  keepAlive = true;

  constructor(
    request: EgressRequest,
    facts: AttemptFacts,
    resolve: (response: EgressResponse) => void,
    reject: (error: EgressError) => void,
  ) {
    this.request = request;
    this.facts = facts;
    this.resolve = resolve;
    this.#reject = reject;
    this.requestSent = request.body.whole !== null;
  }

  /**
   * Whether the next byte has to come from the upstream, and not from the application's side of the request's body.
   *
   * @param full the upstream does not take what was written
   */
  owesAnswer(full: boolean): boolean {
    if (this.requestSent || full) return true;
    const { expectContinue, body } = this.request;
    return expectContinue && this.interims === 0 && body.passedBytes === 0;
  }

  /** It ended with `error`: as the answer, or as the break of one that had begun. */
  fail(error: EgressError): void {
    const { facts, request } = this;
    if (this.responded) {
      const broke = error.code === "UPSTREAM_RESET" || error.code === "TLS_FAILED";
      const cut = broke ? new EgressError("UPSTREAM_ABORTED", error.message, error.cause) : error;
      facts.error = cut;
      this.body?.fail(cut);
    } else {
      // Bytes that came already make this a broken answer, which must not be asked for again.
      if (error.code === "UPSTREAM_RESET" && facts.firstByteMs !== 0) error.reached = "final";
      facts.error = error;
      this.#reject(error);
    }
    if (!this.requestSent) request.body.cancel(error);
  }
}
