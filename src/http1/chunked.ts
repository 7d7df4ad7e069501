/**
 * The chunked coding, read strictly and incrementally (RFC 9112 §7.1). Extensions are checked and dropped, trailers are checked
 * and filtered. Knows no sockets.
 */
import type { FieldLines } from "../exchange.ts";
import { withoutField } from "./fields.ts";

/** What the decoder hands on. */
export interface ChunkSink {
  data(bytes: Uint8Array): void;
  end(trailers: FieldLines): void;
}

/** A chunk-size line, extensions included. Overflow: the message is invalid (CVE-2024-22019: endless extensions). */
const SIZE_LINE_BYTES_MAX = 1024;
/** Extension bytes of a whole message. Overflow: the message is invalid. */
const EXTENSION_BYTES_MAX = 16 * 1024;

/** 1*HEX of at most 13 digits (4 PB), then extensions of tokens and quoted strings. */
const SIZE_LINE =
  /^([0-9A-Fa-f]{1,13})((?:[ \t]*;[ \t]*[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:=(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+|"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"))?)*)$/;
const TRAILER_SECTION = /^(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*$/;

/** RFC 9110 §6.5.1: framing, routing, authentication and request modifiers mean nothing in a trailer, or worse, something. */
const FORBIDDEN_TRAILERS: readonly string[] = (
  "transfer-encoding content-length host connection keep-alive te trailer upgrade proxy-connection proxy-authorization " +
  "proxy-authenticate authorization www-authenticate cookie set-cookie content-encoding content-type content-range " +
  "expect max-forwards range cache-control if-match if-none-match if-modified-since if-unmodified-since if-range"
).split(" ");

type State = "size" | "data" | "data_end" | "trailers" | "done";

/** Fed with what arrives; calls its sink. One per body. */
export class ChunkedDecoder {
  readonly #sink: ChunkSink;
  readonly #trailerBytesMax: number;
  #state: State = "size";
  /** Part of a size line, of a data CRLF or of the trailer section that has arrived, latin1. */
  #line = "";
  #leftInChunk = 0;
  #extensionBytes = 0;

  constructor(sink: ChunkSink, trailerBytesMax: number) {
    this.#sink = sink;
    this.#trailerBytesMax = trailerBytesMax;
  }

  get done(): boolean {
    return this.#state === "done";
  }

  /**
   * Reads `bytes` from `from`. Returns the index behind the last byte that belongs to the body (less than `bytes.length` only
   * when the body is done), or a sentence saying why the body is invalid.
   */
  feed(bytes: Buffer, from: number): number | string {
    let at = from;
    while (at < bytes.length && this.#state !== "done") {
      if (this.#state === "data") {
        const take = Math.min(this.#leftInChunk, bytes.length - at);
        this.#sink.data(bytes.subarray(at, at + take));
        this.#leftInChunk -= take;
        at += take;
        if (this.#leftInChunk === 0) this.#state = "data_end";
        continue;
      }
      const lf = bytes.indexOf(10, at);
      const end = lf < 0 ? bytes.length : lf + 1;
      this.#line += bytes.latin1Slice(at, end);
      at = end;
      const problem = lf < 0 ? this.#checkPartial() : this.#readLine();
      if (problem !== null) return problem;
    }
    return at;
  }

  #checkPartial(): string | null {
    const max =
      this.#state === "trailers" ? this.#trailerBytesMax : this.#state === "size" ? SIZE_LINE_BYTES_MAX : 2;
    return this.#line.length > max
      ? `${this.#state.replace("_", " ")} line too long in a chunked body`
      : null;
  }

  /** `#line` has just got an LF. */
  #readLine(): string | null {
    const line = this.#line;
    if (line.charCodeAt(line.length - 2) !== 13) return "bare LF in a chunked body";
    switch (this.#state) {
      case "data_end":
        if (line !== "\r\n") return "chunk data longer than its size";
        this.#state = "size";
        break;
      case "size": {
        const match = SIZE_LINE.exec(line.slice(0, -2));
        if (match === null || line.length > SIZE_LINE_BYTES_MAX) return "malformed chunk size";
        this.#extensionBytes += match[2]!.length;
        if (this.#extensionBytes > EXTENSION_BYTES_MAX) return "too many chunk extensions";
        this.#leftInChunk = Number.parseInt(match[1]!, 16);
        this.#state = this.#leftInChunk === 0 ? "trailers" : "data";
        break;
      }
      default:
        return this.#readTrailerLine();
    }
    this.#line = "";
    return null;
  }

  /** In the trailer section `#line` grows by whole lines until the empty one. */
  #readTrailerLine(): string | null {
    if (this.#line.length > this.#trailerBytesMax) return "trailer section too large";
    if (this.#line !== "\r\n" && !this.#line.endsWith("\r\n\r\n")) return null;
    const section = this.#line.slice(0, -2);
    if (!TRAILER_SECTION.test(section)) return "malformed trailer";
    this.#line = "";
    this.#state = "done";
    let trailers = section;
    if (trailers !== "") for (const name of FORBIDDEN_TRAILERS) trailers = withoutField(trailers, name);
    this.#sink.end(trailers);
    return null;
  }
}
