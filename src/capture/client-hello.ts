/**
 * The first message of a TLS connection, read for the two things that decide where it goes: the server's name (SNI, RFC 6066 §3) and
 * the protocols offered inside (ALPN, RFC 7301 §3.1). Nothing is decrypted and nothing is changed. Pure.
 *
 * Strict where two readers could differ: a length that does not add up, an extension that comes twice, a name that is no host name are
 * refused, because the server on the other side might take another name from the same bytes.
 */
import { isIP } from "node:net";

/** What the bytes so far are. `not_tls` also stands for a hello that is malformed; `why` says which, and quotes nothing. */
export type ClientHelloRead =
  | { readonly kind: "partial" }
  | {
      readonly kind: "hello";
      /** Lower case; "" when the client names no server. */
      readonly serverName: string;
      /** In the client's order; empty when it offers none. */
      readonly alpn: readonly string[];
    }
  | { readonly kind: "not_tls"; readonly why: string };

/** Bytes of the message. Browsers with post-quantum key shares send 2 KiB, session tickets can add some more. Overflow: refused. */
const MESSAGE_BYTES_MAX = 16 * 1024;
/** Records that the message may be cut into. Overflow: refused. */
const RECORDS_MAX = 32;
/** Payload of one record (RFC 8446 §5.1). */
const RECORD_BYTES_MAX = 2 ** 14;

const RECORD_HEADER_BYTES = 5;
const MESSAGE_HEADER_BYTES = 4;

/** More bytes than this are never `partial`: what a reader has to be ready to hold. */
export const CLIENT_HELLO_BYTES_MAX =
  MESSAGE_BYTES_MAX + MESSAGE_HEADER_BYTES + RECORDS_MAX * RECORD_HEADER_BYTES;

/** `ContentType.handshake` (RFC 8446 §5.1). No text and no HTTP begins with it. */
const HANDSHAKE = 0x16;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
const ALPN = 16;
const HOST_NAME = 0;

const PARTIAL: ClientHelloRead = { kind: "partial" };

/** Reads the front of what the client has sent. Never throws, keeps nothing. */
export function readClientHello(bytes: Buffer): ClientHelloRead {
  try {
    const message = unwrapped(bytes);
    return message === null ? PARTIAL : parseHello(message);
  } catch (error) {
    if (error instanceof Malformed) return { kind: "not_tls", why: error.message };
    throw error;
  }
}

/** Thrown and caught in this file only. */
class Malformed extends Error {}

/** The body of the handshake message in the records at the front of `bytes`; `null` while it is not whole. */
function unwrapped(bytes: Buffer): Buffer | null {
  const fragments: Buffer[] = [];
  let have = 0;
  let need = MESSAGE_HEADER_BYTES;
  let at = 0;
  while (have < need) {
    const fragment = fragmentAt(bytes, at, fragments.length);
    if (fragment === null) return null;
    fragments.push(fragment.here);
    have += fragment.here.length;
    at += RECORD_HEADER_BYTES + fragment.here.length;
    // That the message is a hello and short enough is known before the rest of it is waited for.
    if (have >= MESSAGE_HEADER_BYTES) need = MESSAGE_HEADER_BYTES + bodyLength(joined(fragments));
    // RFC 8446 §5.1: the keys change behind a hello, so its end is the end of a record.
    if (have > need) throw new Malformed("bytes behind the hello in its record");
    if (!fragment.whole) return null;
  }
  return joined(fragments).subarray(MESSAGE_HEADER_BYTES);
}

/** What is here of the record at `at`; `null` when that is not even its header. */
function fragmentAt(bytes: Buffer, at: number, index: number): { here: Buffer; whole: boolean } | null {
  if (index === RECORDS_MAX) throw new Malformed(`a hello in more than ${RECORDS_MAX} records`);
  if (at < bytes.length && bytes[at] !== HANDSHAKE) throw new Malformed("no handshake record");
  if (at + 1 < bytes.length && bytes[at + 1] !== 3) throw new Malformed("no record version of TLS");
  if (at + RECORD_HEADER_BYTES > bytes.length) return null;
  const length = bytes.readUInt16BE(at + 3);
  if (length === 0 || length > RECORD_BYTES_MAX) throw new Malformed("record length out of range");
  const start = at + RECORD_HEADER_BYTES;
  const here = bytes.subarray(start, start + length);
  return { here, whole: here.length === length };
}

