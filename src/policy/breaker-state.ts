/**
 * The states of a circuit breaker and the steps between them: plain, serialisable values and pure decisions; time is handed in
 * (breaker-time.ts).
 *
 *   closed ─ trips ─▶ open ─ openFor is over ─▶ half_open ─ as many successes as probes ─▶ closed
 *                      ▲                           │
 *                      └────────── a probe fails ──┘            isolated: held open by hand
 *
 * What counts is in breaker-rules.ts. An attempt reports to the state that let it go: what comes back later says nothing any more.
 */
import type { CircuitBreakerOptions } from "../config/types.ts";
import { type TripWhy, tripsByErrors, tripsBySlowness, tripsInARow, type Verdict } from "./breaker-rules.ts";
import { type CallWindow, count, newCallWindow, total } from "./breaker-window.ts";

/** Calls pass. */
interface Closed {
  readonly kind: "closed";
  /** Failures since the last success. */
  failuresInARow: number;
  /** Successes so far: tells whether a success that turns out broken was the last one. */
  successes: number;
  readonly window: CallWindow;
}

/** Calls are refused. */
interface Open {
  readonly kind: "open";
  /** By breaker time; from then on the upstream may be probed. */
  untilMs: number;
  readonly why: string;
}

/** A few calls pass, to see. */
interface HalfOpen {
  readonly kind: "half_open";
  /** Probes in flight. */
  probing: number;
  succeeded: number;
}

/** Calls are refused until the policy says otherwise. */
interface Isolated {
  readonly kind: "isolated";
}

/** See the file's header. */
export type BreakerState = Closed | Open | HalfOpen | Isolated;

/** A breaker. */
export interface Breaker {
  state: BreakerState;
  /** Goes up with each change of state. */
  generation: number;
}

/** One change of state, for the call's trail. */
export interface Transition {
  readonly from: BreakerState["kind"];
  readonly to: BreakerState["kind"];
  readonly why: string;
}

/** An attempt that was let go; handed back with its verdict. */
export interface Ticket {
  readonly generation: number;
  /** Failures in a row before this attempt's success, and the success's ordinal; set by `report`. */
  failuresBefore: number;
  success: number;
}

/** What becomes of an attempt. `due`: refused, unless the caller begins to probe. */
export type Admission =
  | { readonly kind: "pass"; readonly ticket: Ticket }
  | { readonly kind: "due" }
  /** `leftMs` until it may be worth another try; `Infinity` where only a human ends it. */
  | { readonly kind: "refused"; readonly leftMs: number };

/** Closed, or held open by hand. */
export function newBreaker({ isolated }: Pick<CircuitBreakerOptions, "isolated">): Breaker {
  return { state: isolated ? { kind: "isolated" } : newClosed(), generation: 0 };
}

function newClosed(): Closed {
  return { kind: "closed", failuresInARow: 0, successes: 0, window: newCallWindow() };
}

/** Whether an attempt may go. One that goes must be reported, whatever it comes to. */
export function admit(breaker: Breaker, options: CircuitBreakerOptions, timeMs: number): Admission {
  const { state } = breaker;
  switch (state.kind) {
    case "closed":
      return pass(breaker);
    case "open":
      return timeMs >= state.untilMs ? { kind: "due" } : { kind: "refused", leftMs: state.untilMs - timeMs };
    case "half_open":
      if (state.probing + state.succeeded >= options.halfOpenProbes) return { kind: "refused", leftMs: 0 };
      state.probing += 1;
      return pass(breaker);
    case "isolated":
      return { kind: "refused", leftMs: Number.POSITIVE_INFINITY };
  }
}

function pass({ generation }: Breaker): Admission {
  return { kind: "pass", ticket: { generation, failuresBefore: 0, success: 0 } };
}

/** The time of an open breaker is over: the next attempts are probes. */
export function beginProbing(breaker: Breaker): Transition | null {
  if (breaker.state.kind !== "open") return null;
  return become(breaker, { kind: "half_open", probing: 0, succeeded: 0 }, "open_for_over");
}

/** Somebody else probes: asked again at `untilMs`. */
export function postpone(breaker: Breaker, untilMs: number): void {
  if (breaker.state.kind === "open") breaker.state.untilMs = untilMs;
}

