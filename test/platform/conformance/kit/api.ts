/** The Lambda APIs as a client sees them: raw requests, whole answers, nothing assumed. */
import { type IncomingHttpHeaders, request } from "node:http";

/** An answer. */
export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** What a request may carry. */
export interface Content {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  /** Sent as chunks, followed by these trailers. */
  readonly trailers?: Readonly<Record<string, string>>;
}

/** Calls one host. Every request has a connection of its own. */
export class Api {
  readonly host: string;
  readonly port: number;

  constructor(address: string) {
    const [host = "", port = ""] = address.split(":");
    this.host = host;
    this.port = Number(port);
  }

  call(method: string, path: string, { headers = {}, body, trailers }: Content = {}): Promise<Reply> {
    const { promise, resolve, reject } = Promise.withResolvers<Reply>();
    const chunked =
      trailers === undefined
        ? {}
        : { "Transfer-Encoding": "chunked", Trailer: Object.keys(trailers).join(", ") };
    const length =
      body === undefined || trailers !== undefined ? {} : { "Content-Length": Buffer.byteLength(body) };
    const outgoing = request(
      {
        host: this.host,
        port: this.port,
        method,
        path,
        agent: false,
        headers: { ...headers, ...chunked, ...length },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () =>
          resolve({
            status: response.statusCode!,
            headers: response.headers,
            text: Buffer.concat(chunks).toString(),
          }),
        );
      },
    );
    outgoing.on("error", reject);
    // A long poll may be open when the emulator ends; whoever awaits it still sees the error.
    promise.catch(() => {});
    if (trailers !== undefined) {
      if (body !== undefined) outgoing.write(body);
      outgoing.addTrailers(trailers);
      outgoing.end();
    } else outgoing.end(body);
    return promise;
  }

  next(): Promise<Reply> {
    return this.call("GET", "/2018-06-01/runtime/invocation/next");
  }

  respond(requestId: string, content: Content = { body: "{}" }): Promise<Reply> {
    return this.call("POST", `/2018-06-01/runtime/invocation/${requestId}/response`, content);
  }

  error(requestId: string, content: Content = { body: "{}" }): Promise<Reply> {
    return this.call("POST", `/2018-06-01/runtime/invocation/${requestId}/error`, content);
  }

  initError(content: Content = { body: "{}" }): Promise<Reply> {
    return this.call("POST", "/2018-06-01/runtime/init/error", content);
  }

  register(name: string, events: readonly string[], headers: Record<string, string> = {}): Promise<Reply> {
    return this.call("POST", "/2020-01-01/extension/register", {
      headers: { "Lambda-Extension-Name": name, ...headers },
      body: JSON.stringify({ events }),
    });
  }

  /** Registers, and returns the identifier; fails when it was refused. */
  async registered(name: string, events: readonly string[]): Promise<string> {
    const reply = await this.register(name, events);
    if (reply.status !== 200) throw new Error(`${name} was not registered: ${reply.status} ${reply.text}`);
    return reply.headers["lambda-extension-identifier"] as string;
  }

  extensionNext(id: string): Promise<Reply> {
    return this.call("GET", "/2020-01-01/extension/event/next", { headers: identified(id) });
  }

  extensionError(which: "init" | "exit", id: string, errorType = "Extension.Broken"): Promise<Reply> {
    return this.call("POST", `/2020-01-01/extension/${which}/error`, {
      headers: { ...identified(id), "Lambda-Extension-Function-Error-Type": errorType },
      body: "{}",
    });
  }

  subscribe(id: string, subscription: unknown): Promise<Reply> {
    return this.call("PUT", "/2022-07-01/telemetry", {
      headers: identified(id),
      body: typeof subscription === "string" ? subscription : JSON.stringify(subscription),
    });
  }
}

function identified(id: string): Record<string, string> {
  return { "Lambda-Extension-Identifier": id };
}

/** The id in the headers of an invocation. */
export function requestIdOf(reply: Reply): string {
  return reply.headers["lambda-runtime-aws-request-id"] as string;
}

/** The body of a refusal, byte for byte. */
export function refusal(errorType: string, errorMessage: string): string {
  return `${JSON.stringify({ errorMessage, errorType })}\n`;
}
