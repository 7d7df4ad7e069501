/**
 * AWS Signature Version 4 as Amazon S3 verifies it: of a request, of each chunk of an `aws-chunked` body, and of its trailer. Pure.
 *
 * Sources: Amazon S3 API Reference, "Signature Calculations for the Authorization Header" (single chunk; multiple chunks; multiple
 * chunks with trailing headers). The examples of those pages are the tests.
 */
import { createHash, createHmac } from "node:crypto";

/** What both sides know. */
export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** A request's head, as it is signed. */
export interface SignableRequest {
  readonly method: string;
  /** Path and query as they stand in the request line: S3 takes the path as it was sent. */
  readonly target: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
}

/** What `Authorization` says. */
export interface Authorization {
  readonly accessKeyId: string;
  /** `YYYYMMDD/region/s3/aws4_request`. */
  readonly scope: string;
  readonly signedHeaders: readonly string[];
  readonly signature: string;
}

/** What the signatures behind the first hang on. */
export interface ChunkChain {
  readonly key: Buffer;
  readonly scope: string;
  /** `x-amz-date`. */
  readonly date: string;
}

const EMPTY_SHA256 = sha256("");

/** SHA-256 as hex digits. */
export function sha256(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

function hmac(key: string | Uint8Array, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

/** Reads an `Authorization` field; `null` when it is none of this scheme. */
export function readAuthorization(value: string | undefined): Authorization | null {
  const parts =
    /^AWS4-HMAC-SHA256 Credential=([^/,\s]+)\/([^,\s]+), ?SignedHeaders=([^,\s]+), ?Signature=([0-9a-f]{64})$/.exec(
      value ?? "",
    );
  if (parts === null) return null;
  const [, accessKeyId, scope, signedHeaders, signature] = parts as unknown as string[];
  return {
    accessKeyId: accessKeyId!,
    scope: scope!,
    signedHeaders: signedHeaders!.split(";"),
    signature: signature!,
  };
}

/** The chain that a request's signature begins. */
export function chainOf(request: SignableRequest, scope: string, secretAccessKey: string): ChunkChain {
  const [day, region, service] = scope.split("/") as [string, string, string];
  const key = ["AWS4", day, region, service, "aws4_request"]
    .slice(1)
    .reduce<string | Buffer>((signing, part) => hmac(signing, part), `AWS4${secretAccessKey}`) as Buffer;
  return { key, scope, date: request.headers["x-amz-date"] ?? "" };
}

/** Signature of a request over the headers that it names. */
export function requestSignature(
  request: SignableRequest,
  signedHeaders: readonly string[],
  chain: ChunkChain,
): string {
  const canonical = canonicalRequest(request, signedHeaders);
  return sign(chain, ["AWS4-HMAC-SHA256", chain.date, chain.scope, sha256(canonical)]);
}

/** Signature of one chunk, which hangs on the one before. */
export function chunkSignature(chain: ChunkChain, previous: string, chunk: Uint8Array): string {
  const lines = ["AWS4-HMAC-SHA256-PAYLOAD", chain.date, chain.scope, previous, EMPTY_SHA256, sha256(chunk)];
  return sign(chain, lines);
}

/** Signature of the trailer, `name:value` a line, each ended by a line feed. */
export function trailerSignature(chain: ChunkChain, previous: string, trailer: string): string {
  return sign(chain, ["AWS4-HMAC-SHA256-TRAILER", chain.date, chain.scope, previous, sha256(trailer)]);
}

function sign({ key }: ChunkChain, lines: readonly string[]): string {
  return hmac(key, lines.join("\n")).toString("hex");
}

function canonicalRequest(
  { method, target, headers }: SignableRequest,
  signedHeaders: readonly string[],
): string {
  const [path, query = ""] = target.split("?") as [string, string?];
  return [
    method,
    path,
    canonicalQuery(query),
    ...signedHeaders.map((name) => `${name}:${(headers[name] ?? "").trim().replace(/ +/g, " ")}`),
    "",
    signedHeaders.join(";"),
    headers["x-amz-content-sha256"] ?? "",
  ].join("\n");
}

function canonicalQuery(query: string): string {
  if (query === "") return "";
  const pairs = query.split("&").map((pair) => {
    const [name, value = ""] = pair.split("=") as [string, string?];
    return `${escaped(name)}=${escaped(value)}`;
  });
  return pairs.sort().join("&");
}

/** Every byte but the unreserved ones of RFC 3986 as `%XX`. */
function escaped(part: string): string {
  return encodeURIComponent(decodeURIComponent(part)).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