/** Opens it until `untilMs`, or prolongs it when it is open; an isolated one stays what it is. */
export function open(breaker: Breaker, untilMs: number, why: string): Transition | null {
  if (breaker.state.kind === "isolated") return null;
  if (breaker.state.kind === "open") {
    breaker.state.untilMs = untilMs;
    return null;
  }
  return become(breaker, { kind: "open", untilMs, why }, why);
}

/** Closes it; an isolated one stays what it is. */
export function close(breaker: Breaker, why: string): Transition | null {
  if (breaker.state.kind === "isolated" || breaker.state.kind === "closed") return null;
  return become(breaker, newClosed(), why);
}

function become(breaker: Breaker, state: BreakerState, why: string): Transition {
  const from = breaker.state.kind;
  breaker.state = state;
  breaker.generation += 1;
  return { from, to: state.kind, why };
}

/** Takes in what an attempt came to. `slow`: its head took longer than `slowCallMs`. */
export function report(
  breaker: Breaker,
  options: CircuitBreakerOptions,
  ticket: Ticket,
  { verdict, slow }: { readonly verdict: Verdict; readonly slow: boolean },
  timeMs: number,
): Transition | null {
  const { state } = breaker;
  if (ticket.generation !== breaker.generation) return null;
  if (state.kind === "half_open") return probed(breaker, state, options, { verdict, slow }, timeMs);
  if (state.kind !== "closed" || verdict === "nothing") return null;
  const failed = verdict === "failure";
  if (failed) state.failuresInARow += 1;
  else {
    ticket.failuresBefore = state.failuresInARow;
    ticket.success = ++state.successes;
    state.failuresInARow = 0;
  }
  if (hasRatio(options)) {
    count(state.window, options.windowMs, timeMs, {
      calls: 1,
      failures: failed ? 1 : 0,
      slow: slow ? 1 : 0,
    });
  }
  return failed || slow ? trip(breaker, state, options, timeMs) : null;
}

/** A response that was reported as a success broke off: as if the success had not been. */
export function reportBroken(
  breaker: Breaker,
  options: CircuitBreakerOptions,
  ticket: Ticket,
  timeMs: number,
): Transition | null {
  const { state } = breaker;
  if (ticket.generation !== breaker.generation || state.kind !== "closed") return null;
  const wasLast = ticket.success === state.successes;
  state.failuresInARow += 1 + (wasLast ? ticket.failuresBefore : 0);
  if (hasRatio(options)) {
    count(state.window, options.windowMs, timeMs, { calls: 0, failures: 1, slow: 0 });
  }
  return trip(breaker, state, options, timeMs);
}

function probed(
  breaker: Breaker,
  state: HalfOpen,
  options: CircuitBreakerOptions,
  { verdict, slow }: { readonly verdict: Verdict; readonly slow: boolean },
  timeMs: number,
): Transition | null {
  state.probing -= 1;
  if (verdict === "nothing") return null;
  if (verdict === "failure") return open(breaker, timeMs + options.openForMs, "probe_failed");
  if (slow) return open(breaker, timeMs + options.openForMs, "probe_slow");
  state.succeeded += 1;
  return state.succeeded >= options.halfOpenProbes ? close(breaker, "probes_succeeded") : null;
}

function trip(
  breaker: Breaker,
  state: Closed,
  options: CircuitBreakerOptions,
  timeMs: number,
): Transition | null {
  const why = tripWhy(state, options, timeMs);
  return why === null ? null : open(breaker, timeMs + options.openForMs, why);
}

function tripWhy(state: Closed, options: CircuitBreakerOptions, timeMs: number): TripWhy | null {
  if (tripsInARow(options, state.failuresInARow)) return "consecutive_failures";
  if (!hasRatio(options)) return null;
  const counts = total(state.window, options.windowMs, timeMs);
  if (tripsByErrors(options, counts)) return "error_ratio";
  return tripsBySlowness(options, counts) ? "slow_ratio" : null;
}

function hasRatio({ errorRatio, slowCallMs }: CircuitBreakerOptions): boolean {
  return errorRatio > 0 || slowCallMs > 0;
}
