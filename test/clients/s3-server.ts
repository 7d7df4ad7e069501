/**
 * A server of the shape of Amazon S3, as far as PutObject and GetObject go: verifies the signature of every request, the hash or
 * every chunk's signature of every body, and its checksum, and refuses as S3 does. With `Expect: 100-continue` it judges the head
 * before it asks for the body.
 *
 * Uses Node's own server, so that the proxy is not judged by its own codec.
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Server } from "node:net";
import { crc32 } from "node:zlib";
import { certificate } from "../kit/certificates.ts";
import { type DecodedBody, decodeAwsChunked, type Signing } from "./aws-chunked.ts";
import {
  type Authorization,
  type Credentials,
  chainOf,
  readAuthorization,
  requestSignature,
  type SignableRequest,
  sha256,
} from "./sigv4.ts";
import { UPSTREAM_ADDRESS } from "./upstream.ts";

/** What the server knows of its only client. */
export const CREDENTIALS: Credentials = {
  accessKeyId: "AKIDOUTRIDERTEST",
  secretAccessKey: "only-good-for-the-server-of-this-folder",
};

/** A body longer than this is refused. */
const BODY_BYTES_MAX = 64 << 20;

/** A request and what came of it. */
export interface S3Call {
  readonly method: string;
  /** `/bucket/…` */
  readonly path: string;
  readonly status: number;
  /** Code and reason of a refusal, or "". */
  readonly refused: string;
  /** `x-amz-content-sha256`, a hash shown as `SHA-256`. */
  readonly payload: string;
  /** Whether the client asked before it sent the body. */
  readonly expected: boolean;
  /** Body bytes that came, frames of `aws-chunked` included. */
  readonly bodyBytes: number;
  /** Chunks of `aws-chunked` with content; 0 for any other body. */
  readonly chunks: number;
  /** Names of checksums that were verified, in the head or the trailer. */
  readonly checksums: readonly string[];
  readonly signedHeaders: readonly string[];
  readonly traceparent: string | undefined;
}

/** A refusal, as S3 names it. */
class Refusal extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, reason: string) {
    super(reason);
    this.status = status;
    this.code = code;
  }
}

/** A head whose signature is right. */
interface VerifiedHead {
  readonly authorization: Authorization;
  readonly signing: Signing;
  readonly payload: string;
}

/** See the file's header. Made by `startS3Server`. */
export class S3Server {
  readonly calls: S3Call[] = [];
  readonly #objects = new Map<string, Buffer>();
  readonly #server: Server;

  constructor(server: Server) {
    this.#server = server;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Serves one request. `expected`: the client waits for a word before it sends the body. */
  async serve(request: IncomingMessage, response: ServerResponse, expected: boolean): Promise<void> {
    const call = noteOf(request, expected);
    this.calls.push(call);
    let answer: Buffer;
    try {
      answer = await this.#judge(request, call, () => expected && response.writeContinue());
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const { status, code, message } = error;
      call.status = status;
      call.refused = `${code}: ${message}`;
      // What a client sends all the same shows.
      request.on("data", (piece: Buffer) => (call.bodyBytes += piece.length));
      answer = Buffer.from(
        `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`,
      );
    }
    response.writeHead(call.status, {
      "content-type": call.refused === "" ? "application/octet-stream" : "application/xml",
      "content-length": answer.length,
      etag: `"${createHash("md5").update(answer).digest("hex")}"`,
    });
    response.end(answer);
  }

  async #judge(request: IncomingMessage, call: Writable<S3Call>, invite: () => void): Promise<Buffer> {
    const head = verifiedHead(request);
    call.signedHeaders = head.authorization.signedHeaders;
    invite();
    const decoded = verifiedBody(head, await readBody(request, call));
    call.chunks = decoded.chunks;
    call.checksums = verifiedChecksums(request, decoded);
    return this.#act(call, decoded.content);
  }

  #act({ method, path }: S3Call, content: Buffer): Buffer {
    if (method === "PUT") {
      this.#objects.set(path, content);
      return Buffer.alloc(0);
    }
    const found = method === "GET" ? this.#objects.get(path) : undefined;
    if (found === undefined) throw new Refusal(404, "NoSuchKey", "there is no such object");
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const server = this.#server as ReturnType<typeof createServer>;
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  }
}

type Writable<T> = { -readonly [Key in keyof T]: T[Key] };

/** What is known of a call before it has been judged. */
function noteOf(request: IncomingMessage, expected: boolean): Writable<S3Call> {
  return {
    method: request.method!,
    path: request.url!.split("?")[0]!,
    status: 200,
    refused: "",
    payload: header(request, "x-amz-content-sha256").replace(/^[0-9a-f]{64}$/, "SHA-256"),
    expected,
    bodyBytes: 0,
    chunks: 0,
    checksums: [],
    signedHeaders: [],
    traceparent: request.headers.traceparent as string | undefined,
  };
}

