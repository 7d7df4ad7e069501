/**
 * The AWS SDK's S3 client. Arguments: endpoint, prefix of the keys, a file, `proxied` for an agent that reads the environment or
 * `bare` for the SDK's own, which does not, and the objects to put: `buffer`, `stream`, `large`.
 */
import { createReadStream, readFileSync } from "node:fs";
import { Agent } from "node:https";
import { GetObjectCommand, PutObjectCommand, type PutObjectCommandInput, S3Client } from "@aws-sdk/client-s3";
import { report } from "./report.ts";

const [endpoint, prefix, file, agent, ...names] = process.argv.slice(2) as [string, string, string, string];

const client = new S3Client({
  endpoint,
  region: "us-east-1",
  forcePathStyle: true,
  maxAttempts: 1,
  ...(agent === "proxied" ? { requestHandler: { httpsAgent: new Agent({ proxyEnv: process.env }) } } : {}),
});

const content = readFileSync(file);

type Content = NonNullable<PutObjectCommandInput["Body"]>;

/** Body and its length. */
const OBJECTS: Readonly<Record<string, () => readonly [Content, number]>> = {
  buffer: () => [content, content.length],
  stream: () => [createReadStream(file), content.length],
  // Above 2 MiB the client asks before it sends.
  large: () => [Buffer.concat([content, content, content]), 3 * content.length],
};

async function put(name: string): Promise<void> {
  const Key = `${prefix}/${name}`;
  const [Body, ContentLength] = OBJECTS[name]!();
  await client.send(new PutObjectCommand({ Bucket: "bucket", Key, Body, ContentLength }));
  const { Body: stored, $metadata } = await client.send(new GetObjectCommand({ Bucket: "bucket", Key }));
  const bytes: Uint8Array = await stored!.transformToByteArray();
  report(name, $metadata.httpStatusCode, bytes);
}

try {
  for (const name of names) await put(name);
} catch (error) {
  const { name, $metadata } = error as { name: string; $metadata?: { httpStatusCode?: number } };
  process.stdout.write(`refused ${$metadata?.httpStatusCode} ${name}\n`);
}
