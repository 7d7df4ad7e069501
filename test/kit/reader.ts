/**
 * Reads one HTTP/1.1 message after the other off a socket as they come, by a plain reading of RFC 9112 that shares no code with the
 * proxy. Keeps the head and a hash of the body, never the body: for what is compared rather than looked at, and for bodies of any size.
 */
import { createHash, type Hash } from "node:crypto";
import type { Socket } from "node:net";

/** A head as it came. */
export interface HeadSeen {
  readonly startLine: string;
  /** Lower-case names; the values of a name that came more than once are joined by ", ". */
  readonly fields: ReadonlyMap<string, string>;
}

/** What came of one message. */
export interface BodySeen {
  /** Bytes of the body, frames left out. */
  readonly bytes: number;
  /** SHA-256 of those, hexadecimal. */
  readonly hash: string;
  /** Field lines behind the last chunk, or "". */
  readonly trailers: string;
  /** `whole`: it ended as its framing says. `broken`: the connection was lost before that, or the frames made no sense. */
  readonly end: "whole" | "broken";
}

/** A message that is being read. */
export interface Reading {
  /** Rejects when the connection is lost before the head is whole. */
  readonly head: Promise<HeadSeen>;
  readonly body: Promise<BodySeen>;
}

/** How a body ends; `close`: with its connection. */
type Framing = { kind: "none" } | { kind: "length"; left: number } | { kind: "chunked" } | { kind: "close" };

const CRLF = "\r\n";

/** See the file's header. Takes the socket's bytes from now on. */
export class MessageReader {
  #pending: Buffer = Buffer.alloc(0);
  #current: OpenReading | null = null;
  #parting: "end" | "reset" | null = null;

  constructor(socket: Socket) {
    socket.on("data", (bytes: Buffer) => {
      this.#pending = this.#pending.length === 0 ? bytes : Buffer.concat([this.#pending, bytes]);
      this.#advance();
    });
    socket.on("end", () => this.#left("end"));
    socket.on("error", () => this.#left("reset"));
    socket.on("close", () => this.#left("reset"));
  }

  /** How the other side left; `null` while it is there. */
  get parting(): "end" | "reset" | null {
    return this.#parting;
  }

  /** Bytes that no message has claimed. */
  get unclaimed(): number {
    return this.#pending.length;
  }

  /** Reads a request. */
  request(): Reading {
    return this.#read((head) => framingOf(head, false));
  }

  /** Reads the final response to a request with `method`; interim ones are passed over. */
  response(method: string): Reading {
    return this.#read((head) => {
      const status = Number(head.startLine.split(" ")[1]);
      const bodiless = method === "HEAD" || status === 204 || status === 304;
      return bodiless ? { kind: "none" } : framingOf(head, true);
    });
  }

  #read(framing: (head: HeadSeen) => Framing): Reading {
    this.#current = new OpenReading(framing);
    const { head, body } = this.#current;
    this.#advance();
    if (this.#parting !== null) this.#left(this.#parting);
    return { head: head.promise, body: body.promise };
  }

  #advance(): void {
    if (this.#current === null) return;
    this.#pending = this.#current.feed(this.#pending);
    if (this.#current.over) this.#current = null;
  }

  #left(how: "end" | "reset"): void {
    this.#parting ??= how;
    this.#current?.left(this.#parting);
    this.#current = null;
  }
}

/** One message, while it comes. */
class OpenReading {
  readonly head = Promise.withResolvers<HeadSeen>();
  readonly body = Promise.withResolvers<BodySeen>();
  over = false;
  readonly #framingOf: (head: HeadSeen) => Framing;
  #framing: Framing | null = null;
  /** Chunked: bytes of the chunk still to come; -1: a size line is next; -2: the trailers; -3: the end of a chunk's data. */
  #chunkLeft = -1;
  #trailers = "";
  #bytes = 0;
  readonly #hash: Hash = createHash("sha256");

  constructor(framing: (head: HeadSeen) => Framing) {
    this.#framingOf = framing;
    this.head.promise.catch(() => {});
  }

  /** Takes what belongs to this message; returns the rest. */
  feed(bytes: Buffer): Buffer {
    let rest = bytes;
    while (this.#framing === null) {
      const end = rest.indexOf("\r\n\r\n");
      if (end < 0) return rest;
      const head = headOf(rest.latin1Slice(0, end));
      rest = rest.subarray(end + 4);
      if (/^HTTP\/1\.[01] 1\d\d/.test(head.startLine)) continue;
      this.#framing = this.#framingOf(head);
      this.head.resolve(head);
    }
    return this.#feedBody(this.#framing, rest);
  }

  left(how: "end" | "reset"): void {
    if (this.#framing === null) this.head.reject(new Error(`the connection was lost inside a head (${how})`));
    this.#finish(this.#framing?.kind === "close" && how === "end" ? "whole" : "broken");
  }

  #feedBody(framing: Framing, bytes: Buffer): Buffer {
    switch (framing.kind) {
      case "none":
        this.#finish("whole");
        return bytes;
      case "close":
        this.#take(bytes);
        return bytes.subarray(bytes.length);
      case "length": {
        const take = Math.min(framing.left, bytes.length);
        this.#take(bytes.subarray(0, take));
        framing.left -= take;
        if (framing.left === 0) this.#finish("whole");
        return bytes.subarray(take);
      }
      case "chunked":
        return this.#feedChunks(bytes);
    }
  }

  #feedChunks(bytes: Buffer): Buffer {
    let rest = bytes;
    while (!this.over) {
      if (this.#chunkLeft > 0) {
        const take = Math.min(this.#chunkLeft, rest.length);
        this.#take(rest.subarray(0, take));
        rest = rest.subarray(take);
        this.#chunkLeft -= take;
        if (this.#chunkLeft > 0) return rest;
        this.#chunkLeft = -3;
      }
      const end = rest.indexOf(CRLF);
      if (end < 0) return rest;
      this.#line(rest.latin1Slice(0, end));
      rest = rest.subarray(end + 2);
    }
    return rest;
  }

  /** A line of the chunked framing: a size, the end of a chunk, or a trailer. */
  #line(line: string): void {
    if (this.#chunkLeft === -3) {
      if (line !== "") return this.#finish("broken");
      this.#chunkLeft = -1;
    } else if (this.#chunkLeft === -2) {
      if (line === "") this.#finish("whole");
      else this.#trailers += line + CRLF;
    } else if (!/^[0-9a-f]{1,8}$/i.test(line)) this.#finish("broken");
    else this.#chunkLeft = Number.parseInt(line, 16) || -2;
  }

  #take(bytes: Buffer): void {
    this.#bytes += bytes.length;
    this.#hash.update(bytes);
  }

  #finish(end: "whole" | "broken"): void {
    if (this.over) return;
    this.over = true;
    const hash = this.#hash.digest("hex");
    this.body.resolve({ bytes: this.#bytes, hash, trailers: this.#trailers, end });
  }
}

function headOf(text: string): HeadSeen {
  const [startLine, ...lines] = text.split(CRLF);
  const fields = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    fields.set(name, fields.has(name) ? `${fields.get(name)}, ${value}` : value);
  }
  return { startLine: startLine!, fields };
}

function framingOf(head: HeadSeen, isResponse: boolean): Framing {
  if (head.fields.get("transfer-encoding") === "chunked") return { kind: "chunked" };
  const length = head.fields.get("content-length");
  if (length !== undefined) return { kind: "length", left: Number(length) };
  return isResponse ? { kind: "close" } : { kind: "none" };
}
