/** Waiting for what has no event of its own, and letting virtual time pass beside real sockets. */
import type { VirtualClock } from "../../src/clock.ts";

/** A wait that takes longer than this hangs. A guard, never a measurement. */
const WAIT_MS_MAX = 20_000;
/** Long enough for bytes on loopback to be read between two looks; nothing is asserted on it. */
const LOOK_MS = 5;

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, LOOK_MS));

/** Resolves when `holds` does; `what` names it when it never does. */
export async function eventually(what: string, holds: () => boolean): Promise<void> {
  const untilMs = performance.now() + WAIT_MS_MAX;
  while (!holds()) {
    if (performance.now() > untilMs) throw new Error(`waited ${WAIT_MS_MAX} ms for ${what}`);
    await pause();
  }
}

/** Resolves with the number that `read` settles on: the same at many looks in a row. */
export async function settled(read: () => number): Promise<number> {
  let value = read();
  for (let same = 0; same < 40; same++) {
    await pause();
    const now = read();
    if (now !== value) {
      value = now;
      same = 0;
    }
  }
  return value;
}

/** What came of waiting in virtual time. */
export interface Passed<T> {
  readonly value: T;
  /** Virtual milliseconds that passed until then, in whole steps. */
  readonly elapsedMs: number;
}

/**
 * Lets time pass until `wanted` settles. Sockets live in real time, so each step of `stepMs` waits a little for theirs: what is
 * late by the machine's load is late in virtual time too, but nothing comes early.
 */
export async function passUntil<T>(
  clock: VirtualClock,
  wanted: Promise<T>,
  { stepMs = 1000, limitMs = 600_000 } = {},
): Promise<Passed<T>> {
  let over = false;
  wanted.then(
    () => (over = true),
    () => (over = true),
  );
  let elapsedMs = 0;
  await pause();
  while (!over) {
    if (elapsedMs >= limitMs) throw new Error(`still waiting after ${elapsedMs} virtual ms`);
    await clock.advance(stepMs);
    elapsedMs += stepMs;
    await pause();
  }
  return { value: await wanted, elapsedMs };
}

/** A promise that is settled from outside. */
export function signal(): { readonly given: Promise<void>; give(): void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { given: promise, give: () => resolve() };
}
