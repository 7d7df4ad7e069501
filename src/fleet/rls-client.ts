/**
 * Asks a rate limit service over gRPC (gRPC over HTTP/2, grpc/doc/PROTOCOL-HTTP2.md): one connection in clear text, made when it is first
 * needed, and a stream for each question. Loaded with the first question, because `node:http2` is.
 */
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from "node:http2";
import type { Clock } from "../clock.ts";
import type { EgressError } from "../errors.ts";
import type { EgressRequest } from "../exchange.ts";
import type { DescriptorEntry, RateVerdict } from "../policy/rate-source.ts";
import { requestMessage, SHOULD_RATE_LIMIT, verdictIn } from "./rls-messages.ts";

/** An answer's bytes at most. Overflow: there is no verdict. */
const ANSWER_BYTES_MAX = 65_536;

/** Questions at once. Overflow: there is no verdict for the next. */
const QUESTIONS_MAX = 512;

/** A message's prefix: not compressed, and its length. */
const PREFIX_BYTES = 5;

/** Whom to ask, and how long to wait for an answer, the connection included. */
export interface RlsOptions {
  /** `host:port`. */
  readonly authority: string;
  readonly domain: string;
  readonly timeoutMs: number;
}

/** See the file's header. */
export class RlsClient {
  readonly #options: RlsOptions;
  readonly #clock: Clock;
  #session: ClientHttp2Session | null = null;
  #questions = 0;

  constructor(options: RlsOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
  }

  /** See `RateLimitJudge.ask`. */
  async ask(
    entries: readonly DescriptorEntry[],
    request: Pick<EgressRequest, "cancelled">,
  ): Promise<RateVerdict> {
    if (this.#questions >= QUESTIONS_MAX) throw new Error(`${QUESTIONS_MAX} questions are open already`);
    this.#questions += 1;
    try {
      const message = requestMessage(this.#options.domain, entries);
      return verdictIn(await this.#call(message, request));
    } finally {
      this.#questions -= 1;
    }
  }

  /** Closes the connection behind the questions that are on it; the next one makes another. */
  forget(): void {
    this.#session?.close();
    this.#session = null;
  }

  #call(message: Uint8Array, { cancelled }: Pick<EgressRequest, "cancelled">): Promise<Uint8Array> {
    const { timeoutMs } = this.#options;
    return new Promise((resolve, reject) => {
      const session = this.#connected();
      const stream = session.request(
        {
          ":method": "POST",
          ":path": SHOULD_RATE_LIMIT,
          "content-type": "application/grpc",
          te: "trailers",
          "grpc-timeout": `${timeoutMs}m`,
          "user-agent": "outrider",
        },
        { endStream: false },
      );
      const end = (finish: () => void): void => {
        timer.cancel();
        cancelled.off(give);
        finish();
      };
      const give = (reason: EgressError): void => {
        end(() => reject(reason));
        stream.close(constants.NGHTTP2_CANCEL);
      };
      const timer = this.#clock.after(timeoutMs, () => {
        end(() => reject(new Error(`no answer in ${timeoutMs} ms`)));
        // A connection that died unnoticed, in a freeze for instance, would cost every further question the same.
        if (this.#session === session) this.#session = null;
        session.destroy();
      });
      answerOf(stream).then(
        (answer) => end(() => resolve(answer)),
        (error) => end(() => reject(error)),
      );
      cancelled.on(give);
      stream.end(framed(message));
    });
  }

  #connected(): ClientHttp2Session {
    if (this.#session !== null && !this.#session.closed && !this.#session.destroyed) return this.#session;
    const session = connect(`http://${this.#options.authority}`, {
      maxSessionMemory: 10,
      settings: { enablePush: false },
    });
    // Each stream is told what happened to its connection.
    session.on("error", () => {});
    session.on("goaway", () => {
      if (this.#session === session) this.#session = null;
    });
    session.unref();
    this.#session = session;
    return session;
  }
}

function framed(message: Uint8Array): Uint8Array {
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** The message that `stream` brings; rejects when it ends otherwise than with one and `grpc-status: 0`. */
function answerOf(stream: ClientHttp2Stream): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    let status: string | undefined;
    let httpStatus: number | undefined;
    stream.on("response", (headers) => {
      httpStatus = headers[":status"];
      status = oneOf(headers["grpc-status"]);
    });
    stream.on("trailers", (trailers) => (status = oneOf(trailers["grpc-status"])));
    stream.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > ANSWER_BYTES_MAX) stream.close(constants.NGHTTP2_CANCEL);
      else chunks.push(chunk);
    });
    stream.on("error", (error) => reject(error));
    stream.on("close", () => {
      if (bytes > ANSWER_BYTES_MAX) return reject(new Error(`its answer is over ${ANSWER_BYTES_MAX} bytes`));
      if (httpStatus === undefined) return reject(new Error("the connection ended before its answer"));
      if (httpStatus !== 200) return reject(new Error(`it answered with status ${httpStatus}`));
      if (status !== "0") return reject(new Error(`it answered with grpc-status ${status ?? "none"}`));
      const answer = Buffer.concat(chunks);
      if (
        answer.length < PREFIX_BYTES ||
        answer[0] !== 0 ||
        answer.readUInt32BE(1) !== answer.length - PREFIX_BYTES
      ) {
        return reject(new Error("its answer is not one message without compression"));
      }
      resolve(answer.subarray(PREFIX_BYTES));
    });
  });
}

const oneOf = (value: string | string[] | undefined): string | undefined =>
  Array.isArray(value) ? value[0] : value;
