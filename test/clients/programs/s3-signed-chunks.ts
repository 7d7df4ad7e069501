/**
 * An upload in signed chunks with a signed trailer, after asking, over node:https, as the SDKs of Java and C++ send it.
 * Arguments: endpoint, key, a file. The credentials are the environment's.
 */
import { readFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { request } from "node:https";
import { buffer } from "node:stream/consumers";
import { crc32 } from "node:zlib";
import { encodeAwsChunked } from "../aws-chunked.ts";
import { chainOf, requestSignature } from "../sigv4.ts";
import { report } from "./report.ts";

const [endpoint, key, file] = process.argv.slice(2) as [string, string, string];
const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secret } = process.env;
const CHUNK_BYTES = 65_536;

const content = readFileSync(file);
const checksum = Buffer.alloc(4);
checksum.writeUInt32BE(crc32(content));
const trailer = new Map([["x-amz-checksum-crc32", checksum.toString("base64")]]);

const date = new Date().toISOString().replace(/[-:]|\.\d+/g, "");
const scope = `${date.slice(0, 8)}/us-east-1/s3/aws4_request`;
const target = `/bucket/${key}`;
const headers = {
  "content-encoding": "aws-chunked",
  host: new URL(endpoint).host,
  "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
  "x-amz-date": date,
  "x-amz-decoded-content-length": String(content.length),
  "x-amz-trailer": "x-amz-checksum-crc32",
};
const signedHeaders = Object.keys(headers);
const head = { method: "PUT", target, headers };
const chain = chainOf(head, scope, secret!);
const signature = requestSignature(head, signedHeaders, chain);
const body = encodeAwsChunked(content, { chain, seed: signature }, { chunkBytes: CHUNK_BYTES, trailer });

const authorization = `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${signedHeaders.join(";")}, Signature=${signature}`;
const upload = request(`${endpoint}${target}`, {
  method: "PUT",
  headers: { ...headers, authorization, expect: "100-continue", "content-length": body.length },
});
const response = await new Promise<IncomingMessage>((resolve, reject) => {
  upload.once("response", resolve).once("error", reject);
  upload.once("continue", () => {
    process.stdout.write("continue\n");
    upload.end(body);
  });
  upload.flushHeaders();
});
report("signed", response.statusCode, await buffer(response));
upload.destroy();
