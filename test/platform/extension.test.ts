/** The extension's own conduct: bad input is one clear line and an exit, and the end lets calls in flight finish. */
import { readFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { field } from "../kit/message.ts";
import { type Origin, ok, scriptedOrigin, silence, step } from "../kit/origin.ts";
import { askOnce, rawClient } from "../kit/raw-client.ts";
import {
  type ExtensionOptions,
  invokeEvent,
  listens,
  shutdownEvent,
  startExtension,
} from "./kit/extension.ts";
import { compiledPolicy, UPSTREAM_HOST } from "./kit/function.ts";

const get = ({ authority }: Origin): string =>
  `GET http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\n\r\n`;

/** An origin that answers 200 when it is told to. */
async function slowOrigin(): Promise<Origin & { finish(): void }> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const origin = await scriptedOrigin(
    [
      step(async ({ peer }) => {
        await promise;
        await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
        return true;
      }),
    ],
    { host: UPSTREAM_HOST },
  );
  return Object.assign(origin, { finish: resolve });
}

/** What is wrong, how the extension is started, and the one line that it writes. */
const BAD: readonly [what: string, options: ExtensionOptions, said: RegExp][] = [
  [
    "no policy",
    { env: { OUTRIDER_CONFIG: undefined } },
    /^outrider: no policy: put outrider\.json .* or name one in OUTRIDER_CONFIG; looked at \/var\/task\/outrider\.json/,
  ],
  [
    "a policy file that is not there",
    { policy: null },
    /^outrider: .*outrider\.json: there is no such file; name the policy/,
  ],
  [
    "a folder for a policy",
    { env: { OUTRIDER_CONFIG: "/" } },
    /^outrider: \/: is a directory; name the policy file in it$/,
  ],
  [
    "a policy with an unknown key",
    { policy: "version: 1\ndefaults:\n  time_out: 3s\n", policyName: "outrider.yaml" },
    /^outrider: outrider\.yaml:3:3: defaults\.time_out: .*timeout/,
  ],
  [
    "a policy that was compiled for another version",
    { policy: '{"format": 99}' },
    /^outrider: .*outrider\.json: was compiled by another version of Outrider .*compile the policy again$/,
  ],
  [
    "no AWS_LAMBDA_RUNTIME_API",
    { env: { AWS_LAMBDA_RUNTIME_API: undefined } },
    /^outrider: AWS_LAMBDA_RUNTIME_API is not set; this program runs inside AWS Lambda or `outrider emulate`$/,
  ],
  [
    "an API that is not there",
    { env: { AWS_LAMBDA_RUNTIME_API: "127.0.0.1:1" } },
    /^outrider: no Extensions API at AWS_LAMBDA_RUNTIME_API \(ECONNREFUSED\); this program runs inside/,
  ],
  [
    "an address of the API that is none",
    { env: { AWS_LAMBDA_RUNTIME_API: "nonsense" } },
    /^outrider: no Extensions API at AWS_LAMBDA_RUNTIME_API \(ERR_SOCKET_BAD_PORT\); this program runs inside/,
  ],
];

