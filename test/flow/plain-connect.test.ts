/** CONNECT to a port where clear text is spoken, as Node's own `fetch` asks for it: the requests inside are governed. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { startProxy } from "../kit/proxy.ts";

test("a fetch of Node's own through the proxy variables obeys the policy", async () => {
  let tries = 0;
  const origin = createServer((request, response) => {
    tries += 1;
    response.statusCode = tries < 3 ? 503 : 200;
    response.end(String(request.headers.traceparent ?? "no trace"));
  }).listen(0, "127.0.0.2");
  await once(origin, "listening");
  const { port } = origin.address() as AddressInfo;
  const policy = {
    telemetry: { propagate: ["tracecontext"] },
    destinations: [
      {
        name: "origin",
        hosts: ["127.0.0.2"],
        retry: { max_retries: 2, budget: { floor: 2 } },
      },
    ],
  };
  await using proxy = await startProxy({ policy } as Parameters<typeof startProxy>[0]);
  const script = `fetch("http://127.0.0.2:${port}/").then(async (r) => console.log(r.status, await r.text()))`;
  const env = {
    PATH: process.env.PATH,
    NODE_USE_ENV_PROXY: "1",
    http_proxy: `http://127.0.0.1:${proxy.port}`,
  };
  const child = spawn(process.execPath, ["-e", script], {
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  expect(await text(child.stdout)).toMatch(/^200 00-[0-9a-f]{32}-/);
  expect(tries).toBe(3);
  origin.close();
  origin.closeAllConnections();
});
