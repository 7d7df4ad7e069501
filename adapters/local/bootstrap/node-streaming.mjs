/**
 * Response streaming: `awslambda.streamifyResponse` and `awslambda.HttpResponseStream`.
 *
 * Owns the global, the writable that a handler gets, and how a stream that fails halfway says so in its trailers. Source:
 * "Response streaming for Lambda functions" and "Building a custom runtime" of the AWS Lambda Developer Guide.
 */
import { Writable } from "node:stream";
import { describeError } from "./node-logging.mjs";

const STREAMING = Symbol.for("aws.lambda.runtime.handler.streaming");
const HTTP_INTEGRATION = "application/vnd.awslambda.http-integration-response";
/** Ends the JSON prelude of an HTTP response. */
const PRELUDE_END = Buffer.alloc(8);

/** Defines the global `awslambda`. */
export function installStreaming() {
  globalThis.awslambda = {
    streamifyResponse(handler) {
      handler[STREAMING] = "response";
      return handler;
    },
    HttpResponseStream: {
      from(stream, prelude) {
        stream.setContentType(HTTP_INTEGRATION);
        stream.write(JSON.stringify(prelude));
        stream.write(PRELUDE_END);
        return stream;
      },
    },
  };
}

/** Whether the handler writes to a stream. */
export function isStreaming(handler) {
  return handler[STREAMING] === "response";
}

/** Runs a streaming handler. An error before the first byte is an ordinary error, a later one ends the stream with trailers. */
export async function runStreaming(client, requestId, handler, event, context) {
  const stream = new ResponseStream(client, requestId);
  try {
    await handler(event, stream, context);
    if (!stream.writableEnded) stream.end();
  } catch (error) {
    if (!stream.opened) throw error;
    stream.abortWith(describeError(error));
  }
  await stream.answered;
}

/** Opens its request at the first byte, when the content type is known. */
class ResponseStream extends Writable {
  opened = false;
  #client;
  #requestId;
  #contentType = "application/octet-stream";
  #outgoing;
  #answered = Promise.withResolvers();

  constructor(client, requestId) {
    super();
    this.#client = client;
    this.#requestId = requestId;
  }

  /** Resolves when the Runtime API has taken the stream. */
  get answered() {
    return this.#answered.promise;
  }

  setContentType(contentType) {
    if (this.opened) throw new Error("The content type cannot change once the stream has begun");
    this.#contentType = contentType;
  }

  /** Ends the stream with an error that the caller can tell from a complete response. */
  abortWith(error) {
    this.#outgoing.addTrailers({
      "Lambda-Runtime-Function-Error-Type": error.errorType,
      "Lambda-Runtime-Function-Error-Body": Buffer.from(JSON.stringify(error)).toString("base64"),
    });
    this.#outgoing.end();
  }

  _write(chunk, encoding, done) {
    if (this.#open().write(chunk, encoding)) done();
    else this.#outgoing.once("drain", done);
  }

  _final(done) {
    this.#open().end(done);
  }

  #open() {
    if (!this.opened) {
      this.opened = true;
      const { resolve, reject } = this.#answered;
      this.#outgoing = this.#client.openStream(this.#requestId, this.#contentType, resolve, reject);
    }
    return this.#outgoing;
  }
}
