/** The application of the matrix in HTTP/2, by `node:http2`: makes the call of a cell on a stream, and tells what it has seen. */
import { createHash } from "node:crypto";
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from "node:http2";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { payload } from "./bodies.ts";
import type { ClientSaw, MatrixClient } from "./client.ts";
import { seenOf, type Turn } from "./origin.ts";

/** See the file's header. */
export class Http2Client implements MatrixClient {
  readonly #session: ClientHttp2Session;
  readonly #raw: Socket;

  constructor(socket: TLSSocket, raw: Socket, host: string) {
    this.#raw = raw;
    this.#session = connect(`https://${host}`, { createConnection: () => socket });
    // What fails shows on the streams.
    this.#session.on("error", () => {});
  }

  /** A stream that ends early ends alone: the connection serves the next call. */
  get open(): boolean {
    return !this.#session.closed && !this.#session.destroyed;
  }

  async call(turn: Turn): Promise<ClientSaw> {
    const { method, request, size, earlyClose } = turn.cell;
    const length = request === "length" ? { "content-length": size } : {};
    const stream = this.#session.request(
      { ":method": method, ":path": turn.path, ...length },
      { endStream: request === "none" },
    );
    stream.on("error", () => {});
    if (earlyClose === "client in request") {
      stream.write(payload("request", size >> 1));
      await turn.originSawHead.given;
      return leave(stream);
    }
    if (request !== "none") stream.end(payload("request", size));
    const headers = await headersOf(stream);
    if (headers["outrider-error"] !== undefined) {
      throw new Error(`the proxy refused with ${headers["outrider-error"]}`);
    }
    if (earlyClose === "client in response") return leave(stream);
    turn.clientSawHead.give();
    const seen = await bodyOf(stream);
    return {
      status: String(headers[":status"]),
      own: headers["x-turn"] === turn.path,
      ...seenOf("response", headers["content-length"], seen),
    };
  }

  close(): void {
    this.#session.destroy();
    this.#raw.destroy();
  }
}

/** Resets the stream. Not by `close`, which ends our side of it first: a body that has been ended is whole. */
function leave(stream: ClientHttp2Stream): "left" {
  stream.destroy(new Error("left"));
  return "left";
}

type Headers = Record<string, string | undefined>;

function headersOf(stream: ClientHttp2Stream): Promise<Headers> {
  return new Promise((resolve, reject) => {
    stream.once("response", (headers) => resolve(headers as unknown as Headers));
    stream.once("close", () => reject(new Error(`no answer; stream closed with ${stream.rstCode}`)));
  });
}

/** Reads the body to its end, or to the stream's. */
function bodyOf(
  stream: ClientHttp2Stream,
): Promise<{ bytes: number; hash: string; end: "whole" | "broken" }> {
  return new Promise((resolve) => {
    const hash = createHash("sha256");
    let bytes = 0;
    let ended = false;
    stream.on("data", (piece: Buffer) => {
      bytes += piece.length;
      hash.update(piece);
    });
    stream.once("end", () => (ended = true));
    stream.once("close", () => {
      const whole = ended && stream.rstCode === constants.NGHTTP2_NO_ERROR;
      resolve({ bytes, hash: hash.digest("hex"), end: whole ? "whole" : "broken" });
    });
  });
}
