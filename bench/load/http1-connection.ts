/**
 * A kept-alive HTTP/1.1 connection of the load generator, with one request in flight.
 */

import type { Socket } from "node:net";
import { AnswerReader } from "./answer.ts";
import type { Expected } from "./exchange.ts";
import { open, type Route } from "./route.ts";

/** One connection. `done` runs after each right answer, `failed` at the first wrong one or when the connection is lost. */
export class Http1Connection {
  readonly #request: Buffer;
  #socket!: Socket;

  private constructor(request: Buffer) {
    this.#request = request;
  }

  /** Opens a connection by `route`; rejects when it cannot be opened. */
  static async open(
    route: Route,
    { request, body }: Expected,
    done: (sentMs: number) => void,
    failed: (why: string) => void,
  ): Promise<Http1Connection> {
    const connection = new Http1Connection(Buffer.from(request, "latin1"));
    const reader = new AnswerReader(body);
    connection.#socket = await open(route, {
      bytes: (bytes) => {
        const progress = reader.read(bytes, bytes.length);
        if (progress === "complete") done(connection.#sentMs);
        else if (progress !== "partial") failed(progress.wrong);
      },
      lost: failed,
    });
    return connection;
  }

  #sentMs = 0;

  /** Sends one request; the previous one must have been answered. */
  send(): void {
    this.#sentMs = performance.now();
    this.#socket.write(this.#request);
  }

  /** Closes it at once. */
  close(): void {
    this.#socket.destroy();
  }

  /** Closes it in order: TLS says goodbye, then TCP. */
  end(): void {
    this.#socket.end(() => this.#socket.destroy());
  }
}
