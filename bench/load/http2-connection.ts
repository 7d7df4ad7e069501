/**
 * An HTTP/2 connection of the load generator, with many requests in flight. It reads what it needs to be sure that each
 * answer is right: the status, the body, and that the stream ended in order.
 */

import type { Socket } from "node:net";
import type { Expected } from "./exchange.ts";
import {
  beginsWithStatus200,
  clientPreface,
  FrameReader,
  fieldsOfRequest,
  frame,
  frameFlag,
  frameType,
  headerBlock,
  setting,
  settingIn,
  settingsFrame,
  windowUpdate,
} from "./h2-frames.ts";
import { open, type Route } from "./route.ts";

/** As wide as the protocol allows, so that flow control of the generator never holds a subject back. */
const windowBytesMax = 2 ** 31 - 1;
/** The window of a connection before the first WINDOW_UPDATE (RFC 9113 section 6.9.2). */
const initialWindowBytes = 65_535;
/** Given back to the sender when so much has been taken. */
const windowRefillBytes = 2 ** 28;

/** The first SETTINGS come at once (RFC 9113 section 3.4); a run in which they do not fails instead of hanging. */
const settingsMaxMs = 20_000;

interface OpenStream {
  readonly sentMs: number;
  headed: boolean;
  bodyBytes: number;
}

/** One connection. `done` runs after each right answer, `failed` at the first wrong one or when the connection is lost. */
export class Http2Connection {
  /** SETTINGS_MAX_CONCURRENT_STREAMS of the peer; unbounded when it names none. */
  streamsMax = Number.POSITIVE_INFINITY;
  readonly #request: Buffer;
  readonly #body: Buffer;
  readonly #done: (sentMs: number) => void;
  readonly #failed: (why: string) => void;
  readonly #settled = Promise.withResolvers<void>();
  readonly #reader = new FrameReader();
  readonly #streams = new Map<number, OpenStream>();
  #socket!: Socket;
  #nextStream = 1;
  #takenBytes = 0;
  /** What is written when the bytes at hand are read: one write for all of them. */
  #outgoing: Buffer[] = [];
  #reading = false;

  private constructor(
    scheme: "http" | "https",
    { request, body }: Expected,
    done: (sentMs: number) => void,
    failed: (why: string) => void,
  ) {
    const block = headerBlock(fieldsOfRequest(request, scheme));
    this.#request = frame(frameType.headers, frameFlag.endStream | frameFlag.endHeaders, 0, block);
    this.#body = Buffer.from(body, "latin1");
    this.#done = done;
    this.#failed = (why) => {
      this.#settled.reject(new Error(why));
      failed(why);
    };
    this.#settled.promise.catch(() => undefined);
  }

  /** Opens a connection by `route` and waits for the peer's settings; rejects when it cannot be opened. */
  static async open(
    route: Route,
    expected: Expected,
    done: (sentMs: number) => void,
    failed: (why: string) => void,
  ): Promise<Http2Connection> {
    const connection = new Http2Connection(route.tls ? "https" : "http", expected, done, failed);
    connection.#socket = await open(route, {
      bytes: (bytes) => connection.#read(bytes),
      lost: connection.#failed,
    });
    const settings = settingsFrame([
      // No dynamic table, so that an answer can be checked without keeping one.
      [setting.headerTableSize, 0],
      [setting.enablePush, 0],
      [setting.initialWindowSize, windowBytesMax],
    ]);
    const widen = windowUpdate(0, windowBytesMax - initialWindowBytes);
    connection.#socket.write(Buffer.concat([clientPreface, settings, widen]));
    const silence = setTimeout(() => connection.#failed("the far end sent no SETTINGS"), settingsMaxMs);
    await connection.#settled.promise.finally(() => clearTimeout(silence));
    return connection;
  }

  /** Sends one request on a stream of its own. */
  send(): void {
    const request = Buffer.from(this.#request);
    request.writeUInt32BE(this.#nextStream, 5);
    this.#streams.set(this.#nextStream, { sentMs: performance.now(), headed: false, bodyBytes: 0 });
    this.#nextStream += 2;
    this.#outgoing.push(request);
    if (!this.#reading) this.#flush();
  }

  /** Closes it at once. */
  close(): void {
    this.#socket.destroy();
  }

  #read(bytes: Buffer): void {
    this.#reading = true;
    try {
      this.#reader.read(bytes, (type, flags, stream, payload) => this.#take(type, flags, stream, payload));
    } catch (error) {
      this.#failed((error as Error).message);
    }
    this.#reading = false;
    this.#flush();
  }

  #flush(): void {
    if (this.#outgoing.length === 0) return;
    const [first, ...others] = this.#outgoing;
    this.#socket.write(others.length === 0 ? first! : Buffer.concat(this.#outgoing));
    this.#outgoing = [];
  }

  #take(type: number, flags: number, id: number, payload: Buffer): void {
    if (type === frameType.headers) this.#takeHeaders(flags, id, payload);
    else if (type === frameType.data) this.#takeData(flags, id, payload);
    else if (type === frameType.settings && !(flags & frameFlag.ack)) {
      this.streamsMax = settingIn(payload, setting.maxConcurrentStreams) ?? this.streamsMax;
      this.#outgoing.push(frame(frameType.settings, frameFlag.ack, 0, Buffer.alloc(0)));
      this.#settled.resolve();
    } else if (type === frameType.ping && !(flags & frameFlag.ack)) {
      this.#outgoing.push(frame(frameType.ping, frameFlag.ack, 0, payload));
    } else if (type === frameType.resetStream) {
      this.#failed(`stream ${id} was reset with error ${payload.readUInt32BE(0)}`);
    } else if (type === frameType.goAway) {
      this.#failed(`the connection was given up with error ${payload.readUInt32BE(4)}`);
    }
  }

  #takeHeaders(flags: number, id: number, block: Buffer): void {
    const stream = this.#streams.get(id);
    if (!stream || stream.headed || !(flags & frameFlag.endHeaders)) {
      return this.#failed(`unexpected HEADERS on stream ${id}`);
    }
    if (!beginsWithStatus200(block)) {
      return this.#failed(`expected status 200, got ${block.toString("hex", 0, 40)} (RFC 7541)`);
    }
    stream.headed = true;
    if (flags & frameFlag.endStream) this.#end(id, stream);
  }

  #takeData(flags: number, id: number, data: Buffer): void {
    const stream = this.#streams.get(id);
    if (!stream?.headed || flags & frameFlag.padded) return this.#failed(`unexpected DATA on stream ${id}`);
    const end = stream.bodyBytes + data.length;
    if (end > this.#body.length || data.compare(this.#body, stream.bodyBytes, end) !== 0) {
      return this.#failed("the body of an answer differs");
    }
    stream.bodyBytes = end;
    this.#takenBytes += data.length;
    if (this.#takenBytes >= windowRefillBytes) {
      this.#outgoing.push(windowUpdate(0, this.#takenBytes));
      this.#takenBytes = 0;
    }
    if (flags & frameFlag.endStream) this.#end(id, stream);
  }

  #end(id: number, { sentMs, bodyBytes }: OpenStream): void {
    if (bodyBytes !== this.#body.length) {
      return this.#failed(`an answer of ${bodyBytes} bytes, expected ${this.#body.length}`);
    }
    this.#streams.delete(id);
    this.#done(sentMs);
  }
}
