/** Both ends of a body for tests: a source that can be told to pause, and a sink that can ask for it. */
import { Body, type BodySink, type BodySource } from "../../src/body.ts";
import type { EgressError } from "../../src/errors.ts";
import type { FieldLines } from "../../src/exchange.ts";

/** The reading side of a socket: pushes text, remembers what it was asked for. */
export class Source implements BodySource {
  readonly body: Body;
  paused = false;
  cancelledFor: EgressError | null = null;

  constructor(length: number | null = null) {
    this.body = new Body(length, this);
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  cancel(error: EgressError): void {
    this.cancelledFor = error;
  }

  push(text: string): void {
    if (!this.body.push(Buffer.from(text, "latin1"))) this.paused = true;
  }
}

/** The writing side: collects text, and asks for a pause after each piece while `full`. */
export class Sink implements BodySink {
  text = "";
  trailers: FieldLines | null = null;
  abortedFor: EgressError | null = null;
  full = false;
  /** Called within each write, before it returns. */
  onWrite: () => void = () => {};

  write(chunk: Uint8Array): boolean {
    if (this.trailers !== null || this.abortedFor !== null) throw new Error("written after its end");
    this.text += Buffer.from(chunk).latin1Slice();
    this.onWrite();
    return !this.full;
  }

  end(trailers: FieldLines): void {
    if (this.trailers !== null || this.abortedFor !== null) throw new Error("ended twice");
    this.trailers = trailers;
  }

  abort(error: EgressError): void {
    if (this.trailers !== null || this.abortedFor !== null) throw new Error("ended twice");
    this.abortedFor = error;
  }
}
