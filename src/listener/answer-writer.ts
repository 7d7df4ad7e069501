/** Writes the answers of one connection, one at a time. What they say is decided by the connection, how they read in `answer.ts`. */
import type { Socket } from "node:net";
import type { Body } from "../body.ts";
import type { EgressError } from "../errors.ts";
import type { FieldLines } from "../exchange.ts";
import { BodyWriter } from "../http1/body-writer.ts";
import { interimHead } from "./answer.ts";

/** See the file's header. One per connection. */
export class AnswerWriter {
  /** The final answer to the request under way has begun. */
  begun = false;
  readonly #socket: Socket;
  /** A body that is being written. */
  #body: Body | null = null;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** An interim response (1xx, not 101). */
  interim(status: number, fields: FieldLines): void {
    this.#socket.write(interimHead(status, fields), "latin1");
  }

  /**
   * A final response: `head` as it is written, then `body`, unless it is only described (`bodiless`).
   *
   * @param done called once, at once for a body that is here: `null` after the last byte, else why it broke off
   */
  respond(
    head: string,
    body: Body,
    chunked: boolean,
    bodiless: boolean,
    done: (error: EgressError | null) => void,
  ): void {
    this.begun = true;
    if (body.whole !== null) {
      body.passedBytes = body.whole.length;
      this.#socket.write(bodiless ? head : head + body.whole, "latin1");
      return done(null);
    }
    this.#body = body;
    this.#socket.cork();
    this.#socket.write(head, "latin1");
    body.pipe(new BodyWriter(this.#socket, chunked, done));
    this.#socket.uncork();
  }

  /** A refusal in place of the response, as it is written. */
  refuse(text: string): void {
    this.begun = true;
    this.#socket.write(text, "latin1");
  }

  /** The socket takes more. */
  resume(): void {
    this.#body?.resume();
  }

  /** The application is gone: nobody takes the rest of the body. */
  cancel(error: EgressError): void {
    this.#body?.cancel(error);
  }

  /** The answer is over; another may be written. */
  over(): void {
    this.#body = null;
    this.begun = false;
  }
}
