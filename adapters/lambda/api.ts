/**
 * A client for the local APIs of the Lambda sandbox (`AWS_LAMBDA_RUNTIME_API`): plain HTTP/1.1 over one kept-alive socket, one
 * call at a time, no timeouts, because the sandbox may be frozen inside any of them. On the project's own codec, since loading
 * `node:http` costs a cold start 4-6 ms.
 */
import { connect, type Socket } from "node:net";
import { Body } from "../../src/body.ts";
import { EgressError } from "../../src/errors.ts";
import type { FieldLines } from "../../src/exchange.ts";
import { BodyReader } from "../../src/http1/body-reader.ts";
import { findHead } from "../../src/http1/find-head.ts";
import { parseResponseHead, type ResponseHead } from "../../src/http1/response-head.ts";
import { writeRequestHead } from "../../src/http1/write-head.ts";

/** An answer of the API. */
export interface ApiAnswer {
  readonly status: number;
  readonly fields: FieldLines;
  /** UTF-8. */
  readonly text: string;
}

/** Answers longer than this are none of the Extensions API's. Overflow: the call fails. */
const ANSWER_BYTES_MAX = 1024 * 1024;
const HEAD_LIMITS = { headBytesMax: 16 * 1024, headerCountMax: 128, targetBytesMax: 1024 };

/** See the file's header. */
export class ApiClient {
  readonly #host: string;
  readonly #port: number;
  readonly #authority: string;
  #socket: Socket | null = null;
  /** The call under way. */
  #pending: AnswerParser | null = null;

  /** @param authority `host:port`, as `AWS_LAMBDA_RUNTIME_API` has it */
  constructor(authority: string) {
    const colon = authority.lastIndexOf(":");
    this.#authority = authority;
    this.#host = authority.slice(0, colon);
    this.#port = Number(authority.slice(colon + 1));
  }

  /** One call. Rejects when the connection fails or the answer is not HTTP. */
  call(method: "GET" | "POST" | "PUT", path: string, fields: FieldLines, body: string): Promise<ApiAnswer> {
    const payload = Buffer.from(body, "utf8").latin1Slice();
    const line = {
      method,
      path,
      authority: this.#authority,
      upgrade: "",
      expectContinue: false,
      teTrailers: false,
    };
    const framing =
      method === "GET" ? ({ kind: "none" } as const) : ({ kind: "length", bytes: payload.length } as const);
    const socket = (this.#socket ??= this.#connect());
    return new Promise((resolve, reject) => {
      const parser = new AnswerParser(method, (outcome) => {
        this.#pending = null;
        if ("error" in outcome || !outcome.keepAlive) this.#forget(socket);
        if ("error" in outcome) reject(outcome.error);
        else resolve(outcome.answer);
      });
      this.#pending = parser;
      socket.write(writeRequestHead(line, fields, framing) + payload, "latin1");
    });
  }

  /** Between two calls the end of a connection only means that the next one dials again. */
  #connect(): Socket {
    const socket = connect({ host: this.#host, port: this.#port, noDelay: true });
    const lost = (error: Error): void => {
      if (this.#socket !== socket) return;
      const pending = this.#pending;
      this.#forget(socket);
      pending?.fail(error);
    };
    socket.on("data", (chunk) => this.#pending?.feed(chunk));
    socket.on("error", lost);
    socket.on("end", () => lost(new Error("the API closed the connection")));
    socket.on("close", () => lost(new Error("the API closed the connection")));
    return socket;
  }

  #forget(socket: Socket): void {
    if (this.#socket === socket) this.#socket = null;
    socket.destroy();
  }
}

type Outcome = { readonly answer: ApiAnswer; readonly keepAlive: boolean } | { readonly error: Error };

/** Bytes → one answer, reported once. */
class AnswerParser {
  readonly #method: string;
  readonly #report: (outcome: Outcome) => void;
  #reported = false;
  #pending: Buffer = Buffer.alloc(0);
  #reader: BodyReader | null = null;

  constructor(method: string, report: (outcome: Outcome) => void) {
    this.#method = method;
    this.#report = report;
  }

  fail(error: Error): void {
    this.#done({ error });
  }

  feed(chunk: Buffer): void {
    if (this.#reader !== null) return this.#feedBody(this.#reader, chunk, 0);
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    const text = this.#pending.latin1Slice();
    const span = findHead(text);
    if (span.kind === "hopeless" || (span.kind === "partial" && text.length > HEAD_LIMITS.headBytesMax)) {
      return this.fail(new Error("the API's answer is not HTTP"));
    }
    if (span.kind === "partial") return;
    const head = parseResponseHead(text.slice(span.start, span.end), this.#method, HEAD_LIMITS);
    if (head instanceof EgressError) return this.fail(head);
    this.#readBody(head, this.#pending, span.next);
  }

  #readBody(head: ResponseHead, bytes: Buffer, at: number): void {
    const chunks: Uint8Array[] = [];
    let size = 0;
    const finish = (): void =>
      this.#done({
        keepAlive: head.keepAlive,
        answer: { status: head.status, fields: head.fields, text: Buffer.concat(chunks).toString("utf8") },
      });
    if (head.framing === "none" || (head.framing === "length" && head.contentLength === 0)) return finish();
    if (head.framing === "close") return this.fail(new Error("the API's answer has no length"));
    const body = new Body(head.contentLength, null);
    body.pipe({
      write: (chunk) => {
        size += chunk.length;
        if (size > ANSWER_BYTES_MAX) this.fail(new Error("the API's answer is too long"));
        else chunks.push(chunk);
        return true;
      },
      end: finish,
      abort: (error) => this.fail(error),
    });
    this.#reader = new BodyReader(body, head.framing, head.contentLength, false, HEAD_LIMITS.headBytesMax);
    if (at < bytes.length) this.#feedBody(this.#reader, bytes, at);
  }

  #feedBody(reader: BodyReader, bytes: Buffer, from: number): void {
    const end = reader.feed(bytes, from);
    if (typeof end === "string") this.fail(new Error(end));
  }

  #done(outcome: Outcome): void {
    if (this.#reported) return;
    this.#reported = true;
    this.#report(outcome);
  }
}
