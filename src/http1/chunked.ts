/**
 * The chunked coding, read strictly and incrementally (RFC 9112 §7.1). Extensions are checked and dropped, trailers are checked
 * and filtered. Knows no sockets.
 */
import type { FieldLines } from "../exchange.ts";
import { withoutFields } from "./fields.ts";

/** A chunk-size line, extensions included. Overflow: the message is invalid (CVE-2024-22019: endless extensions). */
const SIZE_LINE_BYTES_MAX = 1024;
/** Extension bytes of a whole message. Overflow: the message is invalid. */
const EXTENSION_BYTES_MAX = 16 * 1024;

/**
 * 1*HEX of at most 13 digits (4 PB), then extensions of tokens and quoted strings. No blanks around the semicolon: RFC 9112
 * §7.1.1 lets a recipient read them, Node's parser refuses them, and nobody sends them.
 */
const SIZE_LINE =
  /^([0-9A-Fa-f]{1,13})((?:;[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:=(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+|"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"))?)*)$/;
const TRAILER_SECTION = /^(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*$/;

/**
 * RFC 9110 §6.5.1, RFC 7230 §4.1.2: framing, routing, authentication, request modifiers and response control data mean nothing in
 * a trailer, or worse, something.
 */
export const FORBIDDEN_TRAILERS: ReadonlySet<string> = new Set(
  (
    "transfer-encoding content-length host connection keep-alive te trailer upgrade http2-settings proxy proxy-connection " +
    "proxy-authorization proxy-authenticate proxy-authentication-info authorization authentication-info www-authenticate cookie " +
    "set-cookie content-encoding content-type content-range content-location expect max-forwards range cache-control pragma " +
    "if-match if-none-match if-modified-since if-unmodified-since if-range age date expires location retry-after vary warning"
  ).split(" "),
);

type State = "size" | "data" | "data_end" | "trailers" | "done";

/** Fed with what arrives; what each piece held is in `dataFrom` and `dataTo` afterwards. One per body. */
export class ChunkedDecoder {
  /** Where the data of the last piece begins and ends in it. */
  dataFrom = 0;
  dataTo = 0;
  /** What may be passed on of the trailer section, once `done`. */
  trailers: FieldLines = "";
  readonly #trailerBytesMax: number;
  #state: State = "size";
  /** The part of a line that has arrived, latin1. */
  #line = "";
  /** Whole lines of the trailer section. */
  #section = "";
  #leftInChunk = 0;
  #extensionBytes = 0;

  /** @param trailerBytesMax bound of the trailer section; overflow: the message is invalid */
  constructor(trailerBytesMax: number) {
    this.#trailerBytesMax = trailerBytesMax;
  }

  /** The last chunk and the trailer section have been read. */
  get done(): boolean {
    return this.#state === "done";
  }

  /**
   * Reads `bytes` from `from`. Returns the index behind the last byte that belongs to the body (less than `bytes.length` only
   * when the body is done), or a sentence saying why the body is invalid.
   *
   * The data of several chunks is moved together in `bytes`, over their frames, so that it can be passed on as one piece: one
   * write for each of ten thousand one-byte chunks would cost a thousand times what the peer paid for sending them.
   */
  feed(bytes: Buffer, from: number): number | string {
    let at = from;
    this.dataFrom = this.dataTo = from;
    while (at < bytes.length && this.#state !== "done") {
      if (this.#state === "data") {
        at = this.#readData(bytes, at);
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

  #readData(bytes: Buffer, at: number): number {
    const end = Math.min(at + this.#leftInChunk, bytes.length);
    if (this.dataTo === this.dataFrom) {
      this.dataFrom = at;
      this.dataTo = end;
    } else {
      bytes.copyWithin(this.dataTo, at, end);
      this.dataTo += end - at;
    }
    this.#leftInChunk -= end - at;
    if (this.#leftInChunk === 0) this.#state = "data_end";
    return end;
  }

  /** `#line` has no LF yet: refuses what could only grow. */
  #checkPartial(): string | null {
    switch (this.#state) {
      case "size":
        return this.#line.length > SIZE_LINE_BYTES_MAX ? "chunk size line too long" : null;
      case "trailers":
        return this.#trailersTooLarge() ? "trailer section too large" : null;
      default:
        return this.#line === "\r" ? null : "chunk data longer than its size";
    }
  }

  /** `#line` has just got its LF. */
  #readLine(): string | null {
    const line = this.#line;
    if (line.charCodeAt(line.length - 2) !== 13) return "bare LF in a chunked body";
    switch (this.#state) {
      case "size": {
        const problem = this.#readSize(line);
        if (problem !== null) return problem;
        break;
      }
      case "trailers": {
        if (this.#trailersTooLarge()) return "trailer section too large";
        if (line === "\r\n") return this.#endTrailers();
        this.#section += line;
        break;
      }
      default:
        if (line !== "\r\n") return "chunk data longer than its size";
        this.#state = "size";
    }
    this.#line = "";
    return null;
  }

  #readSize(line: string): string | null {
    const match = line.length > SIZE_LINE_BYTES_MAX ? null : SIZE_LINE.exec(line.slice(0, -2));
    if (match === null) return "malformed chunk size";
    this.#extensionBytes += match[2]!.length;
    if (this.#extensionBytes > EXTENSION_BYTES_MAX) return "too many chunk extensions";
    this.#leftInChunk = Number.parseInt(match[1]!, 16);
    this.#state = this.#leftInChunk === 0 ? "trailers" : "data";
    return null;
  }

  #trailersTooLarge(): boolean {
    return this.#section.length + this.#line.length > this.#trailerBytesMax;
  }

  #endTrailers(): string | null {
    if (!TRAILER_SECTION.test(this.#section)) return "malformed trailer";
    this.trailers = withoutFields(this.#section, FORBIDDEN_TRAILERS);
    this.#state = "done";
    return null;
  }
}