describe("the extension, started with", () => {
  test.each(BAD)("%s, writes one line with the remedy and ends", async (_what, options, said) => {
    await using extension = await startExtension(options);
    expect(await extension.ended).toEqual({ code: 1, signal: null });
    expect(extension.errors).toEqual([expect.stringMatching(said)]);
    expect(extension.log).toEqual([]);
    expect(extension.api.count).toBe(0);
  });

  test("a port that is in use, names the key and the port, and ends", async () => {
    const taken = createServer();
    await new Promise<void>((listening) => taken.listen(0, "127.0.0.1", listening));
    const { port } = taken.address() as AddressInfo;
    const policy = compiledPolicy({ on_proxy_failure: "closed", listen: { port } });
    await using extension = await startExtension({ policy });
    expect(await extension.ended).toEqual({ code: 1, signal: null });
    expect(extension.errors).toEqual([
      `outrider: listen.port: 127.0.0.1:${port}: another program listens there; stop it or choose another port (0 takes a free one)`,
    ]);
    expect(extension.api.count).toBe(0);
    taken.close();
  });

  test("a port that is in use and on_proxy_failure: open, stands aside: the wrapper is told, the function runs", async () => {
    const taken = createServer();
    await new Promise<void>((listening) => taken.listen(0, "127.0.0.1", listening));
    const { port } = taken.address() as AddressInfo;
    const policy = compiledPolicy({ on_proxy_failure: "open", listen: { port } });
    await using extension = await startExtension({ policy });
    const next = await extension.registered();
    expect(next.path).toBe("/2020-01-01/extension/event/next");
    expect(readFileSync(join(extension.folder, "outrider.port"), "utf8")).toBe("off\n");
    next.answer(200, shutdownEvent(2000));
    expect(await extension.ended).toEqual({ code: 0, signal: null });
    expect(extension.errors).toEqual([
      expect.stringMatching(/another program listens there.*the function runs without Outrider$/),
    ]);
    taken.close();
  });

  test("several mistakes in the policy, names each on a line of its own", async () => {
    const policy =
      "version: 1\nlisten: { port: 70000 }\ndestinations:\n  - { name: a, hosts: [a.example], timeout: soon }\n";
    await using extension = await startExtension({ policy, policyName: "outrider.yaml" });
    expect((await extension.ended).code).toBe(1);
    expect(extension.errors).toEqual([
      expect.stringContaining("outrider: outrider.yaml:2:17: listen.port:"),
      expect.stringContaining("outrider: outrider.yaml:4:45: destinations[0].timeout:"),
    ]);
  });

  test("a certificate file that is missing, tells Lambda and the log which key and which path", async () => {
    const tls = { client_cert: "file:/nowhere/client.pem", client_key: "file:/nowhere/client.key" };
    const policy = compiledPolicy({
      on_proxy_failure: "closed",
      destinations: [{ name: "pay", hosts: ["pay.example"], tls }],
    });
    await using extension = await startExtension({ policy });
    const failed = await extension.registered();
    expect(failed.path).toBe("/2020-01-01/extension/init/error");
    expect(failed.headers["lambda-extension-identifier"]).toBe("id-1");
    expect(failed.headers["lambda-extension-function-error-type"]).toBe("Extension.OutriderFailed");
    failed.answer(202, '{"status":"OK"}');
    expect(await extension.ended).toEqual({ code: 1, signal: null });
    const line =
      "destination pay: tls.client_cert: /nowhere/client.pem: no such file; mount it there or correct the path";
    expect(JSON.parse(failed.body)).toMatchObject({ errorMessage: line });
    expect(extension.errors).toEqual([`outrider: ${line}`]);
    expect(await listens(await extension.port())).toBe(false);
  });

  test("a certificate file that is missing and on_proxy_failure: open, fails the calls that need it and no others", async () => {
    const tls = { client_cert: "file:/nowhere/client.pem", client_key: "file:/nowhere/client.key" };
    const policy = compiledPolicy({
      on_proxy_failure: "open",
      destinations: [{ name: "pay", hosts: ["pay.example"], tls }],
    });
    await using origin = await scriptedOrigin([ok("well")], { host: UPSTREAM_HOST });
    await using extension = await startExtension({ policy });
    const next = await extension.registered();
    const port = await extension.port();
    const broken = await askOnce(port, "GET http://pay.example/ HTTP/1.1\r\nHost: pay.example\r\n\r\n");
    expect(field(broken, "Outrider-Error")).toBe("IDENTITY_UNAVAILABLE");
    const other = `GET http://${origin.authority}/ HTTP/1.1\r\nHost: ${origin.authority}\r\n\r\n`;
    expect((await askOnce(port, other)).status).toBe(200);
    next.answer(200, shutdownEvent(2000));
    expect(await extension.ended).toEqual({ code: 0, signal: null });
    expect(extension.errors).toEqual([
      expect.stringContaining("tls.client_cert: /nowhere/client.pem: no such file"),
    ]);
  });

  test("an API that refuses it, says what the API said on one line, and listens no more", async () => {
    await using extension = await startExtension();
    const register = await extension.api.call();
    expect(await listens(await extension.port())).toBe(true);
    register.answer(403, '{"errorMessage":"not today",\n"errorType":"Extension.Forbidden"}\n');
    expect(await extension.ended).toEqual({ code: 1, signal: null });
    expect(extension.errors).toEqual([
      'outrider: the Extensions API refused to register outrider: 403 {"errorMessage":"not today", "errorType":"Extension.Forbidden"}; the extension\'s file in /opt/extensions has to have that name',
    ]);
    expect(await listens(await extension.port())).toBe(false);
  });

  test("a policy in YAML, works all the same", async () => {
    await using extension = await startExtension({
      policy: "version: 1\nlisten: { port: 0 }\n",
      policyName: "outrider.yaml",
    });
    const next = await extension.registered();
    expect(next.path).toBe("/2020-01-01/extension/event/next");
    next.answer(200, shutdownEvent(2000));
    expect(await extension.ended).toEqual({ code: 0, signal: null });
    expect(extension.errors).toEqual([]);
  });
});

