/** Node's own fetch, with nothing said about a proxy. */
import { createReadStream, readFileSync } from "node:fs";
import { Readable } from "node:stream";
import { report, usualArguments } from "./report.ts";

const { governed, blind, plain, file } = usualArguments();

async function call(what: string, url: string, init: RequestInit = {}): Promise<void> {
  const response = await fetch(url, init);
  report(what, response.status, await response.bytes());
}

await call("get", `${governed}/bytes`);
await call("post", `${governed}/echo`, { method: "POST", body: readFileSync(file) });
const body = Readable.toWeb(createReadStream(file)) as ReadableStream;
await call("stream", `${governed}/echo`, { method: "POST", body, duplex: "half" } as RequestInit);
await call("plain", `${plain}/bytes`);
await call("blind", `${blind}/bytes`);
