/**
 * A connection to Redis or Valkey: made with the first command, commands pipelined on it, given up as a whole when one gets no answer.
 *
 * Own code instead of a client library: ioredis costs 46 ms and 190 KiB to load (iovalkey 27 ms, 121 KiB; bundled, minified), and what is
 * needed of it is a command and its reply. Not for clusters: keys of one limit share a hash tag, but redirections are not followed.
 */
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Clock, Timer } from "../clock.ts";
import type { Reachability } from "./reachability.ts";
import { commandBytes, type Reply, ReplyReader, StoreRefusal } from "./resp.ts";

/** Commands without an answer at once. Overflow: the next is refused, as if the store were away. */
const PENDING_MAX = 512;

/** After a connection failed, none is tried for so long, doubled up to the maximum with each further failure. */
const PAUSE_MS_MIN = 50;
const PAUSE_MS_MAX = 2000;

/** Where the store is. */
export interface StoreAddress {
  readonly host: string;
  readonly port: number;
  /** Verified against Node's roots and those of NODE_EXTRA_CA_CERTS. */
  readonly tls: boolean;
  readonly database: number;
  /** "" for none. Never in a message or a log. */
  readonly password: string;
}

/** There is no reply. The message says why, and names no secret. */
export class StoreError extends Error {}

/** Reads `redis://host:port[/database]` or `rediss://…`, which the policy's schema has looked at before. */
export function storeAddress(text: string, password: string): StoreAddress {
  const url = new URL(text);
  return {
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: url.port === "" ? 6379 : Number(url.port),
    tls: url.protocol === "rediss:",
    database: Number(url.pathname.slice(1)),
    password,
  };
}

/** Whatever keeps what sandboxes share. */
export interface Store {
  /** The reply to a command. Rejects with a StoreError (no reply) or a StoreRefusal (the server will not). */
  command(...parts: (string | number)[]): Promise<Reply>;
}

interface Pending {
  resolve(reply: Reply): void;
  reject(error: Error): void;
}

/** See the file's header. */
export class RedisStore implements Store {
  readonly #address: StoreAddress;
  readonly #timeoutMs: number;
  readonly #clock: Clock;
  readonly #reachability: Reachability;
  #socket: Socket | null = null;
  #reader = new ReplyReader();
  /** In the order of their commands, which is that of their replies. */
  #pending: Pending[] = [];
  /** One for the oldest command; none while nothing is asked. */
  #timer: Timer | null = null;
  #pauseMs = 0;
  /** By both clocks: a freeze counts as having waited. */
  #failedNowMs = Number.NEGATIVE_INFINITY;
  #failedWallMs = Number.NEGATIVE_INFINITY;

  constructor(address: StoreAddress, timeoutMs: number, clock: Clock, reachability: Reachability) {
    this.#address = address;
    this.#timeoutMs = timeoutMs;
    this.#clock = clock;
    this.#reachability = reachability;
  }

  /** Commands that have no reply yet, those that a new connection begins with included. */
  get pending(): number {
    return this.#pending.length;
  }

  command(...parts: (string | number)[]): Promise<Reply> {
    if (this.#pending.length >= PENDING_MAX) {
      return Promise.reject(new StoreError(`${PENDING_MAX} commands wait for it already`));
    }
    if (this.#socket === null && this.#paused())
      return Promise.reject(new StoreError("it failed a moment ago"));
    return this.#send(this.#socket ?? this.#connect(), parts);
  }

  /** Lets go of a connection that is idle, whose peer may have forgotten it in a freeze; the next command makes another. */
  forget(): void {
    if (this.#pending.length === 0) this.close();
  }

  /** Lets go of the connection; commands under way fail. */
  close(): void {
    if (this.#socket !== null) this.#lose(this.#socket, new StoreError("the connection was given up"));
  }

  #paused(): boolean {
    const sinceMs = Math.max(this.#clock.now() - this.#failedNowMs, this.#clock.wall() - this.#failedWallMs);
    return sinceMs < this.#pauseMs;
  }

  #send(socket: Socket, parts: readonly (string | number)[]): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const settle = (reply: Reply): void => {
        if (reply instanceof StoreRefusal) {
          this.#reachability.failed(reply.message);
          return reject(reply);
        }
        this.#reachability.answered();
        resolve(reply);
      };
      this.#write(socket, parts, { resolve: settle, reject });
    });
  }

  #write(socket: Socket, parts: readonly (string | number)[], pending: Pending): void {
    this.#pending.push(pending);
    this.#timer ??= this.#watch(socket);
    socket.write(commandBytes(parts));
  }

  /** Replies come in order, so that whoever waits the longest waits in vain first. */
  #watch(socket: Socket): Timer {
    return this.#clock.after(this.#timeoutMs, () => {
      this.#timer = null;
      this.#fail(socket, new StoreError(`no reply in ${this.#timeoutMs} ms`));
    });
  }

  #connect(): Socket {
    const { host, port, tls, database, password } = this.#address;
    const socket = tls
      ? connectTls({
          host,
          port,
          minVersion: "TLSv1.2",
          rejectUnauthorized: true,
          ...(isIP(host) === 0 ? { servername: host } : {}),
        })
      : connectTcp({ host, port, noDelay: true });
    this.#socket = socket;
    this.#reader = new ReplyReader();
    socket.unref();
    socket.on("error", (error: NodeJS.ErrnoException) =>
      this.#fail(socket, new StoreError(error.code ?? "the connection failed")),
    );
    socket.on("close", () => this.#fail(socket, new StoreError("the connection was closed")));
    socket.on("data", (chunk: Buffer) => this.#receive(socket, chunk));
    // A server that refuses these refuses what follows as well, so that nothing has to wait for them.
    const resolve = (reply: Reply): void => {
      if (reply instanceof StoreRefusal) this.#fail(socket, new StoreError(`refused: ${reply.message}`));
    };
    const opening: Pending = { resolve, reject: () => {} };
    if (password !== "") this.#write(socket, ["AUTH", password], opening);
    if (database !== 0) this.#write(socket, ["SELECT", database], opening);
    return socket;
  }

  #receive(socket: Socket, chunk: Buffer): void {
    if (socket !== this.#socket) return;
    try {
      for (const reply of this.#reader.read(chunk)) {
        const next = this.#pending.shift();
        if (next === undefined) throw new StoreError("it spoke without being asked");
        this.#pauseMs = 0;
        next.resolve(reply);
        if (socket !== this.#socket) return;
      }
    } catch (error) {
      return this.#fail(socket, error as Error);
    }
    this.#timer?.cancel();
    this.#timer = this.#pending.length > 0 ? this.#watch(socket) : null;
  }

  #fail(socket: Socket, error: Error): void {
    if (socket !== this.#socket) return;
    this.#pauseMs = Math.min(PAUSE_MS_MAX, Math.max(PAUSE_MS_MIN, this.#pauseMs * 2));
    this.#failedNowMs = this.#clock.now();
    this.#failedWallMs = this.#clock.wall();
    this.#reachability.failed(error.message);
    this.#lose(socket, error);
  }

  #lose(socket: Socket, error: Error): void {
    this.#socket = null;
    this.#timer?.cancel();
    this.#timer = null;
    const lost = this.#pending;
    this.#pending = [];
    socket.destroy();
    for (const { reject } of lost) reject(error);
  }
}
