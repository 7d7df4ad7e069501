/**
 * The application's side of an HTTP/2 connection: frame by frame, right or wrong (`FrameClient`), and by `node:http2` for what is
 * well formed (`callHttp2`). Shares no code with the proxy; headers are encoded as literals, so that nothing cleans them up.
 */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  type IncomingHttpHeaders,
} from "node:http2";
import { connect as connectSocket, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { FRAME, type Frame, frame } from "./http2-origin.ts";

/** Flags (RFC 9113 §6.1, §6.2, §6.5). */
export const END_STREAM = 0x1;
export const END_HEADERS = 0x4;
export const ACK = 0x1;

/** SETTINGS_MAX_FRAME_SIZE as nobody has changed it (RFC 9113 §6.5.2). */
const FRAME_BYTES_MAX = 16_384;
/** A wait that takes longer than this hangs. A guard, never a measurement. */
const WAIT_MS_MAX = 20_000;

/** A big-endian 32-bit number. */
export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** SETTINGS with `[identifier, value]` pairs (RFC 9113 §6.5.1). */
export function settings(...pairs: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(pairs.length * 6);
  pairs.forEach(([id, value], index) => {
    payload.writeUInt16BE(id, index * 6);
    payload.writeUInt32BE(value, index * 6 + 2);
  });
  return frame(FRAME.settings, 0, 0, payload);
}

/** An integer behind a prefix of `bits` (RFC 7541 §5.1). */
function hpackInteger(value: number, bits: number, first: number): Buffer {
  const max = 2 ** bits - 1;
  if (value < max) return Buffer.from([first | value]);
  const bytes = [first | max];
  let rest = value - max;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  bytes.push(rest);
  return Buffer.from(bytes);
}

const hpackString = (text: string): Buffer =>
  Buffer.concat([hpackInteger(text.length, 7, 0), Buffer.from(text, "latin1")]);

/** A name or a value is one latin1 character per byte: anything at all. */
export type Pair = readonly [name: string, value: string];

/** A header block of literals without indexing (RFC 7541 §6.2.2), or, `indexed`, with (§6.2.1). */
export function headerBlock(pairs: readonly Pair[], indexed = false): Buffer {
  return Buffer.concat(
    pairs.flatMap(([name, value]) => [
      Buffer.from([indexed ? 0x40 : 0]),
      hpackString(name),
      hpackString(value),
    ]),
  );
}

/** Index of the newest entry of the dynamic table, as an indexed field (RFC 7541 §6.1, §2.3.3). */
export const NEWEST_ENTRY = Buffer.from([0x80 | 62]);

/** The pseudo-headers of a GET, then `more`. */
export const getList = (authority: string, path = "/", ...more: readonly Pair[]): Pair[] => [
  [":method", "GET"],
  [":scheme", "http"],
  [":authority", authority],
  [":path", path],
  ...more,
];

/** The pseudo-headers of a POST, then `more`. */
export const postList = (authority: string, path = "/", ...more: readonly Pair[]): Pair[] => [
  [":method", "POST"],
  ...getList(authority, path, ...more).slice(1),
];

/** The payload of a frame that has none. */
export const NOTHING = Buffer.alloc(0);

const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/** SETTINGS_HEADER_TABLE_SIZE. */
const HEADER_TABLE_SIZE = 1;

/** See the file's header. Acknowledges SETTINGS and PING unless `silent`. */
export class FrameClient {
  readonly socket: Socket;
  readonly frames: Frame[] = [];
  closed = false;
  silent = false;
  #rest = Buffer.alloc(0);
  #waiters: (() => void)[] = [];

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("error", () => {});
    socket.on("data", (bytes: Buffer) => this.#receive(bytes));
    socket.on("close", () => {
      this.closed = true;
      this.#wake();
    });
  }

  /** Writes bytes as they are; resolves when the socket has taken them, or is closed. */
  write(...bytes: readonly Buffer[]): Promise<void> {
    return new Promise((resolve) => this.socket.write(Buffer.concat(bytes), () => resolve()));
  }

  /** Writes a header list, in as many frames as it needs, and ends the stream unless told otherwise. */
  headers(stream: number, pairs: readonly Pair[], endStream = true): Promise<void> {
    const block = headerBlock(pairs);
    const frames: Buffer[] = [];
    for (let at = 0; at < block.length; at += FRAME_BYTES_MAX) {
      const isLast = at + FRAME_BYTES_MAX >= block.length;
      const flags = (at === 0 && endStream ? END_STREAM : 0) | (isLast ? END_HEADERS : 0);
      const type = at === 0 ? FRAME.headers : FRAME.continuation;
      frames.push(frame(type, flags, stream, block.subarray(at, at + FRAME_BYTES_MAX)));
    }
    return this.write(...frames);
  }

  /** Writes DATA. */
  data(stream: number, text: string, endStream = true): Promise<void> {
    return this.write(frame(FRAME.data, endStream ? END_STREAM : 0, stream, Buffer.from(text, "latin1")));
  }

  /** Resolves when `holds` does for what has come. */
  async until(what: string, holds: () => boolean): Promise<void> {
    const untilMs = performance.now() + WAIT_MS_MAX;
    while (!holds()) {
      const leftMs = untilMs - performance.now();
      if (leftMs <= 0) throw new Error(`waited ${WAIT_MS_MAX} ms for ${what}; got ${this.story()}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(leftMs, 50));
        this.#waiters.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  /** Frames of `type` on `stream`. */
  of(type: number, stream: number): Frame[] {
    return this.frames.filter((one) => one.type === type && one.stream === stream);
  }

  /** Resolves when `stream` has ended in whatever way, with how: a status, `reset N`, or `closed`. */
  async fate(stream: number): Promise<string> {
    await this.until(`the fate of stream ${stream}`, () => this.#fateOf(stream) !== null);
    return this.#fateOf(stream)!;
  }

  /** Types of all frames that came, for a message. */
  story(): string {
    return `${this.frames.map(({ type, stream, flags }) => `${type}/${stream}/${flags}`).join(" ")}${this.closed ? " closed" : ""}`;
  }

  /** Error code of GOAWAY; `null` when none came. */
  get goaway(): number | null {
    const found = this.frames.find(({ type }) => type === FRAME.goaway);
    return found === undefined ? null : found.payload.readUInt32BE(4);
  }

  /** Sends a PING and resolves when it is answered: what was sent before has been looked at. */
  async roundTrip(): Promise<void> {
    const count = (): number =>
      this.frames.filter(({ type, flags }) => type === FRAME.ping && flags & ACK).length;
    const before = count();
    await this.write(frame(FRAME.ping, 0, 0, Buffer.alloc(8)));
    await this.until("the answer to a PING", () => count() > before || this.closed);
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }

  #fateOf(stream: number): string | null {
    const [reset] = this.of(FRAME.rst, stream);
    const [head] = this.of(FRAME.headers, stream);
    if (head !== undefined) return String(statusOf(head.payload));
    if (reset !== undefined) return `reset ${reset.payload.readUInt32BE(0)}`;
    return this.closed ? "closed" : null;
  }

  #receive(bytes: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    while (this.#rest.length >= 9) {
      const length = this.#rest.readUIntBE(0, 3);
      if (this.#rest.length < 9 + length) break;
      const [type, flags] = [this.#rest.readUInt8(3), this.#rest.readUInt8(4)];
      const stream = this.#rest.readUInt32BE(5) & 0x7fffffff;
      const payload = this.#rest.subarray(9, 9 + length);
      this.#rest = this.#rest.subarray(9 + length);
      this.frames.push({ type, flags, stream, payload });
      this.#acknowledge(type, flags, payload);
    }
    this.#wake();
  }

  #acknowledge(type: number, flags: number, payload: Buffer): void {
    if (this.silent || flags & ACK) return;
    if (type === FRAME.settings) this.socket.write(frame(FRAME.settings, ACK, 0, NOTHING));
    if (type === FRAME.ping) this.socket.write(frame(FRAME.ping, ACK, 0, payload));
  }

  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }
}

/** Connects with a preface and SETTINGS; `more` pairs besides a header table of no size, which keeps answers readable. */
export async function frameClient(
  port: number,
  ...more: readonly (readonly [id: number, value: number])[]
): Promise<FrameClient> {
  const client = new FrameClient(await connectedSocket(port));
  await client.write(Buffer.from(PREFACE, "latin1"), settings([HEADER_TABLE_SIZE, 0], ...more));
  return client;
}

/** A TCP connection to loopback. */
export function connectedSocket(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connectSocket({ port, host: "127.0.0.1", noDelay: true });
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      resolve(socket);
    });
  });
}

/** A tunnel to `authority` through the proxy at `port`, with nothing read behind its head. */
export async function tunnelSocket(port: number, authority: string): Promise<Socket> {
  const socket = await connectedSocket(port);
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  const answer = await new Promise<Buffer>((resolve) => socket.once("data", resolve));
  socket.pause();
  const text = answer.toString("latin1");
  if (!text.startsWith("HTTP/1.1 200 ") || !text.endsWith("\r\n\r\n")) throw new Error(`no tunnel: ${text}`);
  return socket;
}

/** `:status` of a header block, which stands first in it (RFC 9113 §8.3): indexed, or a literal of three digits. */
function statusOf(block: Buffer): number {
  let at = 0;
  // Updates of the dynamic table's size (RFC 7541 §6.3).
  while ((block[at]! & 0xe0) === 0x20) at += 1;
  const first = block[at]!;
  if (first & 0x80) return [200, 204, 206, 304, 400, 404, 500][(first & 0x7f) - 8] ?? 0;
  const value = block[at + 1]!;
  const text = block.subarray(at + 2, at + 2 + (value & 0x7f));
  return Number(value & 0x80 ? huffmanDigits(text) : text.toString("latin1"));
}

/** Digits in the Huffman code of RFC 7541, appendix B: 0 to 2 take five bits, the others six. */
function huffmanDigits(bytes: Buffer): string {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, "0")).join("");
  let text = "";
  for (let at = 0; text.length < 3; ) {
    const five = Number.parseInt(bits.slice(at, at + 5), 2);
    if (five <= 2) {
      text += five;
      at += 5;
    } else {
      text += Number.parseInt(bits.slice(at, at + 6), 2) - 0b011001 + 3;
      at += 6;
    }
  }
  return text;
}

/** An answer over HTTP/2, read to its end. */
export interface Http2Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly trailers: IncomingHttpHeaders;
  /** Interim statuses, in order. */
  readonly interim: readonly number[];
  /** Error code with which the stream closed; 0 for a clean end. */
  readonly code: number;
}

/** A session by prior knowledge to `authority` over a connected socket, or over one to `port`. */
export async function http2Session(
  authority: string,
  port: number | Duplex,
  scheme: "http" | "https" = "http",
): Promise<ClientHttp2Session> {
  const socket = typeof port === "number" ? await connectedSocket(port) : port;
  const session = connect(`${scheme}://${authority}`, {
    createConnection: () => socket,
    // Megabytes: tests write more ahead than Node lets a session hold.
    maxSessionMemory: 256,
  });
  session.on("error", () => {});
  return session;
}

/** Reads what comes back on `stream`, clean or not. */
export function readHttp2(stream: ClientHttp2Stream): Promise<Http2Answer> {
  const interim: number[] = [];
  let headers: IncomingHttpHeaders = {};
  let trailers: IncomingHttpHeaders = {};
  let body = "";
  stream.setEncoding("latin1");
  stream.on("headers", (fields) => interim.push(Number(fields[":status"])));
  stream.on("response", (fields) => (headers = fields));
  stream.on("trailers", (fields) => (trailers = fields));
  stream.on("data", (text: string) => (body += text));
  stream.on("error", () => {});
  return new Promise((resolve) =>
    stream.on("close", () =>
      resolve({
        status: Number(headers[":status"] ?? 0),
        headers,
        body,
        trailers,
        interim,
        code: stream.rstCode ?? 0,
      }),
    ),
  );
}

/** One request with a body that is here, and its answer. */
export function callHttp2(
  session: ClientHttp2Session,
  headers: Record<string, string>,
  body: string | null = null,
): Promise<Http2Answer> {
  const stream = session.request(headers, { endStream: body === null });
  const answer = readHttp2(stream);
  if (body !== null) stream.end(body, "latin1");
  return answer;
}