const header = (request: IncomingMessage, name: string): string => String(request.headers[name] ?? "");

function verifiedHead(request: IncomingMessage): VerifiedHead {
  const authorization = readAuthorization(request.headers.authorization);
  if (authorization === null) throw new Refusal(403, "AccessDenied", "the request is not signed");
  if (authorization.accessKeyId !== CREDENTIALS.accessKeyId)
    throw new Refusal(403, "InvalidAccessKeyId", "the access key does not exist");
  const headers = Object.fromEntries(
    Object.entries(request.headers).map(([name, value]) => [name, String(value)]),
  );
  const signable: SignableRequest = { method: request.method!, target: request.url!, headers };
  const { scope, signedHeaders, signature } = authorization;
  const chain = chainOf(signable, scope, CREDENTIALS.secretAccessKey);
  if (signature !== requestSignature(signable, signedHeaders, chain))
    throw new Refusal(403, "SignatureDoesNotMatch", "the request's signature is not the one we calculated");
  const unsigned = Object.keys(headers).filter(
    (name) => name.startsWith("x-amz-") && !signedHeaders.includes(name),
  );
  if (unsigned.length > 0) throw new Refusal(403, "AccessDenied", `not signed: ${unsigned.join(", ")}`);
  return {
    authorization,
    signing: { chain, seed: signature },
    payload: headers["x-amz-content-sha256"] ?? "",
  };
}

async function readBody(request: IncomingMessage, call: Writable<S3Call>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of request as AsyncIterable<Buffer>) {
    call.bodyBytes += piece.length;
    if (call.bodyBytes > BODY_BYTES_MAX)
      throw new Refusal(400, "EntityTooLarge", `above ${BODY_BYTES_MAX} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

function verifiedBody({ payload, signing }: VerifiedHead, body: Buffer): DecodedBody {
  const whole = { content: body, chunks: 0, trailer: new Map<string, string>() };
  if (payload === "UNSIGNED-PAYLOAD") return whole;
  if (payload === "STREAMING-UNSIGNED-PAYLOAD-TRAILER") return decoded(body, null);
  if (payload.startsWith("STREAMING-AWS4-HMAC-SHA256-PAYLOAD")) return decoded(body, signing);
  if (payload !== sha256(body))
    throw new Refusal(400, "XAmzContentSHA256Mismatch", "the body's hash is not the one that was signed");
  return whole;
}

function decoded(body: Buffer, signing: Signing | null): DecodedBody {
  try {
    return decodeAwsChunked(body, signing);
  } catch (error) {
    throw new Refusal(403, "SignatureDoesNotMatch", (error as Error).message);
  }
}

/** Checks the length and every checksum that the head or the trailer states, and names the checksums. */
function verifiedChecksums(request: IncomingMessage, { content, trailer }: DecodedBody): string[] {
  const length = header(request, "x-amz-decoded-content-length");
  if (length !== "" && Number(length) !== content.length)
    throw new Refusal(400, "IncompleteBody", `${content.length} bytes instead of ${length}`);
  const promised = header(request, "x-amz-trailer");
  if (promised !== "" && !trailer.has(promised))
    throw new Refusal(400, "MalformedTrailerError", `no ${promised}`);
  const stated = [
    ...Object.entries(request.headers).filter(([name]) =>
      /^x-amz-checksum-(?!algorithm|type|mode)/.test(name),
    ),
    ...trailer,
  ];
  for (const [name, value] of stated) {
    if (value !== checksum(name, content)) throw new Refusal(400, "BadDigest", `${name} does not match`);
  }
  return stated.map(([name]) => name);
}

function checksum(name: string, content: Buffer): string {
  const algorithm = name.slice("x-amz-checksum-".length);
  if (algorithm === "crc32") {
    const value = Buffer.alloc(4);
    value.writeUInt32BE(crc32(content));
    return value.toString("base64");
  }
  if (algorithm !== "sha1" && algorithm !== "sha256")
    throw new Refusal(400, "InvalidRequest", `no ${algorithm} here`);
  return createHash(algorithm).update(content).digest("base64");
}

/** Serves on a free port of `UPSTREAM_ADDRESS`: over TLS with the certificate `server`, or in the clear. */
export async function startS3Server(kind: "tls" | "clear"): Promise<S3Server> {
  const listener =
    (expected: boolean): RequestListener =>
    (request, response) =>
      void s3.serve(request, response, expected).catch(() => response.destroy());
  const server =
    kind === "tls" ? createTlsServer(certificate("server"), listener(false)) : createServer(listener(false));
  server.on("checkContinue", listener(true));
  const s3 = new S3Server(server);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, UPSTREAM_ADDRESS, resolve);
  });
  return s3;
}
