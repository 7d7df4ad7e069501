/**
 * The codec without sockets: a stream of messages in, what would be sent on out. Reads as the listener and the upstream's connection
 * do, message by message, in pieces of any size.
 */
import { Body } from "../../src/body.ts";
import { type ListenerRole, targetOf } from "../../src/capture/target.ts";
import type { Limits } from "../../src/config/types.ts";
import { EgressError } from "../../src/errors.ts";
import { BodyReader } from "../../src/http1/body-reader.ts";
import { BodyWriter, type ByteSink } from "../../src/http1/body-writer.ts";
import type { RequestHead } from "../../src/http1/request-head.ts";
import {
  CHUNKED,
  NO_BODY,
  type OutgoingFraming,
  writeRequestHead,
  writeResponseHead,
} from "../../src/http1/write-head.ts";
import { readHead as readRequestHead } from "../../src/listener/read-head.ts";
import { readHead as readResponseHead } from "../../src/upstream/read-head.ts";
import { testConfig } from "./proxy.ts";

/** A message that was read to its end. */
export interface Relayed {
  /** Method and target, or the status. */
  readonly start: string;
  readonly body: string;
  /** The whole message as it would be sent on. */
  readonly canonical: string;
}

/** What became of a stream. */
export interface Reading {
  readonly messages: readonly Relayed[];
  /** Why the stream was refused, or `null`. */
  readonly problem: string | null;
  /** Body bytes of the message that had not ended when the stream did; `null` when none had begun. */
  readonly unfinished: string | null;
  /** Bytes behind the last message: not understood yet, or not HTTP any more. */
  readonly rest: string;
}

/** How one kind of message is read; the loop below is the same for both. */
interface Codec {
  /** The head at the front of `bytes`: `null` while it is not whole. */
  head(bytes: Buffer): Understood | EgressError | null;
}

interface Understood {
  readonly start: string;
  readonly next: number;
  readonly framing: "none" | "length" | "chunked" | "close";
  readonly length: number;
  /** Another message may follow on the same connection. */
  readonly goesOn: boolean;
  /** An interim response: it is sent on and the final one follows. */
  write(framing: OutgoingFraming): string;
}

const LIMITS: Limits = testConfig().limits;

const PROXY: ListenerRole = { kind: "proxy" };
const LOCAL: ListenerRole = { kind: "local", destination: "d", scheme: "http", host: "d.example", port: 80 };

/** Whether `head` names a target to a listener of either role: an error, or `null`. CONNECT is always judged. */
function targetProblem(head: RequestHead, capture: boolean): EgressError | null {
  if (!capture && head.method !== "CONNECT") return null;
  const asProxy = targetOf(head, PROXY);
  if (!(asProxy instanceof EgressError)) return null;
  return targetOf(head, LOCAL) instanceof EgressError ? asProxy : null;
}

const requests = (capture: boolean): Codec => ({
  head: (bytes) => {
    const read = readRequestHead(bytes, LIMITS);
    if (read === null || read instanceof EgressError) return read;
    const { head, next } = read;
    const problem = targetProblem(head, capture);
    if (problem !== null) return problem;
    return {
      start: `${head.method} ${head.target}`,
      next,
      framing: head.bodyLength === null ? "chunked" : head.hasLength ? "length" : "none",
      length: head.bodyLength ?? 0,
      goesOn: head.keepAlive && head.method !== "CONNECT" && head.upgrade === "",
      write: (framing) =>
        writeRequestHead({ ...head, path: head.target, authority: head.host ?? "" }, head.fields, framing),
    };
  },
});

const responsesTo = (method: string): Codec => ({
  head: (bytes) => {
    const read = readResponseHead(bytes.latin1Slice(), method, LIMITS);
    if (read === null || read instanceof EgressError) return read;
    const { head, next } = read;
    return {
      start: String(head.status),
      next,
      framing: head.framing,
      length: head.contentLength,
      goesOn: head.status < 200 ? head.status !== 101 : head.keepAlive,
      write: (framing) =>
        writeResponseHead({ ...head, keepAlive: true, sayKeepAlive: false }, head.fields, framing),
    };
  },
});

