/**
 * The life of the sandbox that the proxy rides in. The host (an adapter) calls the verbs; rooms subscribe.
 *
 * cold ─▶ ready ⇄ busy ─▶ draining ─▶ gone. On platforms that freeze, `workStarted` is also the thaw: what sleeps between two
 * invocations is judged by the gap, not by timers (clocks may stand still or jump while frozen).
 */
import type { Clock } from "./clock.ts";

/** Where the sandbox is. `ready` between invocations, `busy` during one; hosts without invocations are `busy` from start to drain. */
export type Phase = "cold" | "ready" | "busy" | "draining" | "gone";

/** One invocation, or the whole life of a host that has none. */
export interface Work {
  /** The platform's id of the invocation, or "" when there is none. */
  readonly id: string;
  /** Absolute, in `Clock.now()` milliseconds; `Infinity` when the platform sets none. */
  readonly deadlineMs: number;
  /** `X-Amzn-Trace-Id` value, W3C `traceparent`, or "": the parent of calls that bring no context of their own. */
  readonly trace: string;
  /** 1 for the first. */
  readonly sequence: number;
  readonly startedMs: number;
}

/** What rooms may do at each turn. None may throw; promises returned by `workFinished` and `draining` are awaited by the host within its cap. */
export interface LifecycleListener {
  /** The sandbox wakes for `work` after `idleMs` by the larger of both clocks. Runs before any call of that work. */
  workStarted?(work: Work, idleMs: number): void;
  workFinished?(work: Work): Promise<void> | void;
  draining?(deadlineMs: number): Promise<void> | void;
}

/** See the file's header. */
export class Lifecycle {
  phase: Phase = "cold";
  /** The invocation that runs, or the last one; calls that come between two invocations belong to it. */
  work: Work | null = null;
  readonly #clock: Clock;
  readonly #listeners: LifecycleListener[] = [];
  #sequence = 0;
  #idleSince: { now: number; wall: number };

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#idleSince = { now: clock.now(), wall: clock.wall() };
  }

  /** Adds a listener; told in the order of subscription. */
  subscribe(listener: LifecycleListener): void {
    this.#listeners.push(listener);
  }

  /** The host can be told of work. */
  ready(): void {
    if (this.phase === "cold") this.phase = "ready";
  }

  /** An invocation began (the same id twice is one invocation). `deadlineWallMs` is the platform's epoch time, `Infinity` for none. */
  workStarted(id: string, deadlineWallMs: number, trace: string): void {
    if (this.phase === "draining" || this.phase === "gone") return;
    if (this.phase === "busy" && this.work !== null && this.work.id === id && id !== "") return;
    const now = this.#clock.now();
    const wall = this.#clock.wall();
    const idleMs = Math.max(0, now - this.#idleSince.now, wall - this.#idleSince.wall);
    // A host that is not told when work is over (an extension learns only of the next) counts from its beginning.
    this.#idleSince = { now, wall };
    this.#sequence += 1;
    this.phase = "busy";
    this.work = {
      id,
      deadlineMs: now + (deadlineWallMs - wall),
      trace,
      sequence: this.#sequence,
      startedMs: now,
    };
    for (const listener of this.#listeners) listener.workStarted?.(this.work, idleMs);
  }

  /** The invocation is over; resolves when every listener is done (the host caps the wait). */
  async workFinished(): Promise<void> {
    if (this.phase !== "busy" || this.work === null) return;
    this.phase = "ready";
    this.#idleSince = { now: this.#clock.now(), wall: this.#clock.wall() };
    const work = this.work;
    await Promise.all(this.#listeners.map((listener) => listener.workFinished?.(work)));
  }

  /** No new work; what is in flight may finish until `deadlineMs` (`Clock.now()` scale). Calling it twice drains once. */
  async drain(deadlineMs: number): Promise<void> {
    if (this.phase === "draining" || this.phase === "gone") return;
    this.phase = "draining";
    await Promise.all(this.#listeners.map((listener) => listener.draining?.(deadlineMs)));
    this.phase = "gone";
  }
}
