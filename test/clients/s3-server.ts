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
  readonly key: string;
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

  /** Calls whose key begins with `client/`. */
  callsOf(client: string): readonly S3Call[] {
    return this.calls.filter(({ key }) => key.startsWith(`/bucket/${client}/`));
  }

  /** Serves one request. */
  async serve(request: IncomingMessage, response: ServerResponse, expected: boolean): Promise<void> {
    const noted = {
      bodyBytes: 0,
      chunks: 0,
      checksums: [] as string[],
      signedHeaders: [] as readonly string[],
    };
    let [status, refused, answer]: [number, string, Buffer] = [200, "", Buffer.alloc(0)];
    try {
      const head = verifiedHead(request);
      noted.signedHeaders = head.authorization.signedHeaders;
      if (expected) response.writeContinue();
      const body = await readBody(request);
      noted.bodyBytes = body.length;
      const decoded = verifiedBody(head, body);
      noted.chunks = decoded.chunks;
      noted.checksums = verifiedChecksums(request, decoded);
      answer = this.#act(request, decoded.content);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      status = error.status;
      refused = `${error.code}: ${error.message}`;
      answer = Buffer.from(
        `<?xml version="1.0"?><Error><Code>${error.code}</Code><Message>${error.message}</Message></Error>`,
      );
    }
    const payload = header(request, "x-amz-content-sha256").replace(/^[0-9a-f]{64}$/, "SHA-256");
    const { method, url, headers } = request;
    const traceparent = headers.traceparent as string | undefined;
    const key = url!.split("?")[0]!;
    this.calls.push({ method: method!, key, status, refused, payload, expected, traceparent, ...noted });
    const type = refused === "" ? "application/octet-stream" : "application/xml";
    const etag = `"${createHash("md5").update(answer).digest("hex")}"`;
    response.writeHead(status, { "content-type": type, "content-length": answer.length, etag });
    response.end(answer);
  }

  #act({ method, url }: IncomingMessage, content: Buffer): Buffer {
    const key = url!.split("?")[0]!;
    if (method === "PUT") {
      this.#objects.set(key, content);
      return Buffer.alloc(0);
    }
    const found = method === "GET" ? this.#objects.get(key) : undefined;
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

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of request as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > BODY_BYTES_MAX) throw new Refusal(400, "EntityTooLarge", `above ${BODY_BYTES_MAX} bytes`);
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
