/**
 * Reads whole HTTP messages off a `Peer`, by a plain reading of RFC 9112 that shares no code with the proxy: what the other side of
 * the proxy would understand. Throws where a careful receiver would.
 */
import type { Peer } from "./peer.ts";

/** A message as its receiver understands it. */
export interface Message {
  readonly startLine: string;
  /** In order and with their case. */
  readonly fields: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer;
  /** Field lines behind the last chunk, or "". */
  readonly trailers: string;
  /** Start line and fields as they came, the empty line included. */
  readonly head: string;
  /** The body's bytes as they came, chunk frames included. */
  readonly framed: string;
}

/** A response. */
export interface ResponseMessage extends Message {
  readonly status: number;
}

/** Value of the only field named `name`, `undefined` when there is none. Throws when there are more. */
export function field(message: Pick<Message, "fields">, name: string): string | undefined {
  const values = message.fields.filter(([other]) => other.toLowerCase() === name.toLowerCase());
  if (values.length > 1) throw new Error(`${values.length} fields ${name}`);
  return values[0]?.[1];
}

/** One request. */
export async function readRequest(peer: Peer): Promise<Message> {
  const head = parseHead(await peer.until("\r\n\r\n"));
  return { ...head, ...(await readBody(peer, head, false)) };
}

/** One response to a request with `method`, interim ones left out unless `interim`. */
export async function readResponse(peer: Peer, method = "GET", interim = false): Promise<ResponseMessage> {
  for (;;) {
    const head = parseHead(await peer.until("\r\n\r\n"));
    const status = Number(/^HTTP\/1\.[01] (\d{3}) /.exec(head.startLine)?.[1]);
    if (status < 200 && status !== 101) {
      if (interim) return { ...head, status, body: Buffer.alloc(0), trailers: "", framed: "" };
      continue;
    }
    const bodiless = method === "HEAD" || status === 204 || status === 304 || status === 101;
    const tunnel = method === "CONNECT" && status === 200;
    if (bodiless || tunnel) return { ...head, status, body: Buffer.alloc(0), trailers: "", framed: "" };
    return { ...head, status, ...(await readBody(peer, head, true)) };
  }
}

/** Splits a head; shared by both directions. */
export function parseHead(head: string): Pick<Message, "startLine" | "fields" | "head"> {
  const [startLine, ...lines] = head.slice(0, -4).split("\r\n");
  const fields = lines.map((line) => {
    const parts = /^([^\s:]+):[ \t]*(.*?)[ \t]*$/s.exec(line);
    if (parts === null) throw new Error(`malformed field line ${JSON.stringify(line)}`);
    return [parts[1]!, parts[2]!] as const;
  });
  return { startLine: startLine!, fields, head };
}

type BodyParts = Pick<Message, "body" | "trailers" | "framed">;

async function readBody(peer: Peer, head: Pick<Message, "fields">, untilEnd: boolean): Promise<BodyParts> {
  const coding = field(head, "transfer-encoding");
  const length = field(head, "content-length");
  if (coding !== undefined && length !== undefined) throw new Error("two framings");
  if (coding !== undefined) {
    if (coding !== "chunked") throw new Error(`transfer coding ${coding}`);
    return readChunks(peer);
  }
  if (length === undefined && untilEnd) {
    const body = await peer.rest();
    if (peer.parting !== "end") throw new Error("the body broke off");
    return { body, trailers: "", framed: body.toString("latin1") };
  }
  const body = await peer.take(Number(length ?? 0));
  return { body, trailers: "", framed: body.toString("latin1") };
}

async function readChunks(peer: Peer): Promise<BodyParts> {
  const chunks: Buffer[] = [];
  let framed = "";
  for (;;) {
    const line = await peer.until("\r\n");
    framed += line;
    if (!/^[0-9a-f]+\r\n$/i.test(line)) throw new Error(`chunk size ${JSON.stringify(line)}`);
    const size = Number.parseInt(line, 16);
    if (size === 0) break;
    const chunk = await peer.take(size);
    chunks.push(chunk);
    const end = await peer.until("\r\n");
    if (end !== "\r\n") throw new Error("chunk longer than its size");
    framed += `${chunk.toString("latin1")}\r\n`;
  }
  let trailers = "";
  for (;;) {
    const line = await peer.until("\r\n");
    framed += line;
    if (line === "\r\n") return { body: Buffer.concat(chunks), trailers, framed };
    trailers += line;
  }
}
