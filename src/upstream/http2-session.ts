/**
 * One HTTP/2 connection to an upstream: opens streams on it within the peer's bounds, notices when it goes away or has died
 * unnoticed, and says of each stream that ended with it what that means.
 */
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";
import type { Socket } from "node:net";
import type { Clock, Timer } from "../clock.ts";
import type { Limits } from "../config/types.ts";
import { asEgressError, EgressError } from "../errors.ts";
import type { AttemptFacts, EgressRequest, EgressResponse, FieldLines } from "../exchange.ts";
import { formatAuthority } from "../http1/write-head.ts";
import { headerListOf } from "../http2/fields.ts";
import { nativeSession, outlive } from "../http2/native-session.ts";
import { Patience } from "../patience.ts";
import { connectionFailure, streamFailure } from "./failure.ts";
import { Http2Exchange } from "./http2-exchange.ts";
import { InFlight } from "./in-flight.ts";

/** What a session reports to whoever keeps it. */
export interface SessionOwner {
  /** The last call on it is over. */
  idle(session: Http2Session): void;
  /** It takes no further calls; those under way may go on. */
  leaving(session: Http2Session): void;
  /** The connection is gone. */
  gone(session: Http2Session): void;
}

/** Received bytes in flight per stream and per connection: 256 KiB fills 100 Mbit/s at 20 ms; the memory that a slow reader costs. */
const STREAM_WINDOW_BYTES = 256 * 1024;
const CONNECTION_WINDOW_BYTES = 1024 * 1024;
/** Memory of one connection in nghttp2, headers and what waits to be sent. Overflow: new streams fail. */
const SESSION_MEMORY_MB_MAX = 10;
/** What SETTINGS_MAX_HEADER_LIST_SIZE counts for each field besides its name and value (RFC 9113 §6.5.2). */
const LIST_OVERHEAD_BYTES = 32;
/** Streams at once until the peer has said how many it takes (RFC 9113 §6.5.2 recommends no fewer). */
const STREAMS_UNTOLD = 100;
/** Options that Node's types have for servers only. */
const MORE_OPTIONS = {
  /** Frames that are no valid HTTP/2, per connection. Overflow: the connection is closed. */
  maxSessionInvalidFrames: 100,
  /** Repeated fields are for the two ends to judge. */
  strictSingleValueFields: false,
};
/** A connection with calls on it that has been silent for so long is asked whether it still is one; most NATs forget in minutes. */
const SILENCE_MS_MAX = 10_000;
/** The answer to a PING. Overflow: the connection is dead. */
const PING_MS_MAX = 5000;
/**
 * PINGs while nothing of any stream comes, and the time between further ones. gRPC servers end a connection that has more than two
 * in less than 5 minutes each behind the first (grpc-go `keepalive.EnforcementPolicy`, gRPC core GRPC_ARG_HTTP2_MAX_PING_STRIKES).
 */
const PINGS_MAX = 3;
const PING_SPACING_MS = 310_000;

/** See the file's header. Made around a socket that is connected and, where asked for, verified. */
export class Http2Session {
  readonly key: string;
  /** Ordinal among all sessions: later ones were dialled later. */
  readonly number: number;
  readonly #socket: Socket;
  /** Field lines that every request here carries besides its own, or "". */
  readonly #mark: FieldLines;
  readonly #session: ClientHttp2Session;
  readonly #limits: Limits;
  readonly #clock: Clock;
  readonly #owner: SessionOwner;
  readonly #exchanges = new Set<Http2Exchange>();
  readonly #patience = new Patience();
  #idleNowMs: number;
  #idleWallMs: number;
  /** The peer's SETTINGS have come: it does speak HTTP/2. */
  #greeted = false;
  /** What has to live longer than streams whose head broke off; see `native-session.ts`. */
  #native: object | null = null;
  /** Of the peer's GOAWAY; `null` for none. */
  #lastStreamId: number | null = null;
  #leaving = false;
  /** Why the connection as a whole ended. */
  #failure: EgressError | null = null;
  #unanswered: Timer | null = null;
  /** PINGs since something of a stream came, and when the last was sent. */
  #pings = 0;
  #pingedMs = 0;

