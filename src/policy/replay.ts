/**
 * A streamed request body that can be sent more than once, as long as it is short.
 *
 * Passes the live body on to one attempt at a time and keeps what has passed, up to a bound, so that a further attempt starts from
 * the first byte and then goes on with the live body. Beyond the bound what has passed is forgotten and the body streams as if
 * this were not here. Decides nothing about retries.
 */
import { Body, type BodySink } from "../body.ts";
import type { EgressError } from "../errors.ts";
import type { FieldLines } from "../exchange.ts";

/** See the file's header. Takes over `live`: nobody else may pipe it. */
export class ReplayBody {
  readonly #live: Body;
  /** Bytes that may be kept. 0 from the moment on at which keeping is pointless. */
  #bytesMax: number;
  /**
   * The body from its first byte on, or, once `#dropped`, what the attempt has not had yet. Exceeds the bound only by what the
   * source pushes before it obeys a pause.
   */
  #pieces: Uint8Array[] = [];
  #bytes = 0;
  /** How many of the pieces the current attempt has had. */
  #played = 0;
  /** Something that passed was not kept: no further attempt can start from the first byte. */
  #dropped = false;
  #piped = false;
  #ended = false;
  #trailers: FieldLines = "";
  #failure: EgressError | null = null;
  /** The body of the attempt under way; `null` before the first and when it has been abandoned. */
  #current: Body | null = null;
  /** The current attempt takes more. */
  #wanted = false;
  #playing = false;
  #abandonedFor: EgressError | null = null;
  #released = false;

  /** @param bytesMax bytes kept at most; a body that states a greater length is not kept at all */
  constructor(live: Body, bytesMax: number) {
    this.#live = live;
    this.#bytesMax = live.length !== null && live.length > bytesMax ? 0 : bytesMax;
  }

  /** Whether another attempt can have the body from its first byte. */
  get replayable(): boolean {
    return !this.#dropped && this.#failure === null;
  }

  /** Why the live body broke off, or `null`. */
  get failure(): EgressError | null {
    return this.#failure;
  }

  /** The body for the next attempt. The one before must have been abandoned; only while `replayable`. */
  attempt(): Body {
    const body: Body = new Body(this.#live.length, {
      pause: () => {},
      resume: () => {
        if (this.#current === body) this.#play(body);
      },
      cancel: (error) => {
        if (this.#current === body) this.#abandoned(error);
      },
    });
    this.#current = body;
    this.#played = 0;
    this.#wanted = false;
    return body;
  }

  /**
   * Ends the current attempt's part in the body: a sink that is still writing it is told with `error`, so that no connection is left
   * with half a request. The live body waits.
   */
  abandon(error: EgressError): void {
    const body = this.#current;
    if (body === null) return;
    this.#abandoned(error);
    body.fail(error);
  }

  /** There will be no further attempt: nothing more is kept, and a body that nobody wants any more is cancelled. */
  release(): void {
    this.#released = true;
    this.#bytesMax = 0;
    if (this.#current !== null) this.#forgetPlayed();
    else if (this.#abandonedFor !== null) this.#live.cancel(this.#abandonedFor);
  }

  #abandoned(error: EgressError): void {
    this.#current = null;
    this.#wanted = false;
    this.#abandonedFor = error;
    if (this.#released) this.#live.cancel(error);
  }

  /** The attempt takes more: first what it has not had of the kept pieces, then the live body. */
  #play(body: Body): void {
    this.#wanted = true;
    // A sink may ask for more while it is being given something; the loop below sees it.
    if (this.#playing) return;
    this.#playing = true;
    while (this.#wanted && this.#played < this.#pieces.length)
      this.#give(body, this.#pieces[this.#played++]!);
    if (this.#bytes > this.#bytesMax) this.#forgetPlayed();
    if (this.#current === body && this.#played === this.#pieces.length) this.#goOn(body);
    this.#playing = false;
  }

  /** The attempt has had all that is here. */
  #goOn(body: Body): void {
    if (this.#ended) body.end(this.#trailers);
    else if (!this.#piped) {
      this.#piped = true;
      this.#live.pipe(this.#sink);
    }
    if (this.#wanted) this.#live.resume();
  }

  #give(body: Body, piece: Uint8Array): void {
    this.#wanted = false;
    if (body.push(piece) && this.#current === body) this.#wanted = true;
  }

  #forgetPlayed(): void {
    if (this.#played === 0) return;
    for (const piece of this.#pieces.splice(0, this.#played)) this.#bytes -= piece.length;
    this.#played = 0;
    this.#dropped = true;
    this.#bytesMax = 0;
  }

  /** Where the live body goes. */
  readonly #sink: BodySink = {
    write: (chunk) => {
      const body = this.#current;
      const inTurn = body !== null && this.#played === this.#pieces.length;
      this.#pieces.push(chunk);
      this.#bytes += chunk.length;
      if (!inTurn) return false;
      this.#played += 1;
      if (this.#bytes > this.#bytesMax) this.#forgetPlayed();
      this.#give(body, chunk);
      return this.#wanted;
    },
    end: (trailers) => {
      this.#ended = true;
      this.#trailers = trailers;
      if (this.#current !== null && this.#played === this.#pieces.length) this.#current.end(trailers);
    },
    abort: (error) => {
      this.#failure = error;
      this.#pieces = [];
      this.#current?.fail(error);
    },
  };
}
