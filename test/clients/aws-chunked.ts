/**
 * The content coding `aws-chunked`: chunks with a signature each, and a trailer, inside of whatever frames HTTP puts around them.
 * Reads a whole body and says what is wrong with it; writes one that is right. Pure.
 */
import { type ChunkChain, chunkSignature, trailerSignature } from "./sigv4.ts";

/** A body, read. */
export interface DecodedBody {
  readonly content: Buffer;
  /** Chunks with content. */
  readonly chunks: number;
  /** Fields behind the last chunk, in lower case. */
  readonly trailer: ReadonlyMap<string, string>;
}

/** How the signatures of a body hang together; `null` for a body whose chunks are not signed. */
export interface Signing {
  readonly chain: ChunkChain;
  /** The request's signature. */
  readonly seed: string;
}

const CRLF = "\r\n";

/**
 * Reads `body`.
 * @throws Error that says what is wrong: a frame, a signature, or bytes behind the end
 */
export function decodeAwsChunked(body: Buffer, signing: Signing | null): DecodedBody {
  const contents: Buffer[] = [];
  let previous = signing?.seed ?? "";
  let at = 0;
  const line = (): string => {
    const end = body.indexOf(CRLF, at, "latin1");
    if (end === -1) throw new Error(`a line without an end at ${at}`);
    const text = body.toString("latin1", at, end);
    at = end + 2;
    return text;
  };
  for (;;) {
    const [, size, signature] = /^([0-9a-f]+)(?:;chunk-signature=([0-9a-f]{64}))?$/i.exec(line()) ?? [];
    if (size === undefined) throw new Error(`no chunk head before ${at}`);
    const chunk = body.subarray(at, at + Number.parseInt(size, 16));
    if (signing !== null) {
      if (signature !== chunkSignature(signing.chain, previous, chunk))
        throw new Error(`the signature of chunk ${contents.length + 1} does not match`);
      previous = signature;
    }
    if (chunk.length === 0) break;
    contents.push(chunk);
    at += chunk.length;
    if (line() !== "") throw new Error(`chunk ${contents.length} is longer than its size`);
  }
  const trailer = readTrailer(line, at < body.length);
  if (at !== body.length) throw new Error(`${body.length - at} bytes behind the end`);
  if (signing !== null) checkTrailer(trailer, signing.chain, previous);
  return { content: Buffer.concat(contents), chunks: contents.length, trailer };
}

function readTrailer(line: () => string, more: boolean): Map<string, string> {
  const trailer = new Map<string, string>();
  if (!more) return trailer;
  for (let text = line(); text !== ""; text = line()) {
    const colon = text.indexOf(":");
    trailer.set(text.slice(0, colon).toLowerCase(), text.slice(colon + 1).trim());
  }
  return trailer;
}

function checkTrailer(trailer: Map<string, string>, chain: ChunkChain, previous: string): void {
  const signature = trailer.get("x-amz-trailer-signature");
  trailer.delete("x-amz-trailer-signature");
  if (trailer.size === 0) return;
  if (signature !== trailerSignature(chain, previous, trailerText(trailer)))
    throw new Error("the signature of the trailer does not match");
}

const trailerText = (trailer: ReadonlyMap<string, string>): string =>
  [...trailer].map(([name, value]) => `${name}:${value}\n`).join("");

/** Writes `content` in signed chunks of `chunkBytes`, and `trailer` behind them. */
export function encodeAwsChunked(
  content: Buffer,
  { chain, seed }: Signing,
  { chunkBytes, trailer }: { readonly chunkBytes: number; readonly trailer: ReadonlyMap<string, string> },
): Buffer {
  const parts: (string | Buffer)[] = [];
  let previous = seed;
  for (let at = 0; ; at += chunkBytes) {
    const chunk = content.subarray(at, at + chunkBytes);
    previous = chunkSignature(chain, previous, chunk);
    parts.push(`${chunk.length.toString(16)};chunk-signature=${previous}${CRLF}`);
    if (chunk.length === 0) break;
    parts.push(chunk, CRLF);
  }
  for (const [name, value] of trailer) parts.push(`${name}:${value}${CRLF}`);
  if (trailer.size > 0) {
    parts.push(`x-amz-trailer-signature:${trailerSignature(chain, previous, trailerText(trailer))}${CRLF}`);
  }
  parts.push(CRLF);
  return Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part, "latin1") : part)));
}
