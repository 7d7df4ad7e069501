/**
 * Bounds what one invocation may spend on a route: calls, and bytes of request and response bodies together. The next invocation
 * begins with a full budget.
 *
 * What the application sends and gets counts, not what attempts cost; of a tunnel the bytes count when it is over, since nobody
 * reads it before. A call is refused before it is sent where that can be known then; an answer that states too great a length is
 * refused in its place; a body of unknown length is broken off in front of the piece that does not fit. A host without
 * invocations has no budget: one for its whole life would end it. The arithmetic is in invocation-budget-state.ts.
 */
import type { Body } from "../body.ts";
import { type Clock, sleep } from "../clock.ts";
import type { InvocationBudgetOptions } from "../config/types.ts";
import { EgressError } from "../errors.ts";
import { type EgressRequest, EgressResponse, type Policy, type Send } from "../exchange.ts";
import type { Work } from "../lifecycle.ts";
import {
  newSpending,
  type Spending,
  type SpentPart,
  spendBytes,
  spendCall,
} from "./invocation-budget-state.ts";
import { tappedBody } from "./tapped-body.ts";

const STAGE = "invocation budget";

/**
 * A call without budget waits so long before it is refused, milliseconds: the first call of an invocation may be here before the word
 * of that invocation is, and would be refused for what the one before has spent.
 */
const WORD_LATE_MS_MAX = 20;

/**
 * The stage. One account for all calls of the route that it is composed into.
 *
 * @param work the invocation that runs or the last one, `null` before the first
 */
export function invocationBudget(
  options: InvocationBudgetOptions,
  clock: Clock,
  work: () => Pick<Work, "id" | "sequence"> | null,
): Policy {
  let current: Spending | null = null;

  function account(): Spending | null {
    const running = work();
    if (running === null || running.id === "") return null;
    if (current?.sequence !== running.sequence) current = newSpending(running.sequence);
    return current;
  }

  /** The account of the next invocation for a call that `spending` does not allow for want of `spent`. Rejects when there is none. */
  async function bookLater(request: EgressRequest, spending: Spending, spent: SpentPart): Promise<Spending> {
    await sleep(clock, Math.min(WORD_LATE_MS_MAX, request.deadlineMs - clock.now()));
    if (request.cancelled.value !== undefined) throw request.cancelled.value;
    const next = account();
    if (next === null || next === spending) throw refusal(options, request, spent);
    const spentNow = spendCall(options, next, request.body.length ?? 0);
    if (spentNow !== null) throw refusal(options, request, spentNow);
    return next;
  }

  /** Sends a call that is booked on `spending`. */
  function send(request: EgressRequest, spending: Spending, next: Send): Promise<EgressResponse> {
    if (options.bytes === 0) return next(request);
    const meter = new Meter(options, spending, request);
    return next(meter.request()).then((response) => meter.answer(response));
  }

  return (next) => (request) => {
    const spending = account();
    if (spending === null) return next(request);
    const spent = spendCall(options, spending, request.body.length ?? 0);
    if (spent === null) return send(request, spending, next);
    return bookLater(request, spending, spent).then((later) => send(request, later, next));
  };
}

/** The bytes of one call. */
class Meter {
  readonly #options: InvocationBudgetOptions;
  readonly #spending: Spending;
  readonly #request: EgressRequest;

  constructor(options: InvocationBudgetOptions, spending: Spending, request: EgressRequest) {
    this.#options = options;
    this.#spending = spending;
    this.#request = request;
  }

  /** The request as it goes on. A stated length is booked already. */
  request(): EgressRequest {
    const { body } = this.#request;
    return body.length === null ? this.#request.with({ body: this.#metered(body) }) : this.#request;
  }

  /** The response as it is handed on. @throws EgressError BUDGET_SPENT when its length does not fit */
  answer(response: EgressResponse): EgressResponse {
    const { body, status, reason, fields, tunnel } = response;
    if (tunnel !== null) {
      this.#request.settled.on(() => void this.#spend(tunnelBytes(this.#request)));
      return response;
    }
    // To HEAD a length is stated of a body that does not come: what is here counts.
    const bytes = body.whole === null ? body.length : body.whole.length;
    if (bytes === null) return new EgressResponse(status, reason, fields, this.#metered(body));
    if (this.#spend(bytes)) return response;
    const error = this.#refusal();
    body.cancel(error);
    throw error;
  }

  #metered(live: Body): Body {
    return tappedBody(live, {
      piece: ({ length }) => (this.#spend(length) ? null : this.#refusal()),
      ended: () => {},
    });
  }

  #spend(bytes: number): boolean {
    return spendBytes(this.#options, this.#spending, bytes);
  }

  #refusal(): EgressError {
    return refusal(this.#options, this.#request, "bytes");
  }
}

/** What a tunnel carried, by its entry in the trail. */
function tunnelBytes({ trail }: EgressRequest): number {
  return trail.reduce(
    (sum, entry) => (entry.kind === "tunnel" ? sum + entry.bytesUp + entry.bytesDown : sum),
    0,
  );
}

function refusal(options: InvocationBudgetOptions, request: EgressRequest, spent: SpentPart): EgressError {
  request.trail.push({ kind: "limited", stage: STAGE, limit: options[spent] });
  return new EgressError(
    "BUDGET_SPENT",
    `${request.host}:${request.port}: limits.per_invocation allows ${options[spent]} ${spent}`,
  );
}
