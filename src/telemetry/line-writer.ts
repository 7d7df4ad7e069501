/**
 * Writes lines to a descriptor without ever holding up the data path.
 *
 * Owns the bytes between a formatted line and the kernel, all of them printable ASCII. Lines are gathered and written in one
 * go,
 * at most one write at a time. To a pipe of our own (see `destination.ts`) it writes in place: measured, 2-5 µs of CPU a write
 * against 17-20 µs through the thread pool, and the lines are in the kernel before a sandbox can freeze. To anything else (a
 * file, a terminal, a socket) it writes through the pool, where a stuck write keeps one of the pool's threads.
 */
import { write as writeInPool, writeSync } from "node:fs";
import type { Clock } from "../clock.ts";
import type { Descriptor } from "./destination.ts";

/**
 * Bytes that wait for the kernel, the write in progress included, before more lines are refused; one line may go over. A
 * pipe's own size on Linux.
 */
export const UNWRITTEN_BYTES_MAX = 65_536;

/** Wait before a full pipe is tried again. */
export const FULL_PIPE_WAIT_MS = 5;

/** After an error of the destination (disk full, reader gone), lines are lost for so long before it is tried again. */
export const FAILED_WAIT_MS = 1000;

/** Errors that say "not now": a full pipe, a busy device, a signal. */
const PASSING_ERRORS: ReadonlySet<string | undefined> = new Set(["EAGAIN", "EBUSY", "EINTR"]);

/** See the file's header. Lines are JSON and end in a newline. */
export class LineWriter {
  readonly #descriptor: Descriptor;
  readonly #clock: Clock;
  #gathered = "";
  #gatheredLines = 0;
  /** What is being written; empty when nothing is. */
  #current: Buffer = NOTHING;
  #currentLines = 0;
  /** The destination's last byte is not the end of a line, because a write broke off after it. */
  #midLine = false;
  #brokenUntilMs = Number.NEGATIVE_INFINITY;
  /** Lines that were given and not written, since the beginning. */
  lostLines = 0;
  /** Called when a write has ended. */
  onProgress: (() => void) | null = null;

  constructor(descriptor: Descriptor, clock: Clock) {
    this.#descriptor = descriptor;
    this.#clock = clock;
  }

  /** Whether lines had better wait outside. */
  get full(): boolean {
    return this.#gathered.length + this.#current.length >= UNWRITTEN_BYTES_MAX;
  }

  /** Whether nothing waits for the kernel. */
  get idle(): boolean {
    return this.#gatheredLines === 0 && this.#current === NOTHING;
  }

  /** Gathers a line. */
  add(line: string): void {
    this.#gathered += line;
    this.#gatheredLines += 1;
  }

  /** Writes what was gathered, now or when the write in progress has ended. */
  send(): void {
    if (this.#gatheredLines === 0 || this.#current !== NOTHING) return;
    const text = this.#midLine ? `\n${this.#gathered}` : this.#gathered;
    const lines = this.#gatheredLines;
    this.#gathered = "";
    this.#gatheredLines = 0;
    if (this.#clock.now() < this.#brokenUntilMs) {
      this.lostLines += lines;
      return;
    }
    this.#currentLines = lines;
    this.#write(asciiBytes(text));
  }

  #write(bytes: Buffer): void {
    this.#current = bytes;
    if (!this.#descriptor.nonBlocking) {
      writeInPool(this.#descriptor.fd, bytes, (error, written) => this.#written(error, written));
      return;
    }
    let written = 0;
    try {
      written = writeSync(this.#descriptor.fd, bytes);
    } catch (error) {
      this.#written(error as NodeJS.ErrnoException, 0);
      return;
    }
    this.#written(null, written);
  }

  #written(error: NodeJS.ErrnoException | null, bytes: number): void {
    if (error === null ? bytes === 0 : PASSING_ERRORS.has(error.code)) {
      this.#clock.after(FULL_PIPE_WAIT_MS, () => this.#write(this.#current));
      return;
    }
    if (error === null && bytes < this.#current.length) {
      this.#midLine = this.#current[bytes - 1] !== NEWLINE;
      this.#write(this.#current.subarray(bytes));
      return;
    }
    if (error === null) {
      this.#midLine = false;
    } else {
      this.lostLines += this.#currentLines;
      this.#brokenUntilMs = this.#clock.now() + FAILED_WAIT_MS;
    }
    this.#current = NOTHING;
    this.onProgress?.();
    this.send();
  }
}

/**
 * Lines of JSON with everything outside printable ASCII written as `\uXXXX`. JSON has escaped what is below a blank already
 * (RFC 8259 §7); it lets through DEL, the C1 controls (a terminal takes 0x9B for ESC [), U+2028, U+2029 and the bidirectional
 * controls.
 */
export function asciiBytes(lines: string): Buffer {
  const bytes = Buffer.from(lines, "utf8");
  // Two searches at memory speed find out that there is nothing to do, which is nearly always.
  if (bytes.length === lines.length && bytes.indexOf(DELETE) < 0) return bytes;
  return Buffer.from(lines.replace(/[^\x20-\x7e\n]/g, escaped), "latin1");
}

function escaped(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

const DELETE = 0x7f;
const NOTHING: Buffer = Buffer.alloc(0);
const NEWLINE = 10;
