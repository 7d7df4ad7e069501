/** What Node's own HTTP parser makes of a stream, through `node:http` on streams without sockets. */
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import { Duplex } from "node:stream";

/** A message that Node read to its end. */
export interface NodeMessage {
  /** Method and target, or the status. */
  readonly start: string;
  readonly body: string;
}

/** A connection of which the other end is a string. */
class Script extends Duplex {
  readonly #bytes: Buffer;
  #sent = false;

  constructor(stream: string) {
    super({ allowHalfOpen: true });
    this.#bytes = Buffer.from(stream, "latin1");
  }

  override _read(): void {
    if (this.#sent) return;
    this.#sent = true;
    this.push(this.#bytes);
    this.push(null);
  }

  override _write(_chunk: unknown, _encoding: unknown, done: () => void): void {
    done();
  }

  // What node:http asks of a socket.
  setTimeout(): this {
    return this;
  }

  setNoDelay(): this {
    return this;
  }

  setKeepAlive(): this {
    return this;
  }
}

/** Reads requests; one server for all streams. */
export class NodeRequests {
  readonly #server: Server;
  #messages: NodeMessage[] = [];

  constructor() {
    const take = (message: IncomingMessage, response?: ServerResponse): void => {
      const start = `${message.method} ${message.url}`;
      collect(message, (body) => {
        this.#messages.push({ start, body });
        response?.end();
      });
    };
    this.#server = createServer(
      { requireHostHeader: false, keepAliveTimeout: 0, maxHeaderSize: 16_384 },
      take,
    );
    this.#server.on("checkContinue", take);
    this.#server.on("checkExpectation", take);
    this.#server.on("connect", (message: IncomingMessage, socket: Duplex) => {
      this.#messages.push({ start: `CONNECT ${message.url}`, body: "" });
      socket.destroy();
    });
    // Messages that were complete before the error are told a turn later.
    this.#server.on("clientError", (_error, socket) => setImmediate(() => socket.destroy()));
  }

  /** The requests that were read to their end, in order. */
  read(stream: string): Promise<readonly NodeMessage[]> {
    this.#messages = [];
    const script = new Script(stream);
    script.on("error", () => {});
    return new Promise((resolve) => {
      script.on("close", () => resolve(this.#messages));
      this.#server.emit("connection", script);
    });
  }
}

/** The final response to a request with `method`, or `null` when Node refuses it. */
export function readNodeResponse(stream: string, method: string): Promise<NodeMessage | null> {
  return new Promise((resolve) => {
    const script = new Script(stream);
    const asked = request({ method, createConnection: () => script as never });
    let end = (message: NodeMessage | null): void => {
      end = () => {};
      script.destroy();
      resolve(message);
    };
    asked.on("error", () => end(null));
    asked.on("upgrade", (response) => end({ start: String(response.statusCode), body: "" }));
    asked.on("response", (response) => {
      response.on("error", () => end(null));
      response.on("aborted", () => end(null));
      collect(response, (body) =>
        end(response.complete ? { start: String(response.statusCode), body } : null),
      );
    });
    // The request may close before the end of its response is told.
    asked.on("close", () => setImmediate(() => end(null)));
    asked.end();
  });
}

function collect(message: IncomingMessage, done: (body: string) => void): void {
  let body = "";
  message.setEncoding("latin1");
  message.on("data", (text: string) => void (body += text));
  message.on("error", () => {});
  message.on("end", () => {
    if (message.complete) done(body);
  });
}