  constructor(
    key: string,
    number: number,
    socket: Socket,
    mark: FieldLines,
    limits: Limits,
    clock: Clock,
    owner: SessionOwner,
  ) {
    this.key = key;
    this.number = number;
    this.#socket = socket;
    this.#mark = mark;
    this.#limits = limits;
    this.#clock = clock;
    this.#owner = owner;
    this.#idleNowMs = clock.now();
    this.#idleWallMs = clock.wall();
    this.#session = openSession(socket, limits);
    this.#listen();
  }

  /** Calls on it now. */
  get streams(): number {
    return this.#exchanges.size;
  }

  /** Whether it takes another call at once. */
  get hasRoom(): boolean {
    if (this.#leaving || this.#session.closed || this.#session.destroyed) return false;
    const told = this.#greeted
      ? (this.#session.remoteSettings.maxConcurrentStreams ?? Infinity)
      : STREAMS_UNTOLD;
    return this.#exchanges.size < Math.min(told, this.#limits.streamsMax);
  }

  /** Milliseconds since the last call on it was over, by the clock that moved further: either may stand still in a freeze. */
  idleMs(): number {
    return Math.max(this.#clock.now() - this.#idleNowMs, this.#clock.wall() - this.#idleWallMs);
  }

  /** Bytes that wait in its streams for the application (within their windows), or for the peer. */
  bufferedBytes(): number {
    let bytes = 0;
    for (const exchange of this.#exchanges) bytes += exchange.bufferedBytes();
    return bytes;
  }

  /** Sends `request` and resolves with the head of its response. Only while it has room. */
  send(request: EgressRequest, facts: AttemptFacts, idleTimeoutMs: number): Promise<EgressResponse> {
    return new Promise((resolve, reject) => {
      const flight = new InFlight(request, facts, resolve, reject);
      if (request.cancelled.value !== undefined) return flight.fail(request.cancelled.value);
      try {
        const streamed = request.body.whole === null;
        const stream = this.#session.request(requestList(request, this.#mark), {
          endStream: request.body.whole === "",
          waitForTrailers: streamed,
        });
        const exchange = new Http2Exchange(stream, flight, {
          limits: this.#limits,
          idleTimeoutMs,
          clock: this.#clock,
          owner: this.#streamOwner,
        });
        this.#exchanges.add(exchange);
        exchange.start();
      } catch (error) {
        flight.fail(asEgressError(error));
      }
    });
  }

  /** Called every second or so. */
  sweep(nowMs: number): void {
    for (const exchange of [...this.#exchanges]) exchange.sweep(nowMs);
    const wait = this.#exchanges.size > 0 ? "peer" : "nothing";
    const silent = this.#patience.exhausted(wait, this.#socket.bytesRead, nowMs, SILENCE_MS_MAX);
    if (silent && wait === "peer") this.ping();
  }

  /** Asks the peer for a sign of life, unless it has been asked too often; without one the connection ends and its calls fail. */
  ping(): void {
    // Node sends none on a connection that goes away; idle_timeout bounds what is left on it.
    if (this.#unanswered !== null || this.#session.closed || this.#session.destroyed) return;
    const nowMs = this.#clock.now();
    if (this.#pings >= PINGS_MAX && nowMs - this.#pingedMs < PING_SPACING_MS) return;
    this.#pings += 1;
    this.#pingedMs = nowMs;
    this.#unanswered = this.#clock.after(PING_MS_MAX, () => {
      this.#failure = new EgressError("UPSTREAM_RESET", `no answer to a PING in ${PING_MS_MAX} ms`);
      this.destroy();
    });
    // Also called when the connection begins to go away, which answers the question too.
    this.#session.ping(() => this.#answered());
  }

  /** Ends it; calls under way fail. */
  destroy(): void {
    this.#answered();
    this.#leave();
    this.#session.destroy();
    // Node waits for what is written to be taken, which a dead peer never does.
    this.#socket.destroy();
    this.#owner.gone(this);
  }

  #listen(): void {
    const session = this.#session;
    session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    session.on("remoteSettings", () => {
      this.#greeted = true;
      this.#native ??= nativeSession();
    });
    session.on("goaway", (_code, lastStreamId) => {
      this.#lastStreamId = lastStreamId;
      this.#leave();
    });
    session.on("error", (error) => (this.#failure ??= this.#failureOf(error)));
    // Pushes are off (SETTINGS_ENABLE_PUSH); a peer that pushes all the same has broken the protocol.
    session.on("stream", () => this.destroy());
    session.on("close", () => this.destroy());
    this.#socket.on("close", () => this.destroy());
  }

  /** No further calls. Without any under way there is nothing to wait for. */
  #leave(): void {
    if (this.#leaving) return;
    this.#leaving = true;
    this.#owner.leaving(this);
    if (this.#exchanges.size === 0) setImmediate(() => this.destroy());
  }

  #answered(): void {
    this.#unanswered?.cancel();
    this.#unanswered = null;
  }

  /** What an error of the session says about the connection. */
  #failureOf(error: Error): EgressError {
    if (!this.#greeted && isProtocolError(error)) {
      return new EgressError("VERSION_REFUSED", "the upstream does not answer in HTTP/2", error);
    }
    if (isProtocolError(error)) return new EgressError("UPSTREAM_INVALID", error.message, error);
    return connectionFailure("send", error);
  }

  readonly #streamOwner = {
    done: (exchange: Http2Exchange): void => {
      if (!this.#exchanges.delete(exchange) || this.#exchanges.size > 0) return;
      this.#idleNowMs = this.#clock.now();
      this.#idleWallMs = this.#clock.wall();
      if (this.#leaving) setImmediate(() => this.destroy());
      else this.#owner.idle(this);
    },
    received: (): void => {
      this.#pings = 0;
    },
    brokeOff: (stream: ClientHttp2Stream): void => outlive(this.#native, stream),
    failureOf: (stream: ClientHttp2Stream, error: Error | null): EgressError => {
      const { id } = stream;
      const aboveGoaway = id === undefined || (this.#lastStreamId !== null && id > this.#lastStreamId);
      // The streams of a connection that broke are told before the session says why.
      const told = error === null || isStreamError(error) ? null : this.#failureOf(error);
      return streamFailure({ code: stream.rstCode, error, aboveGoaway, connection: this.#failure ?? told });
    },
  };
}

/** nghttp2's own complaints about what the peer sent. */
const isProtocolError = (error: Error): boolean => "code" in error && error.code === "ERR_HTTP2_ERROR";

/** Made of a RST_STREAM's code, which is told apart. */
const isStreamError = (error: Error): boolean => "code" in error && error.code === "ERR_HTTP2_STREAM_ERROR";

function openSession(socket: Socket, limits: Limits): ClientHttp2Session {
  const { headBytesMax, headerCountMax } = limits;
  return connect("http://upstream", {
    createConnection: () => socket,
    maxSessionMemory: SESSION_MEMORY_MB_MAX,
    // Twice what is taken: what is a little too much is read and refused as such, what is far too much is not read at all.
    maxHeaderListPairs: 2 * headerCountMax,
    ...MORE_OPTIONS,
    maxReservedRemoteStreams: 0,
    peerMaxConcurrentStreams: STREAMS_UNTOLD,
    settings: {
      enablePush: false,
      initialWindowSize: STREAM_WINDOW_BYTES,
      maxHeaderListSize: 2 * headBytesMax + LIST_OVERHEAD_BYTES * headerCountMax,
    },
  });
}

/** The request's head. `content-length: 0` and none stay apart, as in HTTP/1.1: a signature may cover it. */
function requestList(request: EgressRequest, mark: FieldLines): string[] {
  const { method, scheme, host, port, path, body } = request;
  const pseudo = [
    ":method",
    method,
    ":scheme",
    scheme,
    ":authority",
    formatAuthority(host, port, scheme),
    ":path",
    path,
  ];
  const list = headerListOf(pseudo, request.fields + mark);
  if (body.length !== null && (body.length > 0 || request.hasLength)) {
    list.push("content-length", String(body.length));
  }
  if (request.expectContinue) list.push("expect", "100-continue");
  if (request.teTrailers) list.push("te", "trailers");
  return list;
}
