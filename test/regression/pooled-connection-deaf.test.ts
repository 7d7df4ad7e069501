/**
 * For the upstream's connection. A connection over TLS whose answer was held back for a moment went into the pool deaf: the next call
 * on it was answered by the origin and never heard, until `idle_timeout`. `onread`'s callback says "stop reading" by its result, and
 * Node stops the handle without calling the socket paused; but what OpenSSL has decrypted already is delivered all the same, and it
 * may hold the answer's end. The exchange was over then, `isPaused()` was false, and nobody began to read again.
 */
import { once } from "node:events";
import { connect } from "node:tls";
import { expect, test } from "vitest";
import { certificate, certificateFile } from "../kit/certificates.ts";
import { type Step, scriptedOrigin, step } from "../kit/origin.ts";
import { startProxy } from "../kit/proxy.ts";
import { MessageReader } from "../kit/reader.ts";

/** Several TLS records (RFC 8446 §5.1: 16 KiB each), which arrive in one read, and more than the application's socket takes at once. */
const BODY = "x".repeat(60_000);
const answerWhole: Step = step(async ({ peer }) => {
  await peer.write(`HTTP/1.1 200 OK\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`);
  return true;
});

test("a connection whose answer was held back to its last byte hears the next answer", async () => {
  await using origin = await scriptedOrigin([answerWhole], { tls: certificate("server") });
  const upstream = { host: "127.0.0.1", port: origin.port };
  const tls = { intercept: true, originate: false, ca: certificateFile("ca") };
  await using proxy = await startProxy({
    policy: { destinations: [{ name: "api", hosts: ["api.test"], upstream, tls }] },
  });
  using tunnel = await proxy.client();
  await tunnel.ask("CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n\r\n");
  const client = connect({
    socket: tunnel.socket,
    servername: "api.test",
    ca: proxy.authority!.certificatePem,
  });
  await once(client, "secureConnect");
  const reader = new MessageReader(client);
  for (let call = 0; call < 20; call++) {
    const reading = reader.response("GET");
    client.write("GET / HTTP/1.1\r\nHost: api.test\r\n\r\n");
    expect(await reading.body).toMatchObject({ bytes: BODY.length, end: "whole" });
  }
  client.destroy();
}, 20_000);
