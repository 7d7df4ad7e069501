/**
 * The call after a large answer over intercepted TLS hung until its deadline. Node hands on what is left of decrypted records after
 * reading was stopped; when that ended the answer, the connection went back to the pool with its reading still stopped.
 */
import type { IncomingMessage } from "node:http";
import { Agent, createServer, get } from "node:https";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { expect, test } from "vitest";
import { certificate, certificateFile } from "../kit/certificates.ts";
import { startProxy } from "../kit/proxy.ts";

/** Many records of TLS, more than the application takes at once. */
const CONTENT = Buffer.alloc(1 << 20, "x");

test("a TLS connection that was held back at the end of an answer serves the next call", async () => {
  let connections = 0;
  const origin = createServer(certificate("server"), (_request, response) => response.end(CONTENT));
  origin.on("secureConnection", () => connections++);
  await new Promise<void>((listening) => origin.listen(0, "127.0.0.1", listening));
  await using proxy = await startProxy({
    lookup: async () => [{ address: "127.0.0.1", family: 4 }],
    policy: {
      destinations: [
        {
          name: "api",
          hosts: ["api.test"],
          tls: { intercept: true, originate: false, ca: certificateFile("ca") },
        },
      ],
    },
  });
  const agent = new Agent({
    proxyEnv: { https_proxy: `http://127.0.0.1:${proxy.port}` },
    ca: proxy.authority!.certificatePem,
  });
  const { port } = origin.address() as AddressInfo;
  for (let call = 1; call <= 4; call++) {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      get(`https://api.test:${port}/`, { agent }, resolve).once("error", reject);
    });
    expect((await buffer(response)).equals(CONTENT)).toBe(true);
  }
  expect(connections).toBe(1);
  origin.closeAllConnections();
  origin.close();
});
