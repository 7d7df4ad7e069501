/**
 * HTTP/2 origins: one over Node's own server that does what its handler says, and one that speaks single frames, right or wrong, and
 * shares no code with Node's HTTP/2.
 */
import {
  createSecureServer,
  createServer,
  type Http2Server,
  type Http2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { createServer as createTcpServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type TlsOptions } from "node:tls";
import { Peer } from "./peer.ts";

/** A request as an origin received it; the body is whole. */
export interface Http2Request {
  readonly stream: ServerHttp2Stream;
  /** `[name, value, …]` as it came. */
  readonly raw: readonly string[];
  /** Value of the only field named `name`; `undefined` for none. */
  field(name: string): string | undefined;
  readonly body: Buffer;
  readonly trailers: readonly string[];
  /** 1 for the first connection. */
  readonly connection: number;
}

/** Answers a request. */
export type Http2Handler = (request: Http2Request) => void;

/** What is done with a stream before its body is read; returns false when that is all. */
export type Http2Gate = (stream: ServerHttp2Stream, connection: number) => boolean;

/** How an origin is started. */
export interface Http2OriginOptions {
  readonly tls?: TlsOptions | null;
  readonly host?: string;
  /** SETTINGS_MAX_CONCURRENT_STREAMS. */
  readonly streamsMax?: number;
  readonly gate?: Http2Gate;
  /** The TLS origin also takes HTTP/1.1, which it answers with 505. */
  readonly allowHTTP1?: boolean;
}

/** 200 with `body`, and more fields if wanted. */
export function http2Ok(body = "ok", fields: Readonly<Record<string, string>> = {}): Http2Handler {
  return ({ stream }) => {
    stream.respond({ ":status": 200, ...fields });
    stream.end(body);
  };
}

/** An origin over Node's HTTP/2 server. Made by `http2Origin`. */
export class Http2Origin {
  readonly requests: Http2Request[] = [];
  readonly sessions: Http2Session[] = [];
  readonly #server: Http2Server;

  constructor(handler: Http2Handler, { tls = null, streamsMax, gate, allowHTTP1 }: Http2OriginOptions) {
    const settings = streamsMax === undefined ? {} : { maxConcurrentStreams: streamsMax };
    this.#server =
      tls === null
        ? createServer({ settings })
        : (createSecureServer({
            ...tls,
            settings,
            allowHTTP1: allowHTTP1 ?? false,
          }) as unknown as Http2Server);
    this.#server.on("session", (session) => {
      this.sessions.push(session);
      session.on("error", () => {});
    });
    this.#server.on("stream", (stream, _headers, _flags, raw: string[]) => {
      const connection = this.sessions.indexOf(stream.session!) + 1;
      stream.on("error", () => {});
      if (gate !== undefined && !gate(stream, connection)) return;
      const pieces: Buffer[] = [];
      const trailers: string[] = [];
      stream.on("data", (piece: Buffer) => pieces.push(piece));
      stream.on("trailers", (_trailers, _flags, list: string[]) => trailers.push(...list));
      stream.on("end", () => {
        const body = Buffer.concat(pieces);
        const field = (name: string) => valueIn(raw, name);
        const request = { stream, raw, field, body, trailers, connection };
        this.requests.push(request);
        if (!stream.closed) handler(request);
      });
    });
  }

  listen(host: string): Promise<void> {
    return new Promise((resolve) => this.#server.listen(0, host, resolve));
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  get authority(): string {
    return authorityOf(this.#server.address());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const session of this.sessions) session.destroy();
    await closed;
  }
}

/** Starts an origin on a free loopback port: TLS with ALPN when `tls` is given, else prior knowledge. */
export async function http2Origin(
  handler: Http2Handler,
  options: Http2OriginOptions = {},
): Promise<Http2Origin> {
  const origin = new Http2Origin(handler, options);
  await origin.listen(options.host ?? "127.0.0.1");
  return origin;
}

function valueIn(raw: readonly string[], name: string): string | undefined {
  const values = raw.filter((_, at) => at % 2 === 1 && raw[at - 1] === name);
  if (values.length > 1) throw new Error(`${values.length} fields ${name}`);
  return values[0];
}

function authorityOf(address: ReturnType<Server["address"]>): string {
  const { address: host, port } = address as { address: string; port: number };
  return `${host}:${port}`;
}

/** Frame types (RFC 9113 §6). */
export const FRAME = {
  data: 0,
  headers: 1,
  rst: 3,
  settings: 4,
  push: 5,
  ping: 6,
  goaway: 7,
  window: 8,
  continuation: 9,
} as const;

const END_STREAM = 0x1;
const ACK = 0x1;
const END_HEADERS = 0x4;

/** One frame as it came. */
export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** The bytes of one frame. */
export function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A header block of literal fields without indexing or Huffman coding (RFC 7541 §6.2.2): any byte may stand in it. */
export function headerBlock(list: readonly string[]): Buffer {
  const pieces: Buffer[] = [];
  for (let at = 0; at < list.length; at += 2) {
    pieces.push(Buffer.from([0]), literal(list[at]!), literal(list[at + 1]!));
  }
  return Buffer.concat(pieces);
}

function literal(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  const length: number[] = [];
  let rest = bytes.length;
  if (rest < 127) length.push(rest);
  else {
    length.push(127);
    for (rest -= 127; rest >= 128; rest = Math.floor(rest / 128)) length.push((rest % 128) | 128);
    length.push(rest);
  }
  return Buffer.concat([Buffer.from(length), bytes]);
}

/** A connection whose other end speaks HTTP/2, frame by frame. SETTINGS are acknowledged, nothing else is. */
export class FramePeer {
  readonly peer: Peer;
  readonly frames: Frame[] = [];
  /** 1 for the first connection. */
  readonly connection: number;
  /** By type: how many frames have been looked at. */
  readonly #seen = new Map<number, number>();
  #waiting: (() => void)[] = [];
  #left = false;

  constructor(socket: Socket, connection: number) {
    this.peer = new Peer(socket);
    this.connection = connection;
  }

  /** Reads the preface, then frames until the other side leaves. */
  async read(): Promise<void> {
    try {
      await this.peer.take("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".length);
      for (;;) await this.#readFrame();
    } finally {
      this.#left = true;
      this.#wake();
    }
  }

  async #readFrame(): Promise<void> {
    const head = await this.peer.take(9);
    const payload = await this.peer.take(head.readUIntBE(0, 3));
    const [type, flags, stream] = [head[3]!, head[4]!, head.readUInt32BE(5) & 0x7fffffff];
    this.frames.push({ type, flags, stream, payload });
    this.#wake();
    if (type === FRAME.settings && (flags & ACK) === 0) await this.send(FRAME.settings, ACK, 0);
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** The next frame of `type` that nobody has asked for yet. */
  async next(type: number): Promise<Frame> {
    for (;;) {
      const at = this.frames.findIndex(
        (one, index) =>
          index >= (this.#seen.get(type) ?? 0) &&
          one.type === type &&
          !(type === FRAME.settings && (one.flags & ACK) !== 0),
      );
      this.#seen.set(type, at < 0 ? this.frames.length : at + 1);
      if (at >= 0) return this.frames[at]!;
      if (this.#left) throw new Error(`the other side left before a frame of type ${type}`);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Whether a frame of `type` has come for `stream`. */
  has(type: number, stream: number): boolean {
    return this.frames.some((one) => one.type === type && one.stream === stream);
  }

  /** The stream of the next request. */
  async request(): Promise<number> {
    return (await this.next(FRAME.headers)).stream;
  }

  send(type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Promise<void> {
    return this.peer.write(frame(type, flags, stream, payload));
  }

  /** SETTINGS, `[identifier, value]` each. */
  settings(...pairs: (readonly [number, number])[]): Promise<void> {
    const payload = Buffer.alloc(6 * pairs.length);
    pairs.forEach(([identifier, value], at) => {
      payload.writeUInt16BE(identifier, 6 * at);
      payload.writeUInt32BE(value, 6 * at + 2);
    });
    return this.send(FRAME.settings, 0, 0, payload);
  }

  headers(stream: number, list: readonly string[], end = false): Promise<void> {
    return this.send(FRAME.headers, END_HEADERS | (end ? END_STREAM : 0), stream, headerBlock(list));
  }

  data(stream: number, text: string, end = false): Promise<void> {
    return this.send(FRAME.data, end ? END_STREAM : 0, stream, Buffer.from(text, "latin1"));
  }

  rst(stream: number, code: number): Promise<void> {
    return this.send(FRAME.rst, 0, stream, word(code));
  }

  goaway(lastStream: number, code = 0): Promise<void> {
    return this.send(FRAME.goaway, 0, 0, Buffer.concat([word(lastStream), word(code)]));
  }

  /** 200 with `body`. */
  async answer(stream: number, body = "ok", fields: readonly string[] = []): Promise<void> {
    await this.headers(stream, [":status", "200", ...fields]);
    await this.data(stream, body, true);
  }
}

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Plays one connection. */
export type FrameScript = (peer: FramePeer) => Promise<void> | void;

/** An origin of single frames. Made by `frameOrigin`. */
export class FrameOrigin {
  readonly connections: FramePeer[] = [];
  /** What went wrong while a script was played. */
  readonly problems: Error[] = [];
  readonly #server: Server;

  constructor(scripts: readonly FrameScript[], tls: TlsOptions | null) {
    const serve = (socket: Socket): void => {
      const peer = new FramePeer(socket, this.connections.length + 1);
      this.connections.push(peer);
      // Leaving is how a connection ends.
      peer.read().catch(() => {});
      const script = scripts[Math.min(this.connections.length, scripts.length) - 1]!;
      Promise.resolve(script(peer)).catch((error) => this.problems.push(error));
    };
    this.#server =
      tls === null
        ? createTcpServer({ noDelay: true }, serve)
        : createTlsServer({ noDelay: true, ...tls }, serve);
    this.#server.on("tlsClientError", (_error, socket: Socket) => socket.destroy());
  }

  listen(host: string): Promise<void> {
    return new Promise((resolve) => this.#server.listen(0, host, resolve));
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  get authority(): string {
    return authorityOf(this.#server.address());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const { peer } of this.connections) peer.destroy();
    await closed;
  }
}

/** Starts an origin that plays `scripts`, one per connection, the last for all further ones. */
export async function frameOrigin(
  scripts: readonly FrameScript[],
  { tls = null, host = "127.0.0.1" }: { tls?: TlsOptions | null; host?: string } = {},
): Promise<FrameOrigin> {
  const origin = new FrameOrigin(scripts, tls);
  await origin.listen(host);
  return origin;
}