function bodyLength(message: Buffer): number {
  if (message[0] !== CLIENT_HELLO) throw new Malformed("the first message is no ClientHello");
  const length = message.readUIntBE(1, 3);
  if (length > MESSAGE_BYTES_MAX) throw new Malformed(`a hello of more than ${MESSAGE_BYTES_MAX} bytes`);
  return length;
}

function joined(fragments: readonly Buffer[]): Buffer {
  return fragments.length === 1 ? fragments[0]! : Buffer.concat(fragments);
}

/** RFC 8446 §4.1.2; RFC 5246 §7.4.1.2 allows the extensions to be missing altogether. */
function parseHello(body: Buffer): ClientHelloRead {
  const hello = new Cursor(body);
  if (hello.number(2) >> 8 !== 3) throw new Malformed("no version of TLS");
  hello.take(32);
  if (hello.vector(1).length > 32) throw new Malformed("session id too long");
  const suites = hello.vector(2).length;
  if (suites === 0 || suites % 2 !== 0) throw new Malformed("malformed list of cipher suites");
  if (hello.vector(1).length === 0) throw new Malformed("no compression method");
  let serverName = "";
  let alpn: readonly string[] = [];
  const extensions = new Cursor(hello.done ? Buffer.alloc(0) : hello.vector(2));
  hello.end();
  const seen = new Set<number>();
  while (!extensions.done) {
    const type = extensions.number(2);
    const content = extensions.vector(2);
    if (seen.has(type)) throw new Malformed(`extension ${type} twice`);
    seen.add(type);
    if (type === SERVER_NAME) serverName = parseServerName(content);
    else if (type === ALPN) alpn = parseAlpn(content);
  }
  return { kind: "hello", serverName, alpn };
}

/** One name of the one kind that there is: a list with more is read differently by different servers. */
function parseServerName(content: Buffer): string {
  const outer = new Cursor(content);
  const list = new Cursor(outer.vector(2));
  outer.end();
  if (list.number(1) !== HOST_NAME) throw new Malformed("server name of an unknown kind");
  const text = list.vector(2).latin1Slice().toLowerCase();
  if (!list.done) throw new Malformed("more than one server name");
  if (!NAME.test(text) || text.length > NAME_LENGTH_MAX) throw new Malformed("server name is no host name");
  // RFC 6066 §3: literal addresses are not permitted. A name whose last label is a number is read as one by some.
  if (isIP(text) !== 0 || NUMBER_AT_END.test(text)) throw new Malformed("server name is an address");
  return text;
}

/** Labels as resolvers accept them, without a trailing dot (RFC 6066 §3). */
const NAME = /^[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/;
/** RFC 1035 §2.3.4. */
const NAME_LENGTH_MAX = 253;
const NUMBER_AT_END = /(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)$/;

function parseAlpn(content: Buffer): readonly string[] {
  const outer = new Cursor(content);
  const list = new Cursor(outer.vector(2));
  outer.end();
  const protocols: string[] = [];
  while (!list.done) {
    const protocol = list.vector(1);
    if (protocol.length === 0) throw new Malformed("empty protocol in ALPN");
    protocols.push(protocol.latin1Slice());
  }
  if (protocols.length === 0) throw new Malformed("empty ALPN");
  return protocols;
}

/** Reads the presentation language of RFC 8446 §3 from the front; a length that goes past the end is `Malformed`. */
class Cursor {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at === this.#bytes.length;
  }

  take(count: number): Buffer {
    const end = this.#at + count;
    if (end > this.#bytes.length) throw new Malformed("a length goes past the end");
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }

  /** An unsigned integer of `size` bytes. */
  number(size: number): number {
    return this.take(size).readUIntBE(0, size);
  }

  /** A vector whose length stands in `size` bytes before it. */
  vector(size: number): Buffer {
    return this.take(this.number(size));
  }

  end(): void {
    if (!this.done) throw new Malformed("bytes behind the last element");
  }
}
