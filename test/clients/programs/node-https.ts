/** Node's http and https with their own agents, with nothing said about a proxy. */
import { createReadStream, readFileSync } from "node:fs";
import * as http from "node:http";
import * as https from "node:https";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { report, usualArguments } from "./report.ts";

const { governed, blind, plain, file } = usualArguments();

async function call(what: string, url: string, options: http.RequestOptions, body: Readable): Promise<void> {
  const request = (url.startsWith("https:") ? https : http).request(url, options);
  const answered = new Promise<http.IncomingMessage>((resolve, reject) => {
    request.once("response", resolve).once("error", reject);
  });
  await pipeline(body, request);
  const response = await answered;
  report(what, response.statusCode, await buffer(response));
}

const nothing = () => Readable.from([]);
const length = readFileSync(file).length;
await call("get", `${governed}/bytes`, {}, nothing());
const headers = { "content-length": length };
await call("post", `${governed}/echo`, { method: "POST", headers }, createReadStream(file));
await call("stream", `${governed}/echo`, { method: "POST" }, createReadStream(file));
await call("plain", `${plain}/bytes`, {}, nothing());
await call("blind", `${blind}/bytes`, {}, nothing());
