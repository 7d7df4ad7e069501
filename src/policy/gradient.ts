/**
 * How many calls at once an upstream takes without queueing them, found from latency alone. Plain state, pure steps; slots and the line
 * before them are in adaptive-concurrency.ts.
 *
 * The gradient controller of Envoy's adaptive concurrency filter and of Netflix's concurrency-limits (Gradient2Limit):
 *
 *   gradient = (baseline + tolerance) / median latency of a window, 0.5..1
 *   limit    = limit * gradient + sqrt(limit)
 *
 * A window holds calls that began in it, so each step sees what the last one did. The baseline, the latency without queueing, falls
 * with every faster window. It rises by evidence only: when calls have been slower than it for a while, half as many go for one
 * window, and what they take then is the upstream's own time. Envoy measures it anew every minute, at a concurrency of 3; here nobody
 * is held back while latency is as it should be.
 */

/** Calls in a window at least, so that its median means something. */
export const WINDOW_SAMPLES_MIN = 10;
/** Latencies kept of one window. Overflow: not counted. */
const WINDOW_SAMPLES_MAX = 250;
/** A window lasts this long at least (Envoy's example of concurrency_update_interval). */
export const WINDOW_MS_MIN = 100;
/** Above the baseline by this part is no queueing yet (Envoy's min_rtt_calc_params.buffer). */
const TOLERANCE_RATIO = 0.25;
/** Nor is a difference as small as this: the grain of an event loop. */
const TOLERANCE_MS_MIN = 2;
/** One window takes away half of the limit at most (as in both). */
const GRADIENT_MIN = 0.5;
/** Where a limit begins (Netflix's initialLimit). */
const LIMIT_START = 20;
/** Slow windows in a row after which the baseline is measured anew. */
export const SLOW_WINDOWS_MAX = 10;

/** The bounds of a limit; both at least 1. */
export interface GradientBounds {
  readonly min: number;
  readonly max: number;
}

/** The state. */
export interface Gradient {
  /** With fractions; `limitNow` is what holds. */
  limit: number;
  /** Latency without queueing; `null` until the first window is over. */
  baselineMs: number | null;
  /** In this window half of the limit holds, and its median becomes the baseline. */
  measuring: boolean;
  /** Windows in a row that were slower than the baseline allows. */
  slowWindows: number;
  window: {
    /** Tells the calls of this window from those before. */
    number: number;
    openedMs: number;
    /** Most calls in flight at once. */
    peak: number;
    latenciesMs: number[];
  };
}

/** Begins at 20, or as near as the bounds allow. */
export function newGradient(bounds: GradientBounds, nowMs: number): Gradient {
  return {
    limit: within(bounds, LIMIT_START),
    baselineMs: null,
    measuring: false,
    slowWindows: 0,
    window: { number: 0, openedMs: nowMs, peak: 0, latenciesMs: [] },
  };
}

/** Calls that may be in flight now. */
export function limitNow({ limit, measuring }: Gradient, bounds: GradientBounds): number {
  return Math.floor(measuring ? within(bounds, limit / 2) : limit);
}

/** A call begins with `inFlight` in flight, itself included. Returns the number of its window, for `sample`. */
export function begin({ window }: Gradient, inFlight: number): number {
  window.peak = Math.max(window.peak, inFlight);
  return window.number;
}

/** A call of the window `number` took `latencyMs`. Ends the window when there is enough of it. */
export function sample(
  gradient: Gradient,
  bounds: GradientBounds,
  number: number,
  latencyMs: number,
  nowMs: number,
): void {
  const { window } = gradient;
  if (number !== window.number) return;
  if (window.latenciesMs.length < WINDOW_SAMPLES_MAX) window.latenciesMs.push(latencyMs);
  if (window.latenciesMs.length < WINDOW_SAMPLES_MIN || nowMs - window.openedMs < WINDOW_MS_MIN) return;
  step(gradient, bounds, median(window.latenciesMs));
  gradient.window = { number: window.number + 1, openedMs: nowMs, peak: 0, latenciesMs: [] };
}

function step(gradient: Gradient, bounds: GradientBounds, latencyMs: number): void {
  if (gradient.measuring || gradient.baselineMs === null) gradient.baselineMs = latencyMs;
  gradient.baselineMs = Math.min(gradient.baselineMs, latencyMs);
  if (gradient.measuring) {
    // What half the limit took says nothing about the whole.
    gradient.measuring = false;
    gradient.slowWindows = 0;
    return;
  }
  const goodMs = gradient.baselineMs + Math.max(TOLERANCE_MS_MIN, gradient.baselineMs * TOLERANCE_RATIO);
  gradient.slowWindows = latencyMs > goodMs ? gradient.slowWindows + 1 : 0;
  gradient.measuring = gradient.slowWindows >= SLOW_WINDOWS_MAX;
  // With less than half of it in use the limit is not what shapes the latency.
  if (gradient.window.peak < gradient.limit / 2) return;
  const slope = Math.max(GRADIENT_MIN, Math.min(1, goodMs / latencyMs));
  gradient.limit = within(bounds, gradient.limit * slope + Math.sqrt(gradient.limit));
}

function within({ min, max }: GradientBounds, limit: number): number {
  return Math.max(min, Math.min(max, limit));
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}
