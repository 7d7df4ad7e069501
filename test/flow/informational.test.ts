/** Interim responses of every kind, when they come and to whom (RFC 9110 §15.2, RFC 8297). What 100 means for a body: `interim.test.ts`. */
import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { describe, expect, test } from "vitest";
import { signal } from "../kit/eventually.ts";
import { field } from "../kit/message.ts";
import { answer, ok, scriptedOrigin, step } from "../kit/origin.ts";
import { get, post, startProxy } from "../kit/proxy.ts";
import { rawClient } from "../kit/raw-client.ts";

const FINAL = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const PROCESSING = "HTTP/1.1 102 Processing\r\n\r\n";
const HINTS =
  'HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload; as=style\r\nLink: </script.js>; rel=preload; nonce="a,b"\r\n\r\n';

describe("an interim response", () => {
  test.each([
    ["102", PROCESSING, []],
    ["103", HINTS, ["</style.css>; rel=preload; as=style", '</script.js>; rel=preload; nonce="a,b"']],
    ["199", "HTTP/1.1 199 Whatever\r\nLink: </a>\r\n\r\n", ["</a>"]],
  ])(
    "%s reaches the application while the origin still thinks, with each of its fields",
    async (status, bytes, links) => {
      const arrived = signal();
      await using origin = await scriptedOrigin([
        step(async ({ peer }) => {
          await peer.write(bytes);
          await arrived.given;
          await peer.write(FINAL);
          return true;
        }),
        ok("next"),
      ]);
      await using proxy = await startProxy();
      using client = await proxy.client();
      await client.write(get(origin));
      const interim = await client.anyResponse();
      expect(interim.status).toBe(Number(status));
      expect(interim.fields.filter(([name]) => name === "Link").map(([, value]) => value)).toEqual(links);
      arrived.give();
      expect((await client.anyResponse()).body.toString()).toBe("ok");
      expect((await client.ask(get(origin))).body.toString()).toBe("next");
      expect(origin.connections).toHaveLength(1);
    },
  );

  test("is one of several: 100, 102, 103 and 103 arrive in their order, then the final one", async () => {
    await using origin = await scriptedOrigin([
      answer(`HTTP/1.1 100 Continue\r\n\r\n${PROCESSING}${HINTS}${HINTS.replace("style", "other")}${FINAL}`),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(post(origin, "body"));
    const statuses: number[] = [];
    do statuses.push((await client.anyResponse()).status);
    while (statuses.at(-1)! < 200);
    expect(statuses).toEqual([100, 102, 103, 103, 200]);
    expect(client.unread).toBe("");
  });

  test("arrives while the request's body is still being sent, and does not end it", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write(PROCESSING);
        const body = await peer.take(8);
        await peer.write(`HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n${body}`);
        return true;
      }, "head"),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(post(origin, "12345678").slice(0, -4));
    expect((await client.anyResponse()).status).toBe(102);
    await client.write("5678");
    expect((await client.anyResponse()).body.toString()).toBe("12345678");
  });

  test("carries no length, no framing and nothing of the origin's hop", async () => {
    await using origin = await scriptedOrigin([
      answer(
        `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\r\n${FINAL}`,
      ),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(get(origin));
    expect((await client.anyResponse()).head).toBe("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
  });

  test("inside a tunnel for clear text, and at a local port, arrives the same", async () => {
    await using origin = await scriptedOrigin([answer(HINTS + FINAL)]);
    const upstream = { host: "127.0.0.1", port: origin.port };
    await using proxy = await startProxy({
      policy: { destinations: [{ name: "local", hosts: ["local.test"], upstream, local_port: 1 }] },
    });
    using tunnelled = await proxy.client();
    await tunnelled.ask(`CONNECT ${origin.authority} HTTP/1.1\r\nHost: ${origin.authority}\r\n\r\n`);
    await tunnelled.write(`GET / HTTP/1.1\r\nHost: ${origin.authority}\r\n\r\n`);
    expect((await tunnelled.anyResponse()).head).toBe(HINTS);
    expect((await tunnelled.anyResponse()).status).toBe(200);
    using local = await rawClient(proxy.localPorts.get("local")!);
    await local.write("GET / HTTP/1.1\r\nHost: local.test\r\n\r\n");
    expect((await local.anyResponse()).head).toBe(HINTS);
    expect((await local.anyResponse()).status).toBe(200);
  });

  test("to HEAD, and before a 204 and a 304, arrives too", async () => {
    for (const [method, final] of [
      ["HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"],
      ["GET", "HTTP/1.1 204 No Content\r\n\r\n"],
      ["GET", "HTTP/1.1 304 Not Modified\r\n\r\n"],
    ] as const) {
      await using origin = await scriptedOrigin([answer(HINTS + final)]);
      await using proxy = await startProxy();
      using client = await proxy.client();
      await client.write(`${method} http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\n\r\n`);
      expect((await client.anyResponse(method)).status).toBe(103);
      expect(`${(await client.anyResponse(method)).status}`).toBe(final.slice(9, 12));
    }
  });
});

test("Node's own client reports every interim response", async () => {
  await using origin = await scriptedOrigin([answer(PROCESSING + HINTS + FINAL)]);
  await using proxy = await startProxy();
  const outgoing = httpRequest({
    host: "127.0.0.1",
    port: proxy.port,
    path: `http://${origin.authority}/`,
    headers: { host: origin.authority },
  });
  const seen: [number, unknown][] = [];
  outgoing.on("information", ({ statusCode, headers }) => seen.push([statusCode, headers.link]));
  outgoing.end();
  const [response] = await once(outgoing, "response");
  response.resume();
  await once(response, "end");
  expect(seen).toEqual([
    [102, undefined],
    [103, '</style.css>; rel=preload; as=style, </script.js>; rel=preload; nonce="a,b"'],
  ]);
  outgoing.destroy();
});

test("a failure behind an interim response is still told in full", async () => {
  await using origin = await scriptedOrigin([
    step(async ({ peer }) => {
      await peer.write(HINTS);
      peer.halfClose();
      return false;
    }),
  ]);
  await using proxy = await startProxy();
  using client = await proxy.client();
  await client.write(get(origin));
  expect((await client.anyResponse()).status).toBe(103);
  const final = await client.anyResponse();
  expect([final.status, field(final, "outrider-error")]).toEqual([502, "UPSTREAM_RESET"]);
});
