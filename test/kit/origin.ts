/**
 * An origin server that does exactly what its script says, right or wrong, and remembers every byte that it was sent.
 *
 * The script is a list of steps: the first request (over all connections) gets the first step, the last step serves all further ones.
 */
import { createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type TlsOptions } from "node:tls";
import { type Message, parseHead, readRequest } from "./message.ts";
import { Peer } from "./peer.ts";

/** A request as the origin received it. */
export interface ReceivedRequest extends Message {
  /** 1 for the first connection that the origin accepted. */
  readonly connection: number;
}

/** What a step works with. */
export interface OriginTurn {
  readonly peer: Peer;
  /** With `when: "head"` its body is empty: what has not been read is still in the peer. */
  readonly request: ReceivedRequest;
  /** 1 for the first connection. */
  readonly connection: number;
}

/** What the origin does with one request. */
export interface Step {
  /** `connect`: before anything is read; `head`: when the head is here; `request`: when the body is here too. */
  readonly when: "connect" | "head" | "request";
  /** Returns whether the connection serves another request. */
  play(turn: OriginTurn): Promise<boolean> | boolean;
}

/** Answers with exactly these bytes, once the request is here; keeps the connection. */
export const answer = (bytes: string): Step => ({
  when: "request",
  play: async ({ peer }) => {
    await peer.write(bytes);
    return true;
  },
});

/** 200 with `body` and its length, and more fields if wanted (`Name: value\r\n` each). */
export const ok = (body = "ok", fields = ""): Step =>
  answer(`HTTP/1.1 200 OK\r\n${fields}Content-Length: ${Buffer.byteLength(body, "latin1")}\r\n\r\n${body}`);

/** Answers with exactly these bytes, then ends the connection. */
export const answerAndClose = (bytes: string): Step => ({
  when: "request",
  play: async ({ peer }) => {
    await peer.write(bytes);
    peer.halfClose();
    return false;
  },
});

/** Answers as soon as the head is here, whatever the body does, and goes on reading. */
export const answerEarly = (bytes: string): Step => ({
  when: "head",
  play: async ({ peer }) => {
    await peer.write(bytes);
    return false;
  },
});

/** Answers in pieces that arrive apart. */
export const drip = (...pieces: readonly string[]): Step => ({
  when: "request",
  play: async ({ peer }) => {
    for (const piece of pieces) {
      await peer.write(piece);
      await apart();
    }
    return true;
  },
});

/** Writes `bytes`, if any, then resets the connection. */
export const reset = (bytes = ""): Step => ({
  when: "request",
  play: async ({ peer }) => {
    if (bytes !== "") {
      await peer.write(bytes);
      await apart();
    }
    peer.reset();
    return false;
  },
});

/** Takes the request and never answers. */
export const silence = (): Step => ({ when: "request", play: () => false });

/** Speaks before it is spoken to. */
export const speakFirst = (bytes: string): Step => ({
  when: "connect",
  play: async ({ peer }) => {
    await peer.write(bytes);
    return false;
  },
});

/** Anything else. */
export const step = (play: Step["play"], when: Step["when"] = "request"): Step => ({ when, play });

/** Long enough on loopback for two writes not to arrive as one; nothing is asserted on it. */
export const apart = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 15));

const NOTHING: Message = {
  startLine: "",
  fields: [],
  body: Buffer.alloc(0),
  trailers: "",
  head: "",
  framed: "",
};

/** See the file's header. Made by `scriptedOrigin`. */
export class Origin {
  readonly requests: ReceivedRequest[] = [];
  readonly connections: Peer[] = [];
  /** What went wrong while a script was played, for instance a request that could not be read to its end. */
  readonly problems: Error[] = [];
  readonly #server: Server;
  readonly #script: Step[];
  /** Also those whose handshake never ended. */
  readonly #accepted = new Set<Socket>();

  constructor(script: readonly Step[], tls: TlsOptions | null) {
    this.#script = [...script];
    const serve = (socket: Socket): void => void this.#serve(new Peer(socket));
    this.#server =
      tls === null
        ? createServer({ allowHalfOpen: true, noDelay: true }, serve)
        : createTlsServer({ allowHalfOpen: true, noDelay: true, ...tls }, serve);
    // A handshake that the proxy breaks off is the proxy's right.
    this.#server.on("tlsClientError", (_error, socket: Socket) => socket.destroy());
    this.#server.on("connection", (socket: Socket) => {
      this.#accepted.add(socket);
      socket.on("close", () => this.#accepted.delete(socket));
    });
  }

  /** Listens on a free port. */
  listen(host: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(0, host, resolve);
    });
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  /** Value of Host for a call to this origin by address. */
  get authority(): string {
    const { address, family } = this.#server.address() as { address: string; family: string };
    return family === "IPv6" ? `[${address}]:${this.port}` : `${address}:${this.port}`;
  }

  /** Every byte received on any connection, in order of the connections. */
  get received(): string {
    return this.connections.map((peer) => peer.received).join("");
  }

  /** Resolves when `count` connections have come. */
  async connected(count: number): Promise<void> {
    while (this.connections.length < count) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const peer of this.connections) peer.destroy();
    for (const socket of this.#accepted) socket.destroy();
    await closed;
  }

  async #serve(peer: Peer): Promise<void> {
    const connection = this.connections.push(peer);
    try {
      for (;;) {
        const next = this.#script[0]!;
        const turn = await this.#read(peer, next, connection);
        if (this.#script.length > 1) this.#script.shift();
        if (!(await next.play(turn))) return;
      }
    } catch (error) {
      // Leaving between two requests is how a connection ends.
      if (peer.unread !== "") this.problems.push(error as Error);
      if (peer.parting === "end") peer.halfClose();
    }
  }

  async #read(peer: Peer, next: Step, connection: number): Promise<OriginTurn> {
    if (next.when === "connect") return { peer, connection, request: { ...NOTHING, connection } };
    const request =
      next.when === "head"
        ? { ...NOTHING, ...parseHead(await peer.until("\r\n\r\n")), connection }
        : { ...(await readRequest(peer)), connection };
    this.requests.push(request);
    return { peer, connection, request };
  }
}

/** Starts an origin on a free loopback port, with TLS when `tls` is given. */
export async function scriptedOrigin(
  script: readonly Step[],
  { tls = null, host = "127.0.0.1" }: { tls?: TlsOptions | null; host?: string } = {},
): Promise<Origin> {
  const origin = new Origin(script, tls);
  await origin.listen(host);
  return origin;
}
