/**
 * The part of the Lambda Extensions API that a start needs, on loopback: it notes when `register` arrives, answers it,
 * and leaves `event/next` open (AWS Lambda Developer Guide, "Using the Lambda Extensions API to create extensions").
 * It serves one extension at a time and is no emulator.
 */

import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

/** What is awaited of the next extension. Both promises stay pending when it never calls. */
export interface Arrival {
  /** Time of `performance.now()` at which the head of `register` arrived, in ms; rejects when the call is wrong. */
  readonly registeredAtMs: Promise<number>;
  /** Resolves at the first `event/next`: the extension has loaded what it needs and waits. */
  readonly polled: Promise<void>;
}

interface Expected {
  readonly registered: PromiseWithResolvers<number>;
  readonly polled: PromiseWithResolvers<void>;
}

/** A running stub. */
export class ExtensionsApi {
  readonly #server: Server;
  #expected: Expected | undefined;

  private constructor() {
    this.#server = createServer((request, response) => this.#answer(request, response));
  }

  /** Starts on a free port of 127.0.0.1. */
  static async open(): Promise<ExtensionsApi> {
    const api = new ExtensionsApi();
    api.#server.listen(0, "127.0.0.1");
    await once(api.#server, "listening");
    return api;
  }

  /** Host and port, as AWS_LAMBDA_RUNTIME_API carries them. */
  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Call it before the extension starts. */
  expect(): Arrival {
    const expected = { registered: Promise.withResolvers<number>(), polled: Promise.withResolvers<void>() };
    // A wrong call is reported to whoever awaits it, and to nobody when a process that does not register is measured.
    expected.registered.promise.catch(() => undefined);
    this.#expected = expected;
    return { registeredAtMs: expected.registered.promise, polled: expected.polled.promise };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const arrivedAtMs = performance.now();
    const call = `${request.method} ${request.url}`;
    if (call === "POST /2020-01-01/extension/register") {
      this.#register(request, response, arrivedAtMs).catch((error) =>
        this.#expected?.registered.reject(error),
      );
    } else if (call === "GET /2020-01-01/extension/event/next") {
      this.#expected?.polled.resolve();
    } else {
      this.#expected?.registered.reject(new Error(`unexpected call of the extension: ${call}`));
      response.writeHead(404).end();
    }
  }

  async #register(request: IncomingMessage, response: ServerResponse, arrivedAtMs: number): Promise<void> {
    const body = await text(request);
    const name = request.headers["lambda-extension-name"];
    if (!name) throw new Error("register without Lambda-Extension-Name");
    if (!Array.isArray(JSON.parse(body).events))
      throw new Error(`register without a list of events: ${body}`);
    response.writeHead(200, {
      "Content-Type": "application/json",
      "Lambda-Extension-Identifier": randomUUID(),
    });
    response.end('{"functionName":"bench","functionVersion":"$LATEST","handler":"index.handler"}');
    this.#expected?.registered.resolve(arrivedAtMs);
  }
}