/** Reads `stream` (latin1) as a client's connection, in pieces of `pieceBytes`; with `capture`, targets are judged too. */
export function readRequests(
  stream: string,
  { pieceBytes = Number.POSITIVE_INFINITY, capture = false } = {},
): Reading {
  return read(requests(capture), stream, pieceBytes, false);
}

/** Reads `stream` (latin1) as an upstream's connection that answers requests with `method`, and that ends behind it if `ends`. */
export function readResponses(
  stream: string,
  { method = "GET", pieceBytes = Number.POSITIVE_INFINITY, ends = false } = {},
): Reading {
  return read(responsesTo(method), stream, pieceBytes, ends);
}

function read(codec: Codec, stream: string, pieceBytes: number, ends: boolean): Reading {
  const messages: Relayed[] = [];
  const state: { message: OpenMessage | null } = { message: null };
  let pending = "";
  const result = (problem: string | null): Reading => ({
    messages,
    problem,
    unfinished: state.message === null ? null : state.message.body,
    rest: pending,
  });
  for (let at = 0; at < stream.length; at += pieceBytes) {
    pending += stream.slice(at, at + pieceBytes);
    while (pending !== "") {
      if (state.message === null) {
        const head = codec.head(Buffer.from(pending, "latin1"));
        if (head === null) break;
        if (head instanceof EgressError) return result(`${head.code}: ${head.message}`);
        pending = pending.slice(head.next);
        state.message = new OpenMessage(head);
      }
      const { message } = state;
      const next = message.feed(Buffer.from(pending, "latin1"));
      if (typeof next === "string") return result(next);
      pending = pending.slice(next);
      if (!message.done) break;
      messages.push(message.relayed());
      state.message = null;
      if (!message.head.goesOn) {
        pending += stream.slice(at + pieceBytes);
        return result(null);
      }
    }
  }
  if (ends && state.message?.head.framing === "close") {
    state.message.connectionEnded();
    messages.push(state.message.relayed());
    state.message = null;
  }
  return result(null);
}

/** A message whose head is here, and what has been written of it. */
class OpenMessage {
  readonly head: Understood;
  body = "";
  #written: string;
  readonly #reader: BodyReader | null;

  constructor(head: Understood) {
    this.head = head;
    const framing = outgoing(head);
    this.#written = head.write(framing);
    if (head.framing === "none" || (head.framing === "length" && head.length === 0)) {
      this.#reader = null;
      return;
    }
    const body = new Body(head.framing === "length" ? head.length : null, null);
    this.#reader = new BodyReader(body, head.framing, head.length, true, LIMITS.headBytesMax);
    const writer = new BodyWriter(this.#sink(), framing === CHUNKED, () => {});
    body.pipe({
      write: (chunk) => {
        this.body += Buffer.from(chunk).latin1Slice();
        return writer.write(chunk);
      },
      end: (trailers) => writer.end(trailers),
      abort: (error) => writer.abort(error),
    });
  }

  get done(): boolean {
    return this.#reader === null || this.#reader.done;
  }

  feed(bytes: Buffer): number | string {
    return this.#reader === null ? 0 : this.#reader.feed(bytes, 0);
  }

  connectionEnded(): void {
    this.#reader!.body.end();
  }

  relayed(): Relayed {
    return { start: this.head.start, body: this.body, canonical: this.#written };
  }

  #sink(): ByteSink {
    return {
      write: (bytes: Uint8Array | string) => {
        this.#written += typeof bytes === "string" ? bytes : Buffer.from(bytes).latin1Slice();
        return true;
      },
      cork: () => {},
      uncork: () => {},
    };
  }
}

/** As the listener and the upstream's connection frame what they send on. */
function outgoing(head: Understood): OutgoingFraming {
  switch (head.framing) {
    case "none":
      return NO_BODY;
    case "length":
      return { kind: "length", bytes: head.length };
    default:
      return CHUNKED;
  }
}
