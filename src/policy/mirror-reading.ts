/** Keeps what a body is, up to a bound: from beside, as it passes to whoever it is for, or for itself and to drop it. */
import type { Body } from "../body.ts";
import type { EgressError } from "../errors.ts";
import { type BodyTap, tappedBody } from "./tapped-body.ts";

/**
 * Told once, when the body is complete or known to be longer than the bound; never when it breaks off.
 * @param bytes its length as its framing states it, else as many as have come
 * @param text one latin1 character per byte; `null` when it is longer than the bound
 */
export type BodyRead = (bytes: number, text: string | null) => void;

/** See the file's header. A body that is here already is read at once. */
export class Reading implements BodyTap {
  readonly #stated: number | null;
  readonly #bytesMax: number;
  readonly #ready: BodyRead;
  #pieces: Uint8Array[] = [];
  #bytes = 0;
  #over = false;

  /** @param bytesMax bytes kept at most. Overflow: none are */
  constructor({ length, whole }: Body, bytesMax: number, ready: BodyRead) {
    this.#stated = length;
    this.#bytesMax = bytesMax;
    this.#ready = ready;
    if (whole !== null) this.#finish(whole.length > bytesMax ? null : whole);
    else if (length !== null && length > bytesMax) this.#finish(null);
  }

  /** Nothing more is wanted. */
  get over(): boolean {
    return this.#over;
  }

  /** Nothing more is wanted, what has come neither. `ready` is not called any more. */
  stop(): void {
    this.#over = true;
    this.#pieces = [];
  }

  piece(bytes: Uint8Array): null {
    if (this.#over) return null;
    this.#bytes += bytes.length;
    this.#pieces.push(bytes);
    if (this.#bytes > this.#bytesMax) this.#finish(null);
    return null;
  }

  ended(error: EgressError | null): void {
    if (error !== null) this.stop();
    else if (!this.#over) this.#finish(Buffer.concat(this.#pieces).toString("latin1"));
  }

  #finish(text: string | null): void {
    this.stop();
    this.#ready(this.#stated ?? text?.length ?? this.#bytes, text);
  }
}

/** `body` as it was, read by `reading` too on its way. The end is read before it is passed on. */
export function readBeside(body: Body, reading: Reading): Body {
  return reading.over ? body : tappedBody(body, reading);
}

/**
 * Reads `body` with `reading` and drops it; what is longer than is wanted is cut off with `reason`.
 * @param brokeOff called when it ends before `reading` has what it wants
 */
export function readAndDrop(body: Body, reading: Reading, reason: EgressError, brokeOff: () => void): void {
  if (reading.over) return body.cancel(reason);
  body.pipe({
    write: (bytes) => {
      reading.piece(bytes);
      if (reading.over) body.cancel(reason);
      return true;
    },
    end: () => reading.ended(null),
    abort: brokeOff,
  });
}
