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

interface Copy {
  readonly request: EgressRequest;
  readonly startedMs: number;
  over: boolean;
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

/** See the file's header. */
export class HedgeRace {
  /** What the call comes to: the winner, or when all have failed the last response, or else the last error. */
  readonly outcome: Promise<EgressResponse>;
  readonly #call: EgressRequest;
  readonly #parts: RaceParts;
  readonly #copies: Copy[] = [];
  readonly #settle: PromiseWithResolvers<EgressResponse>;
  #failed: CopyOutcome | null = null;
  /** How far the copies have come that failed: what is harmless for the last of them may not be for another. */
  #reached: Reached = "unsent";
  #decided = false;

  constructor(call: EgressRequest, parts: RaceParts) {
    this.#call = call;
    this.#parts = parts;
    this.#settle = Promise.withResolvers<EgressResponse>();
    this.outcome = this.#settle.promise;
    call.cancelled.on(this.#cancel);
  }

  /** Hedges that have left. */
  get hedges(): number {
    return Math.max(0, this.#copies.length - 1);
  }

  /** Sends the next copy: the first is the call itself, with its number; hedges are counted on from it. Nothing once decided. */
  start(): void {
    if (this.#decided) return;
    const cancelled = new Latch<EgressError>();
    const number = this.#call.attempt + this.#copies.length;
    const request = this.#call.with({ cancelled, attempt: number });
    // The application hears interim responses of one attempt only.
    if (this.#copies.length > 0) request.onInterim = null;
    const copy: Copy = { request, startedMs: this.#parts.now(), over: false };
    this.#copies.push(copy);
    if (this.#call.cancelled.value !== undefined) cancelled.fire(ownCopy(this.#call.cancelled.value));
    this.#send(request).then(
      (outcome) => this.#came(copy, outcome),
      (error: unknown) => this.#came(copy, asEgressError(error)),
    );
  }

  /** A stage may throw instead of rejecting; from a timer that would end the process. */
  async #send(request: EgressRequest): Promise<EgressResponse> {
    return await this.#parts.send(request);
  }

  /** Stays for as long as the winner's body may come; copies that are over hear nothing. */
  readonly #cancel = (reason: EgressError): void => {
    for (const { request } of this.#copies) request.cancelled.fire(ownCopy(reason));
  };

  #came(copy: Copy, outcome: CopyOutcome): void {
    copy.over = true;
    if (this.#decided) {
      if (outcome instanceof EgressResponse) outcome.body.cancel(this.#lost());
      return;
    }
    if (!this.#parts.isFailure(outcome)) return this.#decide(copy, outcome);
    this.#noteReached(outcome instanceof EgressError ? outcome.reached : "sent");
    this.#keepFailure(outcome);
    if (this.#copies.every((one) => one.over)) this.#allFailed();
  }

  #noteReached(reached: Reached): void {
    if (FURTHER.indexOf(reached) > FURTHER.indexOf(this.#reached)) this.#reached = reached;
  }

  /** A response says more than an error, and what came later more than what came first. */
  #keepFailure(outcome: CopyOutcome): void {
    const before = this.#failed;
    if (before instanceof EgressResponse && outcome instanceof EgressError) return;
    this.#failed = outcome;
    if (before instanceof EgressResponse) before.body.cancel(this.#lost());
  }

  #allFailed(): void {
    // A response whose call was cancelled meanwhile has lost its body.
    const left = this.#call.cancelled.value ?? this.#failed!;
    if (left instanceof EgressError && left.reached !== "final") left.reached = this.#reached;
    this.#decide(null, left);
  }

  #decide(winner: Copy | null, outcome: CopyOutcome): void {
    this.#decided = true;
    const { cancelled, trail } = this.#call;
    if (winner === null) cancelled.off(this.#cancel);
    const won = winner === null ? -1 : this.#copies.indexOf(winner);
    for (const copy of this.#copies) if (!copy.over) copy.request.cancelled.fire(this.#lost());
    const failed = this.#failed;
    if (failed instanceof EgressResponse && failed !== outcome) failed.body.cancel(this.#lost());
    const [first, ...hedges] = this.#copies;
    hedges.forEach(({ request, startedMs }, at) => {
      const afterMs = startedMs - first!.startedMs;
      trail.push({ kind: "hedge", attempt: request.attempt, afterMs, won: won === at + 1 });
    });
    this.#parts.decided(won);
    if (outcome instanceof EgressError) this.#settle.reject(outcome);
    else this.#settle.resolve(outcome);
  }

  #lost(): EgressError {
    return superseded("another copy of the call was answered first");
  }
}

/** One for each copy: how far the one had come is not true of the others. */
function ownCopy(reason: EgressError): EgressError {
  const copy = new EgressError(reason.code, reason.message, reason.cause);
  copy.reached = reason.reached;
  return copy;
}
