/**
 * What happened in the sandbox, in order, with one clock.
 *
 * Owns the list and its listeners. The cold-start line of the command, the demo and the tests all read it from here.
 */
import type { Clock } from "../../src/clock.ts";

/** What happened. `first-next` and `next` are the long polls that say "ready"; `runtime-start` is the spawn of the runtime. */
export type TimelineKind =
  | "init-start"
  | "spawn"
  | "register"
  | "runtime-start"
  | "first-next"
  | "init-done"
  | "invoke-start"
  | "response"
  | "next"
  | "invoke-done"
  | "freeze"
  | "thaw"
  | "reset"
  | "shutdown"
  | "sigterm"
  | "shutdown-event"
  | "sigkill"
  | "exit"
  | "shutdown-done";

/** One thing that happened. */
export interface TimelineEvent {
  /** Monotonic ms since the emulator started. */
  readonly atMs: number;
  readonly kind: TimelineKind;
  /** `runtime` or the name of the extension; absent for what concerns the whole sandbox. */
  readonly process?: string;
  readonly requestId?: string;
  /** A status, a reason or an exit, in words. */
  readonly detail?: string;
}

/** What an event says besides its time and kind. */
export type TimelineFacts = Omit<TimelineEvent, "atMs" | "kind">;

/** Events kept; beyond it the oldest are forgotten. Listeners see every one. */
const EVENTS_MAX = 10_000;

/** See the file's header. */
export class Timeline {
  readonly events: TimelineEvent[] = [];
  readonly #clock: Clock;
  readonly #startedMs: number;
  readonly #listeners = new Set<(event: TimelineEvent) => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startedMs = clock.now();
  }

  /** Notes that `kind` happened now. */
  add(kind: TimelineKind, facts: TimelineFacts = {}): void {
    const event: TimelineEvent = { atMs: this.#clock.now() - this.#startedMs, kind, ...facts };
    if (this.events.length >= EVENTS_MAX) this.events.shift();
    this.events.push(event);
    for (const listener of this.#listeners) listener(event);
  }

  /** Calls `listener` for every event from now on; returns how to stop. */
  onEvent(listener: (event: TimelineEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}
