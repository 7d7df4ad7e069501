/**
 * One call that is sent more than once at the same time: the first response head that is no failure wins, and whatever else is under
 * way is cancelled at that moment. Owns the copies and their cancellations; when a copy may leave is decided by who starts it.
 */
import { asEgressError, EgressError, type Reached } from "../errors.ts";
import { type EgressRequest, EgressResponse, type Send } from "../exchange.ts";
import { Latch } from "../latch.ts";
import { superseded } from "./discard.ts";

/** What a copy came to. */
export type CopyOutcome = EgressResponse | EgressError;

/** From harmless to never again. */
const FURTHER: readonly Reached[] = ["unsent", "sent", "final"];

/** One copy of a call: a number and a cancellation of its own, which is that of the call as well. */
export class Copy {
  readonly request: EgressRequest;
  /** `Clock.now()` milliseconds. */
  readonly startedMs: number;
  readonly #call: EgressRequest;

  constructor(call: EgressRequest, number: number, startedMs: number) {
    this.#call = call;
    this.startedMs = startedMs;
    this.request = call.with({ cancelled: new Latch<EgressError>(), attempt: number });
    call.cancelled.on(this.#passOn);
  }

  /** Stays for as long as the winner's body may come; a copy that is over hears nothing. */
  readonly #passOn = (reason: EgressError): void => void this.request.cancelled.fire(ownCopy(reason));

  /** The copy has failed, and the call's cancellation is no concern of it any more. */
  unlink(): void {
    this.#call.cancelled.off(this.#passOn);
  }
}

/** One for each copy: how far the one had come is not true of the others. */
function ownCopy(reason: EgressError): EgressError {
  const copy = new EgressError(reason.code, reason.message, reason.cause);
  copy.reached = reason.reached;
  return copy;
}

/**
 * What a call comes to when its copies have failed, the last of them with `outcome`. A response whose call was cancelled meanwhile has
 * lost its body.
 *
 * @param reached how far the copies have come
 */
export function leftOf(call: EgressRequest, outcome: CopyOutcome, reached: Reached): CopyOutcome {
  const left = call.cancelled.value ?? outcome;
  if (left instanceof EgressError && left.reached !== "final") left.reached = reached;
  return left;
}

/** How far a copy has come that failed with `outcome`. */
export function reachedBy(outcome: CopyOutcome): Reached {
  return outcome instanceof EgressError ? outcome.reached : "sent";
}

/** What a race is given. */
export interface RaceParts {
  readonly send: Send;
  /** `Clock.now`. */
  readonly now: () => number;
  /** Whether an outcome does not end the race while another copy is under way. */
  readonly isFailure: (outcome: CopyOutcome) => boolean;
  /** Called once, when the race is decided; `won` is the copy's place, -1 when all failed. */
  readonly decided: (won: number) => void;
}

/** See the file's header. Begins when the first copy is under way and the next one leaves; nearly every call ends without one. */
export class HedgeRace {
  /** What the call comes to: the winner, or when all have failed the last response, or else the last error. */
  readonly outcome: Promise<EgressResponse>;
  readonly #call: EgressRequest;
  readonly #parts: RaceParts;
  /** The first is the call itself, with its number; hedges are counted on from it. */
  readonly #copies: Copy[];
  readonly #over = new Set<Copy>();
  readonly #settle: PromiseWithResolvers<EgressResponse>;
  #failed: CopyOutcome | null = null;
  /** How far the copies have come that failed: what is harmless for the last of them may not be for another. */
  #reached: Reached = "unsent";
  #decided = false;

  constructor(call: EgressRequest, first: Copy, parts: RaceParts) {
    this.#call = call;
    this.#copies = [first];
    this.#parts = parts;
    this.#settle = Promise.withResolvers<EgressResponse>();
    this.outcome = this.#settle.promise;
  }

  /** Hedges that have left. */
  get hedges(): number {
    return this.#copies.length - 1;
  }

  /** Sends the next copy. */
  start(): void {
    const copy = new Copy(this.#call, this.#call.attempt + this.#copies.length, this.#parts.now());
    // The application hears interim responses of one attempt only.
    copy.request.onInterim = null;
    this.#copies.push(copy);
    this.#send(copy.request).then(
      (outcome) => this.came(copy, outcome),
      (error: unknown) => this.came(copy, asEgressError(error)),
    );
  }

  /** A stage may throw instead of rejecting; from a timer that would end the process. */
  async #send(request: EgressRequest): Promise<EgressResponse> {
    return await this.#parts.send(request);
  }

  /** What `copy` came to. */
  came(copy: Copy, outcome: CopyOutcome): void {
    this.#over.add(copy);
    if (this.#decided) {
      if (outcome instanceof EgressResponse) outcome.body.cancel(lost());
      return;
    }
    if (!this.#parts.isFailure(outcome)) return this.#decide(copy, outcome);
    this.#noteReached(reachedBy(outcome));
    this.#keepFailure(outcome);
    if (this.#over.size === this.#copies.length) {
      this.#decide(null, leftOf(this.#call, this.#failed!, this.#reached));
    }
  }

  #noteReached(reached: Reached): void {
    if (FURTHER.indexOf(reached) > FURTHER.indexOf(this.#reached)) this.#reached = reached;
  }

  /** A response says more than an error, and what came later more than what came first. */
  #keepFailure(outcome: CopyOutcome): void {
    const before = this.#failed;
    if (before instanceof EgressResponse && outcome instanceof EgressError) return;
    this.#failed = outcome;
    if (before instanceof EgressResponse) before.body.cancel(lost());
  }

  #decide(winner: Copy | null, outcome: CopyOutcome): void {
    this.#decided = true;
    if (winner === null) for (const copy of this.#copies) copy.unlink();
    const won = winner === null ? -1 : this.#copies.indexOf(winner);
    for (const copy of this.#copies) if (!this.#over.has(copy)) copy.request.cancelled.fire(lost());
    const failed = this.#failed;
    if (failed instanceof EgressResponse && failed !== outcome) failed.body.cancel(lost());
    const [first, ...hedges] = this.#copies;
    hedges.forEach(({ request, startedMs }, at) => {
      const afterMs = startedMs - first!.startedMs;
      this.#call.trail.push({ kind: "hedge", attempt: request.attempt, afterMs, won: won === at + 1 });
    });
    this.#parts.decided(won);
    if (outcome instanceof EgressError) this.#settle.reject(outcome);
    else this.#settle.resolve(outcome);
  }
}

function lost(): EgressError {
  return superseded("another copy of the call was answered first");
}
