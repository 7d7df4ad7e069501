/**
 * A streamed request body that can be sent more than once, as long as it is short.
 *
 * Passes the live body on to one attempt at a time and keeps what has passed, up to a bound, so that a further attempt starts from
 * the first byte and then goes on with the live body. The bound is never exceeded: a body that outgrows it is forgotten and streams as
 * if this were not here, and one that does so while no attempt takes it has failed. Decides nothing about retries.
 */
import { Body, type BodySink } from "../body.ts";
import { EgressError } from "../errors.ts";
import type { FieldLines } from "../exchange.ts";

/** See the file's header. Takes over `live`: nobody else may pipe it. */
export class ReplayBody {
  readonly #live: Body;
  /** Bytes that may be kept. 0 from the moment on at which keeping is pointless. */
  #bytesMax: number;
  /** The body from its first byte on, or, once `#dropped`, what the attempt has not had yet. */
  #pieces: Uint8Array[] = [];
  #bytes = 0;
  /** How many of the pieces the current attempt has had. */
  #played = 0;
  /** Something that passed was not kept: no further attempt can start from the first byte. */
  #dropped = false;
  #piped = false;
  #ended = false;
  #outgrown = false;
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

  /** It outgrew the bound when there was no attempt to take it: the call can neither go on nor begin again. */
  get outgrown(): boolean {
    return this.#outgrown;
  }

  /** Bytes that are kept now. */
  get keptBytes(): number {
    return this.#bytes;
  }

  /** Why the live body broke off, or that it is `outgrown`; or `null`. */
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

  /**
   * The body is not kept any more, and `body` goes on with it. What it has not had comes first, whatever the pace that it asks for: no
   * more than a source pushes before it obeys a pause.
   */
  #goOnUnkept(body: Body, chunk: Uint8Array): void {
    const behind = this.#pieces.slice(this.#played);
    this.#dropped = true;
    this.#keepNothing();
    for (const piece of behind) if (this.#current === body) this.#give(body, piece);
    if (this.#current === body) this.#give(body, chunk);
  }

  /** `chunk` came while no attempt was there, and cannot be kept. */
  #outgrow(): void {
    this.#outgrown = true;
    this.#failure = new EgressError(
      "OVERLOADED",
      `the request's body outgrew replay_buffer (${this.#bytesMax} bytes) between two attempts`,
    );
    this.#keepNothing();
    this.#live.cancel(this.#failure);
  }

  #keepNothing(): void {
    this.#pieces = [];
    this.#bytes = 0;
    this.#played = 0;
    this.#bytesMax = 0;
  }

  /** Where the live body goes. */
  readonly #sink: BodySink = {
    write: (chunk) => {
      const body = this.#current;
      if (this.#bytes + chunk.length > this.#bytesMax) {
        if (body !== null) this.#goOnUnkept(body, chunk);
        else if (!this.#dropped) this.#outgrow();
        // A body that was given up is read on, or it would block what comes behind it on its connection.
        return body === null || this.#wanted;
      }
      const inTurn = body !== null && this.#played === this.#pieces.length;
      this.#pieces.push(chunk);
      this.#bytes += chunk.length;
      if (!inTurn) return false;
      this.#played += 1;
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
      this.#keepNothing();
      this.#current?.fail(error);
    },
  };
}
