/**
 * One walk over the validated field lines of a head: what belongs to this hop is understood and cut out, the rest is kept as
 * contiguous slices, in order and with its case. Used for requests and responses alike.
 */
import type { FieldLines } from "../exchange.ts";
import { nameAt, trimBlanks, withoutField, withoutFields } from "./fields.ts";

/** What a head says about its own hop (RFC 9110 §7.6.1, RFC 9112 §6 and §9). */
export interface Hop {
  /** End-to-end fields only. */
  fields: FieldLines;
  /** Field lines seen, kept or not. */
  count: number;
  /** The value of Host; `null` when there is none. */
  host: string | null;
  /** -1 when there is none. */
  contentLength: number;
  chunked: boolean;
  /** `Connection` named `close`, `keep-alive`, `upgrade`. */
  close: boolean;
  keepAlive: boolean;
  connectionUpgrade: boolean;
  /** Value of `Upgrade`, or "". */
  upgrade: string;
  /** Value of `Expect`, or "". */
  expect: string;
  /** `TE` names `trailers`. */
  teTrailers: boolean;
  /** Field names, lower case, that `Connection` makes part of this hop; `null` for none besides those that always are. */
  nominated: Set<string> | null;
  /** There is a `Trailer` field. */
  announcesTrailers: boolean;
}

/** Why a head is refused. `unsupported` is a transfer coding that is valid but unknown here. */
export type HeadProblem = { readonly kind: "invalid" | "unsupported" | "too_many"; readonly why: string };

const TAB = 9;

/** Larger lengths cannot be counted exactly in a JavaScript number; 15 digits are 1 PB. */
const CONTENT_LENGTH = /^[0-9]{1,15}$/;

/** What a field line of this hop means; `null`: it is end-to-end. */
type HopField =
  | "connection"
  | "content-length"
  | "drop"
  | "expect"
  | "host"
  | "te"
  | "trailer"
  | "transfer-encoding"
  | "upgrade";

/** By length of the name, so that most lines are told apart by one array look-up. */
const HOP_FIELDS: readonly (readonly NamedHopField[] | undefined)[] = byLength([
  ["connection", "connection"],
  ["content-length", "content-length"],
  ["expect", "expect"],
  ["host", "host"],
  ["te", "te"],
  ["trailer", "trailer"],
  ["transfer-encoding", "transfer-encoding"],
  ["upgrade", "upgrade"],
  ["http2-settings", "drop"],
  ["keep-alive", "drop"],
  // An inbound `Proxy` field becomes HTTP_PROXY in programs of the CGI family (CVE-2016-5385, "httpoxy").
  ["proxy", "drop"],
  ["proxy-authenticate", "drop"],
  ["proxy-authentication-info", "drop"],
  ["proxy-authorization", "drop"],
  ["proxy-connection", "drop"],
]);

interface NamedHopField {
  readonly name: string;
  readonly field: HopField;
}

function byLength(names: [string, HopField][]): NamedHopField[][] {
  const table: NamedHopField[][] = [];
  for (const [name, field] of names) (table[name.length] ??= []).push({ name, field });
  return table;
}

function hopField(text: string, at: number, colon: number): HopField | null {
  const candidates = HOP_FIELDS[colon - at];
  if (candidates === undefined) return null;
  for (let i = 0; i < candidates.length; i++) {
    const { name, field } = candidates[i]!;
    if (nameAt(text, at, name)) return field;
  }
  return null;
}

/**
 * Walks the lines from `at` to `end` of `text`, each `name:value\r\n` with a valid name and value (the caller's regular
 * expression has seen to that).
 */