describe("the extension", () => {
  test("registers for INVOKE and SHUTDOWN under the name of its file, with its port open", async () => {
    await using extension = await startExtension();
    const { method, path, headers, body } = await extension.api.call();
    expect([method, path]).toEqual(["POST", "/2020-01-01/extension/register"]);
    expect(headers["lambda-extension-name"]).toBe("outrider");
    expect(JSON.parse(body)).toEqual({ events: ["INVOKE", "SHUTDOWN"] });
    expect(await listens(await extension.port())).toBe(true);
  });

  test("takes a connection before it serves, and answers it afterwards", async () => {
    await using extension = await startExtension();
    const register = await extension.api.call();
    using client = await rawClient(await extension.port());
    await client.write("GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n");
    register.answer(200, "{}", { "Lambda-Extension-Identifier": "id-1" });
    expect((await client.response()).status).toBe(403);
  });

  test("asks again on a new connection when the API closed the old one between two calls", async () => {
    await using extension = await startExtension();
    (await extension.api.call()).answer(200, "{}", {
      "Lambda-Extension-Identifier": "id-1",
      Connection: "close",
    });
    (await extension.api.call()).answer(200, invokeEvent("one", 5000), { Connection: "close" });
    (await extension.api.call()).answer(200, shutdownEvent(2000));
    expect(await extension.ended).toEqual({ code: 0, signal: null });
  });

  test("ends when the API goes away while it waits for an event", async () => {
    await using extension = await startExtension();
    const next = await extension.registered();
    next.hangUp();
    const report = await extension.api.call();
    expect(report.path).toBe("/2020-01-01/extension/exit/error");
    report.answer(202, "{}");
    expect(await extension.ended).toEqual({ code: 1, signal: null });
    expect(extension.errors).toEqual([
      expect.stringMatching(
        /^outrider: no Extensions API at AWS_LAMBDA_RUNTIME_API \(.+\); this program runs inside/,
      ),
    ]);
  });

  test("lets a call in flight finish when the sandbox is shut down, then exits with 0", async () => {
    await using origin = await slowOrigin();
    await using extension = await startExtension();
    (await extension.registered()).answer(200, invokeEvent("one", 60_000));
    const next = await extension.api.call();
    using client = await rawClient(await extension.port());
    await client.write(get(origin));
    await origin.connected(1);
    next.answer(200, shutdownEvent(60_000));
    // From now on nobody new is served.
    while (await listens(await extension.port())) await new Promise((resolve) => setTimeout(resolve, 5));
    origin.finish();
    const { status, body } = await client.response();
    expect([status, body.toString()]).toEqual([200, "late"]);
    expect(await extension.ended).toEqual({ code: 0, signal: null });
    expect(extension.log).toContainEqual(
      expect.objectContaining({ event: "call", status: 200, invocation_id: "one" }),
    );
    expect(extension.log.at(-1)).toMatchObject({
      event: "summary",
      invocation_id: "one",
      calls: 1,
      occasion: "drained",
    });
  });

  test("ends with 0 in its budget although a call in flight never ends", async () => {
    await using origin = await scriptedOrigin([silence()], { host: UPSTREAM_HOST });
    await using extension = await startExtension();
    (await extension.registered()).answer(200, invokeEvent("one", 60_000));
    const next = await extension.api.call();
    using client = await rawClient(await extension.port());
    await client.write(get(origin));
    await origin.connected(1);
    next.answer(200, shutdownEvent(500));
    expect(await extension.ended).toEqual({ code: 0, signal: null });
    expect(await client.gone()).toBe("reset");
    expect(extension.log.at(-1)).toMatchObject({ event: "summary", open_calls: 1, occasion: "drained" });
    // The word was understood: nothing more was asked.
    expect(extension.api.count).toBe(3);
  });
});
