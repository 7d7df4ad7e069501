/**
 * One end of a raw connection in a test, whichever side it is: writes exact bytes, waits for exact bytes, sees how the other side
 * left. Understands no HTTP beyond where a message ends; `message.ts` does that, apart from the code under test.
 */
import type { Socket } from "node:net";

/** How the other side left: it ended its stream, or broke the connection. */
export type Parting = "end" | "reset";

/** A wait that takes longer than this hangs: it fails and says what it was for. A guard, never a measurement. */
const WAIT_MS_MAX = 20_000;

interface Waiter {
  readonly what: string;
  /** Whether the wait is over. Throws when it can never be. */
  check(): boolean;
  done(error: Error | null): void;
}

/** See the file's header. Made around a connected socket; reads at once unless `pause` is called. */
export class Peer {
  readonly socket: Socket;
  /** What has arrived, piece by piece, with its time (`performance.now()`). */
  readonly arrived: { readonly atMs: number; readonly bytes: Buffer }[] = [];
  /** Joined only when somebody looks inside: bodies of many megabytes pass here. */
  #pieces: Buffer[] = [];
  #pieceBytes = 0;
  #parting: Parting | null = null;
  #closed = false;
  #waiters: Waiter[] = [];

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (bytes: Buffer) => {
      this.arrived.push({ atMs: performance.now(), bytes });
      this.#pieces.push(bytes);
      this.#pieceBytes += bytes.length;
      this.#wake();
    });
    socket.on("end", () => this.#left("end"));
    socket.on("error", () => this.#left("reset"));
    socket.on("close", () => {
      this.#closed = true;
      this.#left("reset");
    });
  }

  /** Everything that has arrived, one character per byte. */
  get received(): string {
    return Buffer.concat(this.arrived.map(({ bytes }) => bytes)).toString("latin1");
  }

  /** What has arrived and was not taken yet. */
  get unread(): string {
    return this.#unread().toString("latin1");
  }

  /** How the other side left; `null` while it is there. */
  get parting(): Parting | null {
    return this.#parting;
  }

  /** Writes; resolves when the system has taken all of it, or the connection is gone. */
  write(bytes: string | Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      if (this.socket.destroyed) return resolve();
      this.socket.once("close", resolve);
      this.socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes, () => {
        this.socket.off("close", resolve);
        resolve();
      });
    });
  }

  /** Takes the bytes up to and with `marker`. */
  async until(marker: string): Promise<string> {
    await this.#wait(JSON.stringify(marker), () => this.#unread().includes(marker, 0, "latin1"));
    return this.#take(this.#unread().indexOf(marker, 0, "latin1") + marker.length).toString("latin1");
  }

  /** Takes `count` bytes. */
  async take(count: number): Promise<Buffer> {
    await this.#wait(`${count} bytes`, () => this.#pieceBytes >= count);
    return this.#take(count);
  }

  /** Takes all bytes until the other side ends or breaks the connection. */
  async rest(): Promise<Buffer> {
    await this.gone();
    return this.#take(this.#pieceBytes);
  }

  /** Resolves when the other side has left, and tells how. */
  async gone(): Promise<Parting> {
    await this.#wait("the other side to leave", () => this.#parting !== null);
    return this.#parting!;
  }

  /** Resolves when the connection is closed on both sides, and tells how the other side left. */
  async closed(): Promise<Parting> {
    await this.#wait("the close", () => this.#closed);
    return this.#parting!;
  }

  /** Resolves once `text` has arrived, taken already or not. */
  async seen(text: string): Promise<void> {
    await this.#wait(JSON.stringify(text), () => this.received.includes(text));
  }

  /** Resolves once `bytes` bytes have arrived in all. */
  async arrivedInAll(bytes: number): Promise<void> {
    await this.#wait(`${bytes} bytes in all`, () => this.#arrivedBytes() >= bytes);
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  /** Ends our direction; theirs stays open. */
  halfClose(): void {
    this.socket.end();
  }

  /** Breaks the connection: the other side sees a reset. */
  reset(): void {
    if ("authorized" in this.socket) this.socket.destroy();
    else this.socket.resetAndDestroy();
  }

  /** Closes both directions without ceremony. */
  destroy(): void {
    this.socket.destroy();
  }

  #arrivedBytes(): number {
    return this.arrived.reduce((sum, { bytes }) => sum + bytes.length, 0);
  }

  #unread(): Buffer {
    if (this.#pieces.length !== 1) this.#pieces = [Buffer.concat(this.#pieces)];
    return this.#pieces[0]!;
  }

  #take(count: number): Buffer {
    const unread = this.#unread();
    this.#pieces = [unread.subarray(count)];
    this.#pieceBytes = unread.length - count;
    return unread.subarray(0, count);
  }

  #left(how: Parting): void {
    this.#parting ??= how;
    this.#wake();
  }

  #wait(what: string, check: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const guard = setTimeout(
        () => waiter.done(this.#story(`waited ${WAIT_MS_MAX} ms for`, what)),
        WAIT_MS_MAX,
      );
      const waiter: Waiter = {
        what,
        check,
        done: (error) => {
          clearTimeout(guard);
          this.#waiters = this.#waiters.filter((other) => other !== waiter);
          if (error === null) resolve();
          else reject(error);
        },
      };
      this.#waiters.push(waiter);
      this.#wake();
    });
  }

  #wake(): void {
    for (const waiter of [...this.#waiters]) {
      if (waiter.check()) waiter.done(null);
      else if (this.#closed || (this.#parting !== null && !waiter.what.startsWith("the "))) {
        waiter.done(this.#story("will never get", waiter.what));
      }
    }
  }

  #story(verb: string, what: string): Error {
    const state = this.#parting === null ? "open" : `left by ${this.#parting}`;
    return new Error(
      `${verb} ${what}; connection ${state}; unread: ${JSON.stringify(this.unread.slice(0, 500))}`,
    );
  }
}
