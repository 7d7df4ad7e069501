/** The package undici with its agent that reads the environment. */
import { createReadStream, readFileSync } from "node:fs";
import { type Dispatcher, EnvHttpProxyAgent, request } from "undici";
import { report, usualArguments } from "./report.ts";

const { governed, blind, plain, file } = usualArguments();
const dispatcher = new EnvHttpProxyAgent();

type Options = Pick<Dispatcher.RequestOptions, "body"> & { method?: "POST" };

async function call(what: string, url: string, options: Options = {}): Promise<void> {
  const { statusCode, body } = await request(url, { ...options, dispatcher });
  report(what, statusCode, await body.bytes());
}

await call("get", `${governed}/bytes`);
await call("post", `${governed}/echo`, { method: "POST", body: readFileSync(file) });
await call("stream", `${governed}/echo`, { method: "POST", body: createReadStream(file) });
await call("plain", `${plain}/bytes`);
await call("blind", `${blind}/bytes`);
await dispatcher.close();
