/**
 * An extension as one writes it from the two usual libraries: a `node:http` server, `undici` for the calls to the
 * Extensions API. It binds, registers and waits for the first event. The address is in AWS_LAMBDA_RUNTIME_API.
 */

import { createServer } from "node:http";
import { request } from "undici";

const api = `http://${process.env.AWS_LAMBDA_RUNTIME_API}/2020-01-01/extension`;

createServer((_request, response) => response.writeHead(502).end()).listen(0, "127.0.0.1", async () => {
  const registered = await request(`${api}/register`, {
    method: "POST",
    headers: { "Lambda-Extension-Name": "node-http-undici", "Content-Type": "application/json" },
    body: '{"events":["INVOKE","SHUTDOWN"]}',
  });
  await registered.body.dump();
  const identifier = String(registered.headers["lambda-extension-identifier"]);
  // An extension may stay in this call for as long as its sandbox is frozen, so it has no timeout.
  await request(`${api}/event/next`, {
    headers: { "Lambda-Extension-Identifier": identifier },
    headersTimeout: 0,
  });
});