export function scanFields(text: string, at: number, end: number, countMax: number): Hop | HeadProblem {
  const hop: Hop = {
    fields: "",
    count: 0,
    host: null,
    contentLength: -1,
    chunked: false,
    close: false,
    keepAlive: false,
    connectionUpgrade: false,
    upgrade: "",
    expect: "",
    teTrailers: false,
    nominated: null,
    announcesTrailers: false,
  };
  let kept = "";
  let keepFrom = at;
  for (let line = at; line < end; ) {
    if (++hop.count > countMax) return { kind: "too_many", why: `more than ${countMax} header fields` };
    const colon = text.indexOf(":", line);
    const next = text.indexOf("\n", colon) + 1;
    const field = hopField(text, line, colon);
    if (field === "trailer") hop.announcesTrailers = true;
    else if (field !== null) {
      if (line > keepFrom) kept += text.slice(keepFrom, line);
      keepFrom = next;
      // Node's parser (llhttp 9) takes `chunked<TAB>` for another coding than `chunked`: read in two ways, so refused.
      if (field === "transfer-encoding" && text.charCodeAt(next - 3) === TAB) {
        return invalid("a tab behind Transfer-Encoding");
      }
      const problem = readHopField(hop, field, trimBlanks(text, colon + 1, next - 2));
      if (problem !== null) return problem;
    }
    line = next;
  }
  if (hop.chunked && hop.contentLength >= 0) return invalid("both Content-Length and Transfer-Encoding");
  hop.fields =
    keepFrom === at ? text.slice(at, end) : keepFrom < end ? kept + text.slice(keepFrom, end) : kept;
  // Without chunks there can be no trailers, so an announcement of some would be a lie.
  if (hop.announcesTrailers && !hop.chunked) hop.fields = withoutField(hop.fields, "trailer");
  if (hop.nominated !== null) hop.fields = withoutFields(hop.fields, hop.nominated);
  return hop;
}

const invalid = (why: string): HeadProblem => ({ kind: "invalid", why });

/** Notes in `hop` what one of its fields says; returns why the head is refused, or `null`. */
function readHopField(hop: Hop, field: HopField, value: string): HeadProblem | null {
  switch (field) {
    case "connection":
      readConnection(hop, value);
      return null;
    case "content-length":
      if (hop.contentLength >= 0) return invalid("more than one Content-Length");
      if (!CONTENT_LENGTH.test(value)) return invalid("Content-Length is not a number");
      hop.contentLength = Number(value);
      return null;
    case "transfer-encoding": {
      if (hop.chunked) return invalid("more than one Transfer-Encoding");
      const coding = value.toLowerCase();
      if (coding !== "chunked") return codingProblem(coding);
      hop.chunked = true;
      return null;
    }
    case "host":
      if (hop.host !== null) return invalid("more than one Host");
      hop.host = value;
      return null;
    case "upgrade":
      hop.upgrade = hop.upgrade === "" ? value : `${hop.upgrade}, ${value}`;
      return null;
    case "expect":
      hop.expect = hop.expect === "" ? value.toLowerCase() : `${hop.expect}, ${value}`;
      return null;
    case "te":
      hop.teTrailers ||= /(?:^|,)[ \t]*trailers[ \t]*(?:,|$)/i.test(value);
      return null;
    case "trailer":
    case "drop":
      return null;
  }
}

function codingProblem(coding: string): HeadProblem {
  // RFC 9112 §6.3: a request whose last coding is not chunked has no reliable length.
  const known = /^(?:(?:gzip|x-gzip|deflate|compress|x-compress)[ \t]*,[ \t]*)*chunked$/.test(coding);
  if (known || /^(?:gzip|x-gzip|deflate|compress|x-compress)$/.test(coding)) {
    return { kind: "unsupported", why: "a transfer coding other than chunked" };
  }
  return invalid("Transfer-Encoding is not chunked");
}

const CONNECTION_TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** Notes the options of one `Connection` value, and the field names that it nominates besides the ones always cut out. */
function readConnection(hop: Hop, value: string): void {
  // What nearly every peer says, without the cost of taking a list apart.
  if (value === "keep-alive") {
    hop.keepAlive = true;
    return;
  }
  for (const part of value.toLowerCase().split(",")) {
    const option = trimBlanks(part, 0, part.length);
    if (option === "close") hop.close = true;
    else if (option === "keep-alive") hop.keepAlive = true;
    else if (option === "upgrade") hop.connectionUpgrade = true;
    else if (option !== "te" && CONNECTION_TOKEN.test(option)) (hop.nominated ??= new Set()).add(option);
  }
}
