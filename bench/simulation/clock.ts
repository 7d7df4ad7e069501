/**
 * Virtual time for a whole simulation: the same as `VirtualClock`, with a heap in place of a list, because hundreds of clients arm
 * hundreds of thousands of timers. Timers that are due at the same time fire in the order in which they were armed.
 */

import type { Clock, Timer } from "../../src/clock.ts";

interface Armed {
  readonly dueMs: number;
  readonly order: number;
  fire: (() => void) | null;
}

/** See the file's header. */
export class SimulationClock implements Clock {
  #nowMs = 0;
  #armed = 0;
  readonly #wallAtStartMs: number;
  /** A binary heap, the earliest at its root. */
  readonly #heap: Armed[] = [];

  constructor(wallAtStartMs = 1_790_000_000_000) {
    this.#wallAtStartMs = wallAtStartMs;
  }

  now(): number {
    return this.#nowMs;
  }

  wall(): number {
    return this.#wallAtStartMs + this.#nowMs;
  }

  after(ms: number, fire: () => void): Timer {
    const entry: Armed = { dueMs: this.#nowMs + Math.max(0, ms), order: this.#armed++, fire };
    this.#insert(entry);
    return {
      cancel: () => {
        entry.fire = null;
      },
    };
  }

  /** Lets time pass until `endMs`. Promise reactions run between two timers. */
  async runUntil(endMs: number): Promise<void> {
    await reactions();
    while (this.#heap.length > 0 && this.#heap[0]!.dueMs <= endMs) {
      const { dueMs, fire } = this.#takeFirst();
      if (fire === null) continue;
      this.#nowMs = dueMs;
      fire();
      await reactions();
    }
    this.#nowMs = endMs;
  }

  #insert(entry: Armed): void {
    const heap = this.#heap;
    let at = heap.push(entry) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (!isBefore(entry, heap[above]!)) break;
      heap[at] = heap[above]!;
      at = above;
    }
    heap[at] = entry;
  }

  #takeFirst(): Armed {
    const heap = this.#heap;
    const first = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && isBefore(heap[below + 1]!, heap[below]!)) below += 1;
      if (!isBefore(heap[below]!, last)) break;
      heap[at] = heap[below]!;
      at = below;
    }
    heap[at] = last;
    return first;
  }
}

function isBefore(a: Armed, b: Armed): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);
}

/** One turn of the event loop lets every promise reaction that is ready run, however long the chain. */
function reactions(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
