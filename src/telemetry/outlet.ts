/**
 * From the record to the log: what waits, for how long, and what is lost.
 *
 * Owns the bounded queue between the data path, which must never wait, and the log, which may be slow, stuck or not loaded yet.
 * Nothing is formatted before the turn of the event loop in which the call ended is over, so its response has gone out.
 */
import type { Clock } from "../clock.ts";
import type { InterceptionRefusal } from "./interception.ts";
import { type CallRecord, type LineLevel, levelOf } from "./record.ts";
import { Ring } from "./ring.ts";
import { type InvocationSummary, summaryLine } from "./summary.ts";

/** Records that wait for the log. Overflow: the oldest is dropped and counted. About 1 MiB when full. */
export const WAITING_RECORDS_MAX = 2048;

/**
 * Lines formatted in one turn of the event loop, so that a backlog delays a call by less than half a millisecond. The rest
 * waits for the next turn.
 */
const LINES_PER_TURN_MAX = 64;

/** Of a timer that does nothing: the longest that setInterval takes (Node's documentation of setTimeout). */
const ALIVE_INTERVAL_MS = 2 ** 31 - 1;

/** What becomes a line. */
export type Entry = CallRecord | InvocationSummary | InterceptionRefusal;

/** Where lines go. Made by `log.ts`; none of it blocks. */
export interface EventLog {
  /** Formats a line and adds it to the next write. Fields that are `undefined` are left out. */
  write(level: LineLevel, fields: object): void;
  /** Begins to write what was added. */
  send(): void;
  /** Whether it holds as much as it may: lines had better wait outside. */
  readonly full: boolean;
  /** Whether all it was given has reached the kernel, or is lost. */
  readonly idle: boolean;
  /** Lines lost to errors of the destination since the beginning. */
  readonly lostLines: number;
  /** Called when a write has ended. */
  onProgress: (() => void) | null;
}

/** See the file's header. */
export class Outlet {
  readonly #clock: Clock;
  readonly #waiting = new Ring<Entry>(WAITING_RECORDS_MAX);
  readonly #flushes = new Set<() => void>();
  #log: EventLog | null = null;
  #loading = false;
  #scheduled = false;
  /** There will never be a log. */
  #off = false;
  /** Records lost for want of a log, or to an exception while they were formatted. */
  #unwritable = 0;
  #reportedLosses = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Records lost since the beginning, in the queue or at the destination. */
  get losses(): number {
    return this.#waiting.dropped + this.#unwritable + (this.#log?.lostLines ?? 0);
  }

  /** Takes a record. */
  push(record: Entry): void {
    if (this.#off) {
      this.#unwritable += 1;
      return;
    }
    this.#waiting.push(record);
    this.#schedule();
  }

  /** The log is on its way: flushes wait for it. */
  expectLog(): void {
    this.#loading = true;
  }

  /** The log is here, or (`null`) will never be: then records are counted as lost, and flushes end at once. */
  useLog(log: EventLog | null): void {
    this.#loading = false;
    this.#log = log;
    if (log !== null) {
      log.onProgress = () => this.#progress();
    } else {
      this.#off = true;
      while (this.#waiting.shift() !== undefined) this.#unwritable += 1;
    }
    this.#move();
  }

  /** Resolves when everything has reached the kernel or is lost, and after `capMs` at the latest. Never rejects. */
  flush(capMs: number): Promise<void> {
    return new Promise((resolve) => {
      // A clock's timers keep no process alive, and in one that is being shut down nothing else may: it would end here,
      // unflushed.
      const alive = setInterval(() => {}, ALIVE_INTERVAL_MS);
      const done = () => {
        clearInterval(alive);
        timer.cancel();
        this.#flushes.delete(done);
        resolve();
      };
      const timer = this.#clock.after(capMs, done);
      this.#flushes.add(done);
      this.#move();
    });
  }

  #schedule(): void {
    if (this.#scheduled || this.#log === null || this.#log.full) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#move();
    });
  }

  /** Hands one turn's worth of lines to the log. */
  #move(): void {
    const log = this.#log;
    if (log !== null) {
      for (let lines = 0; lines < LINES_PER_TURN_MAX && !log.full; lines++) {
        const record = this.#waiting.shift();
        if (record === undefined) break;
        this.#write(log, record);
      }
      log.send();
      if (this.#waiting.size > 0) this.#schedule();
    }
    this.#endFlushes();
  }

  #write(log: EventLog, record: Entry): void {
    try {
      if (record.event === "call") {
        log.write(levelOf(record), record);
        return;
      }
      if (record.event === "interception_refused") {
        log.write("warn", record);
        return;
      }
      // Counted when it is written, not when it was made: what is lost while a summary waits is in that summary.
      const losses = this.losses;
      log.write("info", summaryLine(record, losses - this.#reportedLosses));
      this.#reportedLosses = losses;
    } catch {
      this.#unwritable += 1;
    }
  }

  #progress(): void {
    if (this.#waiting.size > 0) this.#schedule();
    this.#endFlushes();
  }

  #endFlushes(): void {
    if (this.#flushes.size === 0) return;
    const emptied = this.#log === null ? !this.#loading : this.#waiting.size === 0 && this.#log.idle;
    if (emptied) for (const done of [...this.#flushes]) done();
  }
}
