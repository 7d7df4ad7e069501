/**
 * Counts attempts over a sliding window of time: plain state, pure steps. The window is cut into slots that leave it one by one, so
 * that it needs no list of attempts and no timer.
 */

/** Parts of a window: what leaves it at once is a tenth of what it holds. */
const SLOTS = 10;

/** What attempts of a span came to. */
export interface Counts {
  calls: number;
  failures: number;
  slow: number;
}

/** Counts of one slot; `at` is its ordinal since the beginning of time, which says whether it is still in the window. */
interface Slot extends Counts {
  at: number;
}

/** The state: at most `SLOTS` slots, oldest first. */
export interface CallWindow {
  readonly slots: Slot[];
}

/** A window in which nothing has happened. */
export function newCallWindow(): CallWindow {
  return { slots: [] };
}

/** Adds to the counts of the present. `timeMs` never goes back. */
export function count(
  window: CallWindow,
  windowMs: number,
  timeMs: number,
  { calls, failures, slow }: Readonly<Counts>,
): void {
  const slot = present(window, windowMs, timeMs);
  slot.calls += calls;
  slot.failures += failures;
  slot.slow += slow;
}

/** The sums of the last `windowMs`, give or take a slot. */
export function total(window: CallWindow, windowMs: number, timeMs: number): Counts {
  forget(window, ordinal(windowMs, timeMs));
  const sums = { calls: 0, failures: 0, slow: 0 };
  for (const slot of window.slots) {
    sums.calls += slot.calls;
    sums.failures += slot.failures;
    sums.slow += slot.slow;
  }
  return sums;
}

function present(window: CallWindow, windowMs: number, timeMs: number): Slot {
  const at = ordinal(windowMs, timeMs);
  const last = window.slots.at(-1);
  if (last !== undefined && last.at === at) return last;
  forget(window, at);
  const slot = { at, calls: 0, failures: 0, slow: 0 };
  window.slots.push(slot);
  return slot;
}

function forget(window: CallWindow, at: number): void {
  while (window.slots.length > 0 && window.slots[0]!.at <= at - SLOTS) window.slots.shift();
}

function ordinal(windowMs: number, timeMs: number): number {
  return Math.floor((timeMs * SLOTS) / windowMs);
}
