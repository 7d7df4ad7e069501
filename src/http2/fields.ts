/**
 * HTTP/2 header lists ↔ `FieldLines`: what RFC 9113 §8.2 and §8.3 ask of a list is checked here, so that nothing of it can be read
 * otherwise once it stands in HTTP/1.1 bytes. Pure; knows no sockets and not `node:http2`. What a pseudo-header's value has to
 * look like is for whoever reads it.
 */
import type { Limits } from "../config/types.ts";
import type { FieldLines } from "../exchange.ts";
import { FORBIDDEN_TRAILERS } from "../http1/chunked.ts";
import { trimBlanks } from "../http1/fields.ts";

/** The bounds that a header list must keep. */
export type ListLimits = Pick<Limits, "headBytesMax" | "headerCountMax">;

/** A header list, understood. With a `problem` nothing else of it may be used. */
export interface HeaderList {
  /** By name, the colon included. */
  readonly pseudo: ReadonlyMap<string, string>;
  /** End-to-end fields, in order; names in lower case, as they came. Cookie crumbs are one line (RFC 9113 §8.2.3). */
  readonly fields: FieldLines;
  /** The value of `host`; `null` for none. */
  readonly host: string | null;
  /** -1 for none. */
  readonly contentLength: number;
  /** `te: trailers`, the only value that may be (RFC 9113 §8.2.2). */
  readonly teTrailers: boolean;
  /** Value of `expect` in lower case, or "". */
  readonly expect: string;
  /** Why the list is malformed or too large, a sentence for the log; "" when it is neither. */
  readonly problem: string;
  /** The problem is one of size. */
  readonly tooLarge: boolean;
}

/** RFC 9113 §8.2.1: a token without capitals, so neither colon nor blank nor control character. */
const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
/** The same section and RFC 9110 §5.5: no control character but tab, no blank at either end. */
const VALUE = /^(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?$/;
/** As in HTTP/1.1: larger lengths cannot be counted exactly in a JavaScript number. */
const CONTENT_LENGTH = /^[0-9]{1,15}$/;

/** RFC 9113 §8.3.1, §8.3.2; RFC 8441 §4. */
const PSEUDO: ReadonlySet<string> = new Set([
  ":method",
  ":scheme",
  ":authority",
  ":path",
  ":protocol",
  ":status",
]);

/** RFC 9113 §8.2.2: with one of these a message is malformed. */
const CONNECTION_SPECIFIC: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
]);

/** Of one hop as in HTTP/1.1, where they are cut out too (`http1/head-scan.ts`): legal here, but not the next hop's business. */
const DROPPED: ReadonlySet<string> = new Set([
  "http2-settings",
  "proxy",
  "proxy-authenticate",
  "proxy-authentication-info",
  "proxy-authorization",
]);

/** `: ` and CRLF, which a line of HTTP/1.1 has besides its name and value. */
const LINE_OVERHEAD_BYTES = 4;

/** What is being read. */
class ListReader {
  readonly pseudo = new Map<string, string>();
  host: string | null = null;
  contentLength = -1;
  teTrailers = false;
  expect = "";
  problem = "";
  tooLarge = false;
  #lines = "";
  #cookie: string | null = null;
  /** Pairs that are no pseudo-headers have begun. */
  #regular = false;

  get fields(): FieldLines {
    return this.#cookie === null ? this.#lines : `${this.#lines}cookie: ${this.#cookie}\r\n`;
  }

  /** Returns why the pair makes the list malformed, or "". */
  add(name: string, value: string): string {
    if (!VALUE.test(value)) return "a field value with a control character, or a blank at its end";
    if (name.startsWith(":")) return this.#addPseudo(name, value);
    this.#regular = true;
    if (!NAME.test(name)) return "a field name that is not a token in lower case";
    if (CONNECTION_SPECIFIC.has(name)) return `${name}, which belongs to HTTP/1.1`;
    switch (name) {
      case "host":
        if (this.host !== null) return "more than one host";
        this.host = value;
        return "";
      case "content-length":
        if (this.contentLength >= 0) return "more than one content-length";
        if (!CONTENT_LENGTH.test(value)) return "content-length is not a number";
        this.contentLength = Number(value);
        return "";
      case "te":
        this.teTrailers = true;
        return value.toLowerCase() === "trailers" ? "" : "te other than trailers";
      case "expect":
        this.expect = this.expect === "" ? value.toLowerCase() : `${this.expect}, ${value}`;
        return "";
      case "cookie":
        // An empty crumb would leave a blank at the end of the line.
        if (value !== "") this.#cookie = this.#cookie === null ? value : `${this.#cookie}; ${value}`;
        return "";
      default:
        if (!DROPPED.has(name)) this.#lines += `${name}: ${value}\r\n`;
        return "";
    }
  }

  #addPseudo(name: string, value: string): string {
    if (!PSEUDO.has(name)) return "an unknown pseudo-header";
    if (this.#regular) return `${name} behind other fields`;
    if (this.pseudo.has(name)) return `more than one ${name}`;
    this.pseudo.set(name, value);
    return "";
  }
}

/** Reads a list as `node:http2` gives it: `[name, value, …]`, one character per byte. */
export function fieldLinesOf(raw: readonly string[], limits: ListLimits): HeaderList {
  const list = new ListReader();
  let bytes = 0;
  let count = 0;
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at]!;
    const value = raw[at + 1]!;
    bytes += name.length + value.length + LINE_OVERHEAD_BYTES;
    if (!name.startsWith(":")) count += 1;
    list.tooLarge = bytes > limits.headBytesMax || count > limits.headerCountMax;
    list.problem = list.tooLarge
      ? `a header list of more than ${limits.headBytesMax} bytes or ${limits.headerCountMax} fields`
      : list.add(name, value);
    if (list.problem !== "") break;
  }
  return list;
}

/**
 * Reads a trailer section (RFC 9113 §8.1): no pseudo-headers; fields that mean nothing, or too much, in a trailer are dropped as
 * in HTTP/1.1.
 */
export function trailerLinesOf(
  raw: readonly string[],
  limits: ListLimits,
): Pick<HeaderList, "fields" | "problem"> {
  const kept: string[] = [];
  for (let at = 0; at + 1 < raw.length; at += 2) {
    if (!FORBIDDEN_TRAILERS.has(raw[at]!)) kept.push(raw[at]!, raw[at + 1]!);
  }
  const { fields, pseudo, problem } = fieldLinesOf(kept, limits);
  return { fields, problem: problem === "" && pseudo.size > 0 ? "a pseudo-header in a trailer" : problem };
}

/**
 * The list to send: `pseudo` (`[name, value, …]`), then the fields with their names in lower case and their values and order as
 * they stand. A flat list, as `session.request` and `stream.respond` take it.
 */
export function headerListOf(pseudo: readonly string[], fields: FieldLines): string[] {
  const list = [...pseudo];
  for (let line = 0; line < fields.length; ) {
    const colon = fields.indexOf(":", line);
    const end = fields.indexOf("\r\n", colon);
    list.push(fields.slice(line, colon).toLowerCase(), trimBlanks(fields, colon + 1, end));
    line = end + 2;
  }
  return list;
}
