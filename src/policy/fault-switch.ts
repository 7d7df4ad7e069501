/**
 * When faults end: at their expiry, or while the kill switch's file exists. Owns both looks, and no timer that runs by itself.
 *
 * In doubt there are no faults: a file that cannot be looked at counts as existing.
 */
import { access } from "node:fs";
import type { Clock } from "../clock.ts";
import type { FaultOptions } from "../config/types.ts";

/** The file is looked at again after this long by either clock, milliseconds, and at each new invocation. */
const LOOK_AGAIN_MS = 1000;

/** A look that takes longer (a network file system that hangs) counts as a file that exists, milliseconds. */
export const LOOK_MS_MAX = 250;

/** What the switch reads of the options. */
export type FaultSwitchOptions = Pick<FaultOptions, "expiresWallMs" | "killSwitchFile">;

/** Resolves with whether there is a file at `path`. */
export type FileExists = (path: string) => Promise<boolean>;

/** Asks the file system. Only "there is no such file" means no. */
export const fileExists: FileExists = (path) =>
  new Promise((resolve) => {
    access(path, (error) => resolve(error === null || (error.code !== "ENOENT" && error.code !== "ENOTDIR")));
  });

/** The last look at the file. */
interface Look {
  readonly nowMs: number;
  readonly wallMs: number;
  readonly sequence: number;
  /** What it showed, or its promise while it is under way. */
  exists: boolean | Promise<boolean>;
}

/** See the file's header. */
export class FaultSwitch {
  readonly #options: FaultSwitchOptions;
  readonly #clock: Clock;
  readonly #workSequence: () => number;
  readonly #fileExists: FileExists;
  /** The expiry by the monotonic clock, for a wall clock that is set back later. */
  readonly #expiresMs: number;
  #expired = false;
  #look: Look | null = null;

  /** @param workSequence ordinal of the running invocation: another one has the file looked at again */
  constructor(
    options: FaultSwitchOptions,
    clock: Clock,
    workSequence: () => number,
    exists: FileExists = fileExists,
  ) {
    this.#options = options;
    this.#clock = clock;
    this.#workSequence = workSequence;
    this.#fileExists = exists;
    this.#expiresMs = clock.now() + (options.expiresWallMs - clock.wall());
  }

  /** Whether the expiry has passed by either clock: in a freeze the monotonic one may stand still. Once true, it stays so. */
  get expired(): boolean {
    const { expiresWallMs } = this.#options;
    this.#expired ||= this.#clock.wall() >= expiresWallMs || this.#clock.now() >= this.#expiresMs;
    return this.#expired;
  }

  /** Whether the kill switch's file exists, as of the last second; a promise when it has to be looked at. */
  killed(): boolean | Promise<boolean> {
    if (this.#options.killSwitchFile === "") return false;
    if (this.#look !== null && !this.#isStale(this.#look)) return this.#look.exists;
    const look: Look = {
      nowMs: this.#clock.now(),
      wallMs: this.#clock.wall(),
      sequence: this.#workSequence(),
      exists: this.#lookNow().then((exists) => {
        look.exists = exists;
        return exists;
      }),
    };
    this.#look = look;
    return look.exists;
  }

  #isStale({ nowMs, wallMs, sequence }: Look): boolean {
    const wallStepMs = this.#clock.wall() - wallMs;
    return (
      sequence !== this.#workSequence() ||
      this.#clock.now() - nowMs >= LOOK_AGAIN_MS ||
      wallStepMs >= LOOK_AGAIN_MS ||
      wallStepMs < 0
    );
  }

  #lookNow(): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = this.#clock.after(LOOK_MS_MAX, () => resolve(true));
      const seen = (exists: boolean) => {
        timer.cancel();
        resolve(exists);
      };
      this.#fileExists(this.#options.killSwitchFile).then(seen, () => seen(true));
    });
  }
}
