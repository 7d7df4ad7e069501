/** Node's http with an agent of its own, which does not read the environment; before it, the global one, which does. */
import * as http from "node:http";
import { buffer } from "node:stream/consumers";
import { report } from "./report.ts";

async function call(what: string, url: string, agent: http.Agent): Promise<void> {
  const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
    http.get(url, { agent }, resolve).once("error", reject);
  });
  report(what, response.statusCode, await buffer(response));
}

const url = process.argv[2]!;
await call("global", `${url}/global`, http.globalAgent);
await call("custom", `${url}/custom`, new http.Agent());
