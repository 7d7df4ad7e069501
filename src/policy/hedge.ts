/**
 * Sends a second copy of a call that is slow to be answered, and takes the answer that comes first.
 *
 * Owns the moment at which a copy leaves: its delay, the measured percentile behind it and the budget. The race itself is
 * hedge-race.ts, what may be sent twice hedge-judge.ts. Stands inside the retry loop, whose conditions say what a failure is: a copy
 * that fails does not win, and a call that fails before its hedge has left is the retry's business.
 */
import type { Clock, Timer } from "../clock.ts";
import type { RoutePolicy } from "../config/types.ts";
import { EgressError } from "../errors.ts";
import type { EgressRequest, EgressResponse, Policy } from "../exchange.ts";
import { mayBeHedged, whyNoHedge } from "./hedge-judge.ts";
import { type CopyOutcome, HedgeRace } from "./hedge-race.ts";
import { RecentTimes } from "./hedge-times.ts";
import { budgetAllows, newRetryBudget, rewardSuccess, spendRetry } from "./retry-budget.ts";
import { conditionMet } from "./retry-judge.ts";
import { signatureEndsMs } from "./signature.ts";

/** What this stage reads of a route's policy. */
export interface HedgeStageOptions {
  readonly hedge: NonNullable<RoutePolicy["hedge"]>;
  /** Only its conditions, which count whether or not anything is retried. */
  readonly retry: Pick<RoutePolicy["retry"], "on" | "statuses" | "grpcStatuses" | "responseHeaders">;
}

/** The stage. Its budget and its measured times are shared by all calls of the route that it is composed into. */
export function hedge({ hedge: rules, retry }: HedgeStageOptions, clock: Clock): Policy {
  // Every call fills it, a hedge empties it: in the long run there is one hedge for 1 / budgetRatio calls.
  const budget = newRetryBudget(0);
  const measured = rules.delayMs > 0 ? null : new RecentTimes();
  const isFailure = (outcome: CopyOutcome) =>
    outcome instanceof EgressError || conditionMet(retry, outcome) !== null;

  const timed = async (sent: Promise<EgressResponse>, times: RecentTimes, startedMs: number) => {
    const response = await sent;
    if (!isFailure(response)) times.add(clock.now() - startedMs);
    return response;
  };

  return (next) => (request) => {
    if (request.attempt === 1) rewardSuccess(budget, rules.budgetRatio);
    if (!mayBeHedged(rules, request)) return next(request);
    const delayMs = measured === null ? rules.delayMs : measured.percentile(rules.percentile);
    const startedMs = clock.now();
    if (delayMs === null || startedMs + delayMs >= request.deadlineMs) {
      return measured === null ? next(request) : timed(next(request), measured, startedMs);
    }
    let timer: Timer | null = null;
    const race = new HedgeRace(request, {
      send: next,
      now: () => clock.now(),
      isFailure,
      decided: (won) => {
        timer?.cancel();
        // A first copy that lost was slower than this, and is counted with it: without the slow ones the percentile would sink.
        if (won >= 0) measured?.add(clock.now() - startedMs);
      },
    });
    const arm = () => {
      timer = clock.after(delayMs, () => {
        const why = whyNoHedge({
          sent: race.hedges,
          maxHedges: rules.maxHedges,
          leftMs: request.deadlineMs - clock.now(),
          signatureLeftMs: signatureLeftMs(request, clock),
          budgetAllows: budgetAllows(budget),
        });
        if (why !== null) return;
        spendRetry(budget);
        race.start();
        if (race.hedges < rules.maxHedges) arm();
      });
    };
    race.start();
    arm();
    return race.outcome;
  };
}

function signatureLeftMs({ fields, path }: EgressRequest, clock: Clock): number {
  const wallMs = clock.wall();
  return signatureEndsMs(fields, path, wallMs) - wallMs;
}
