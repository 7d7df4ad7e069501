/** The S3-shaped server's verification, against the examples that Amazon publishes (sources in `sigv4.ts`). */
import { describe, expect, test } from "vitest";
import { decodeAwsChunked, encodeAwsChunked } from "./aws-chunked.ts";
import { chainOf, readAuthorization, requestSignature, type SignableRequest } from "./sigv4.ts";

const SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const SCOPE = "20130524/us-east-1/s3/aws4_request";
const DATE = "20130524T000000Z";

const GET: SignableRequest = {
  method: "GET",
  target: "/test.txt",
  headers: {
    host: "examplebucket.s3.amazonaws.com",
    range: "bytes=0-9",
    "x-amz-content-sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "x-amz-date": DATE,
  },
};

const LIST: SignableRequest = {
  ...GET,
  target: "/?prefix=J&max-keys=2",
  headers: { ...GET.headers, range: "" },
};

const put = (more: Record<string, string>): SignableRequest => ({
  method: "PUT",
  target: "/examplebucket/chunkObject.txt",
  headers: {
    host: "s3.amazonaws.com",
    "content-encoding": "aws-chunked",
    "x-amz-date": DATE,
    "x-amz-decoded-content-length": "66560",
    "x-amz-storage-class": "REDUCED_REDUNDANCY",
    ...more,
  },
});

const PUT = put({
  "content-length": "66824",
  "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
});

const PUT_TRAILER = put({
  "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
  "x-amz-trailer": "x-amz-checksum-crc32c",
});

const EXAMPLES: readonly [what: string, request: SignableRequest, signed: string, signature: string][] = [
  [
    "GET with a range",
    GET,
    "host;range;x-amz-content-sha256;x-amz-date",
    "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
  ],
  [
    "GET with a query",
    LIST,
    "host;x-amz-content-sha256;x-amz-date",
    "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
  ],
  [
    "PUT in signed chunks",
    PUT,
    "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class",
    "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
  ],
  [
    "PUT in signed chunks with a trailer",
    PUT_TRAILER,
    "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer",
    "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
  ],
];

describe("the signature of a request", () => {
  test.each(EXAMPLES)("is Amazon's for %s", (_what, request, signed, signature) => {
    const names = signed.split(";");
    expect(requestSignature(request, names, chainOf(request, SCOPE, SECRET))).toBe(signature);
  });

  test("is another one when a signed field is changed", () => {
    const [, , signed, signature] = EXAMPLES[0]!;
    const changed = { ...GET, headers: { ...GET.headers, range: "bytes=0-10" } };
    expect(requestSignature(changed, signed.split(";"), chainOf(changed, SCOPE, SECRET))).not.toBe(signature);
  });

  test("is read from the field, and from no other scheme's", () => {
    const value = `AWS4-HMAC-SHA256 Credential=AKID/${SCOPE}, SignedHeaders=host;x-amz-date, Signature=${"a".repeat(64)}`;
    expect(readAuthorization(value)).toEqual({
      accessKeyId: "AKID",
      scope: SCOPE,
      signedHeaders: ["host", "x-amz-date"],
      signature: "a".repeat(64),
    });
    expect([readAuthorization("Basic YTpi"), readAuthorization(undefined)]).toEqual([null, null]);
  });
});

/** 65 KiB of "a" in chunks of 64 KiB: Amazon's example. */
const CONTENT = Buffer.alloc(65 * 1024, "a");
const NO_TRAILER: ReadonlyMap<string, string> = new Map();
const signing = { chain: chainOf(PUT, SCOPE, SECRET), seed: EXAMPLES[2]![3] };
const encoded = encodeAwsChunked(CONTENT, signing, { chunkBytes: 65_536, trailer: NO_TRAILER });

const signaturesIn = (body: Buffer): string[] =>
  [...body.toString("latin1").matchAll(/signature[=:]([0-9a-f]{64})/g)].map((found) => found[1]!);

describe("signed chunks", () => {
  test("bear Amazon's signatures", () => {
    expect(encoded.length).toBe(66_824);
    expect(signaturesIn(encoded)).toEqual([
      "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
      "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
      "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    ]);
  });

  test("bear Amazon's signature of a trailer", () => {
    const trailer = new Map([["x-amz-checksum-crc32c", "sOO8/Q=="]]);
    const trailing = { chain: chainOf(PUT_TRAILER, SCOPE, SECRET), seed: EXAMPLES[3]![3] };
    const body = encodeAwsChunked(CONTENT, trailing, { chunkBytes: 65_536, trailer });
    expect(signaturesIn(body)).toEqual([
      "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
      "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
      "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
      "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435",
    ]);
    expect(decodeAwsChunked(body, trailing)).toEqual({ content: CONTENT, chunks: 2, trailer });
  });

  test("are read to what was written", () => {
    expect(decodeAwsChunked(encoded, signing)).toEqual({ content: CONTENT, chunks: 2, trailer: NO_TRAILER });
  });

  test.each([
    ["a byte of the second chunk", 65_800, "chunk 2 does not match"],
    ["a digit of the first signature", 30, "chunk 1 does not match"],
    ["a digit of a size", 0, "does not match"],
  ])("are refused with another %s", (_what, at, said) => {
    const changed = Buffer.from(encoded);
    changed[at] = changed[at] === 0x31 ? 0x32 : 0x31;
    expect(() => decodeAwsChunked(changed, signing)).toThrow(said);
  });

  test("are refused with bytes behind their end, or without it", () => {
    expect(() => decodeAwsChunked(Buffer.concat([encoded, Buffer.from("x")]), signing)).toThrow(
      "1 bytes behind",
    );
    expect(() => decodeAwsChunked(encoded.subarray(0, -80), signing)).toThrow("a line without an end");
  });
});
