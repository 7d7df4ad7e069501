/**
 * Sends a second copy of a call that is slow to be answered, and takes the answer that comes first.
 *
 * Owns the moment at which a copy leaves: its delay, the measured percentile behind it and the budget. The race itself is
 * hedge-race.ts, what may be sent twice hedge-judge.ts. Stands inside the retry loop, whose conditions say what a failure is: a copy
 * that fails does not win, and a call that fails before its hedge has left is the retry's business.
 */
import type { Clock } from "../clock.ts";
import type { RoutePolicy } from "../config/types.ts";
import { asEgressError, EgressError } from "../errors.ts";
import { type EgressRequest, EgressResponse, type Policy, type Send } from "../exchange.ts";
import { DeadlineWatch, type Watched } from "./deadline-watch.ts";
import { mayBeHedged, whyNoHedge } from "./hedge-judge.ts";
import { Copy, type CopyOutcome, HedgeRace, leftOf, reachedBy } from "./hedge-race.ts";
import { RecentTimes } from "./hedge-times.ts";
import { budgetAllows, newRetryBudget, type RetryBudget, rewardSuccess, spendRetry } from "./retry-budget.ts";
import { conditionMet } from "./retry-judge.ts";
import { signatureEndsMs } from "./signature.ts";

/** What this stage reads of a route's policy. */
export interface HedgeStageOptions {
  readonly hedge: NonNullable<RoutePolicy["hedge"]>;
  /** Only its conditions, which count whether or not anything is retried. */
  readonly retry: Pick<RoutePolicy["retry"], "on" | "statuses" | "grpcStatuses" | "responseHeaders">;
}

/** The stage. Its budget and its measured times are shared by all calls of the route that it is composed into. */
export function hedge(options: HedgeStageOptions, clock: Clock): Policy {
  const { hedge: rules, retry } = options;
  return (next) => {
    const route: HedgedRoute = {
      rules,
      clock,
      send: next,
      // Every call fills it, a hedge empties it: in the long run there is one hedge for 1 / budgetRatio calls.
      budget: newRetryBudget(0),
      measured: rules.delayMs > 0 ? null : new RecentTimes(),
      watch: new DeadlineWatch(clock),
      isFailure: (outcome) => outcome instanceof EgressError || conditionMet(retry, outcome) !== null,
    };
    const { budget, measured } = route;
    return (request) => {
      if (request.attempt === 1) rewardSuccess(budget, rules.budgetRatio);
      if (!mayBeHedged(rules, request)) return next(request);
      const delayMs = measured === null ? rules.delayMs : measured.percentile(rules.percentile);
      const startedMs = clock.now();
      if (delayMs === null || startedMs + delayMs >= request.deadlineMs) {
        return measured === null ? next(request) : timed(next(request), route, measured, startedMs);
      }
      return new HedgedCall(request, route, startedMs, delayMs).send();
    };
  };
}

/** What the hedged calls of a route share. */
interface HedgedRoute {
  readonly rules: HedgeStageOptions["hedge"];
  readonly clock: Clock;
  readonly send: Send;
  readonly budget: RetryBudget;
  /** `null` when the delay is a fixed one. */
  readonly measured: RecentTimes | null;
  /** The moments at which the next copies are due. */
  readonly watch: DeadlineWatch;
  readonly isFailure: (outcome: CopyOutcome) => boolean;
}

/** A call of which no copy can leave is measured all the same. */
async function timed(
  sent: Promise<EgressResponse>,
  { isFailure, clock }: HedgedRoute,
  times: RecentTimes,
  startedMs: number,
): Promise<EgressResponse> {
  const response = await sent;
  if (!isFailure(response)) times.add(clock.now() - startedMs);
  return response;
}

/** A call of which a copy leaves if its answer takes too long. */
class HedgedCall implements Watched {
  place = -1;
  /** When the next copy is due, `Clock.now()` milliseconds. */
  deadlineMs: number;
  readonly #call: EgressRequest;
  readonly #route: HedgedRoute;
  readonly #delayMs: number;
  readonly #first: Copy;
  /** `null` until a second copy leaves: nearly every call is answered before. */
  #race: HedgeRace | null = null;

  constructor(call: EgressRequest, route: HedgedRoute, startedMs: number, delayMs: number) {
    this.#call = call;
    this.#route = route;
    this.#delayMs = delayMs;
    this.#first = new Copy(call, call.attempt, startedMs);
    this.deadlineMs = startedMs + delayMs;
  }

  /** Sends the first copy. When another one wins, the first is cancelled, and its end is what hands the winner on. */
  send(): Promise<EgressResponse> {
    const { watch, send } = this.#route;
    const came = (result: unknown) =>
      this.#firstCame(result instanceof EgressResponse ? result : asEgressError(result));
    const sent = send(this.#first.request);
    watch.watch(this, this.#first.startedMs);
    return sent.then(came, came);
  }

  #firstCame(outcome: CopyOutcome): EgressResponse | Promise<EgressResponse> {
    if (this.#race !== null) {
      this.#race.came(this.#first, outcome);
      return this.#race.outcome;
    }
    const failed = this.#route.isFailure(outcome);
    this.#decided(failed ? -1 : 0);
    if (failed) this.#first.unlink();
    const left = failed ? leftOf(this.#call, outcome, reachedBy(outcome)) : outcome;
    if (left instanceof EgressError) throw left;
    return left;
  }

  /** The next copy is due: for `DeadlineWatch` only. */
  expired(): boolean {
    const { rules, clock, budget } = this.#route;
    const why = whyNoHedge({
      sent: this.#race?.hedges ?? 0,
      maxHedges: rules.maxHedges,
      leftMs: this.#call.deadlineMs - clock.now(),
      signatureLeftMs: signatureLeftMs(this.#call, clock),
      budgetAllows: budgetAllows(budget),
    });
    if (why !== null) return false;
    spendRetry(budget);
    this.#race ??= this.#newRace();
    this.#race.start();
    this.deadlineMs = clock.now() + this.#delayMs;
    return this.#race.hedges < rules.maxHedges;
  }

  #newRace(): HedgeRace {
    const { send, clock, isFailure } = this.#route;
    const decided = (won: number) => this.#decided(won);
    return new HedgeRace(this.#call, this.#first, { send, now: () => clock.now(), isFailure, decided });
  }

  /** @param won the place of the copy that won, -1 when all failed */
  #decided(won: number): void {
    const { watch, measured, clock } = this.#route;
    watch.forget(this);
    // A first copy that lost was slower than this, and is counted with it: without the slow ones the percentile would sink.
    if (won >= 0) measured?.add(clock.now() - this.#first.startedMs);
  }
}

function signatureLeftMs({ fields, path }: EgressRequest, clock: Clock): number {
  const wallMs = clock.wall();
  return signatureEndsMs(fields, path, wallMs) - wallMs;
}
