/**
 * Idle connections, newest first, per upstream and identity. No timers: a connection's age is judged when it is wanted, by the
 * clock that moved further, so that a freeze is no special case.
 */
import type { Wire } from "./wire.ts";

/**
 * How long an upstream is trusted to keep an idle connection. Common servers close after 5 s (Node) to 75 s (nginx); closing
 * first avoids the race for most of them, and the free replay covers the rest.
 */
const IDLE_MS_MAX = 4000;
/** The same for a request that must not be sent twice: it cannot be replayed when the race is lost. */
const IDLE_UNREPEATABLE_MS_MAX = 1000;

/** See the file's header. */
export class Pool {
  readonly #idleMax: number;
  readonly #idle = new Map<string, Wire[]>();
  #count = 0;

  /** @param idleMax connections kept in all; overflow: the oldest is closed */
  constructor(idleMax: number) {
    this.#idleMax = idleMax;
  }

  /** Idle connections now. */
  get size(): number {
    return this.#count;
  }

  /** The youngest idle connection for `key` that is young enough, or `null`; older ones are closed. */
  take(key: string, repeatable: boolean): Wire | null {
    const wires = this.#idle.get(key);
    if (wires === undefined) return null;
    const wire = wires.at(-1);
    if (wire === undefined) return null;
    const idleMs = wire.idleMs();
    if (idleMs >= IDLE_MS_MAX) {
      // All others are older still.
      for (const old of wires.slice()) {
        this.remove(old);
        old.destroy();
      }
      return null;
    }
    if (!repeatable && idleMs >= IDLE_UNREPEATABLE_MS_MAX) return null;
    wires.pop();
    this.#count -= 1;
    return wire;
  }

  /** Keeps `wire` until it is wanted. */
  put(wire: Wire): void {
    const wires = this.#idle.get(wire.key);
    if (wires === undefined) this.#idle.set(wire.key, [wire]);
    else wires.push(wire);
    if (++this.#count > this.#idleMax) this.#closeOldest();
  }

  /** Forgets `wire`, which is gone. */
  remove(wire: Wire): void {
    const wires = this.#idle.get(wire.key);
    if (wires === undefined) return;
    const at = wires.indexOf(wire);
    if (at >= 0) {
      wires.splice(at, 1);
      this.#count -= 1;
    }
    // `take` leaves an empty list behind, which the next `put` most often fills again; the last connection takes it along.
    if (wires.length === 0) this.#idle.delete(wire.key);
  }

  /** Closes what has been idle for `idleMs` or longer; 0 closes all. */
  closeIdle(idleMs: number): void {
    for (const wires of [...this.#idle.values()]) {
      for (const wire of wires.slice()) {
        if (wire.idleMs() < idleMs) continue;
        this.remove(wire);
        wire.destroy();
      }
    }
  }

  #closeOldest(): void {
    let oldest: Wire | null = null;
    for (const wires of this.#idle.values()) {
      const first = wires[0];
      if (first !== undefined && (oldest === null || first.idleMs() > oldest.idleMs())) oldest = first;
    }
    if (oldest === null) return;
    this.remove(oldest);
    oldest.destroy();
  }
}
