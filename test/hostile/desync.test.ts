/**
 * Applications that try to put a request of theirs into the stream of others: pipelines whose members disagree about their ends,
 * connections that go on behind a refusal, upgrades and tunnels that are none. Each is judged by what the origin did not receive and
 * by what the next application got. The families with a static head are in `smuggling.test.ts`.
 */
import { describe, expect, test } from "vitest";
import { field } from "../kit/message.ts";
import { answer, type Origin, scriptedOrigin, step } from "../kit/origin.ts";
import { get, post, startProxy, type TestProxy } from "../kit/proxy.ts";

const hidden = (origin: Origin): string => `GET /hidden HTTP/1.1\r\nHost: ${origin.authority}\r\n\r\n`;
const absolute = (origin: Origin, method: string, fields: string, path = "/"): string =>
  `${method} http://${origin.authority}${path} HTTP/1.1\r\nHost: ${origin.authority}\r\n${fields}\r\n`;

/** The next application's call arrives as it was sent, behind nothing of anybody else's. */
async function expectNextClean(proxy: TestProxy, origin: Origin): Promise<void> {
  const response = await proxy.get(origin, "/next");
  expect([response.status, response.body.toString()]).toEqual([200, "/next"]);
  expect(origin.requests.at(-1)!.startLine).toBe("GET /next HTTP/1.1");
}

/** Says which path it was asked for, so that an answer that went to somebody else shows. */
const mirror = () =>
  step(async ({ peer, request }) => {
    const path = request.startLine.split(" ")[1]!;
    await peer.write(`HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}`);
    return true;
  });

describe("S5: in a pipeline, a request that is refused ends it:", () => {
  test.each([
    [
      "CL.TE",
      (o: Origin) => `${absolute(o, "POST", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n")}0\r\n\r\n`,
    ],
    ["an odd length", (o: Origin) => absolute(o, "POST", "Content-Length: 1_0\r\n")],
    ["a bare CR", (o: Origin) => absolute(o, "GET", "X: a\rb\r\n")],
    ["a space before a colon", (o: Origin) => absolute(o, "GET", "X : a\r\n")],
    ["HTTP/1.2", (o: Origin) => get(o).replace("HTTP/1.1", "HTTP/1.2")],
    ["HTTP/2's preface", () => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    ["a response", () => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"],
    [
      "a chunk too long for its size",
      (o: Origin) => `${absolute(o, "POST", "Transfer-Encoding: chunked\r\n")}1\r\nab\r\n0\r\n\r\n`,
    ],
  ])("%s", async (_, odd) => {
    await using origin = await scriptedOrigin([mirror()]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(get(origin, "/first") + odd(origin) + hidden(origin) + get(origin, "/hidden"));
    expect((await client.response()).body.toString()).toBe("/first");
    const refused = await client.response();
    expect(refused.status).toBeGreaterThanOrEqual(400);
    expect(field(refused, "connection")).toBe("close");
    expect((await client.rest()).toString()).toBe("");
    expect(origin.received).not.toContain("hidden");
    await expectNextClean(proxy, origin);
  });
});

describe("S5: a body that is shorter than it says takes nothing from whoever comes next", () => {
  test("S5: the rest of a stated length is awaited on its own connection", async () => {
    await using origin = await scriptedOrigin([mirror()]);
    await using proxy = await startProxy();
    using attacker = await proxy.client();
    await attacker.write(`${absolute(origin, "POST", "Content-Length: 1000\r\n", "/stolen")}begin`);
    await origin.connected(1);
    await origin.connections[0]!.seen("begin");
    await expectNextClean(proxy, origin);
    expect(origin.connections).toHaveLength(2);
    expect(origin.connections[0]!.received).not.toContain("/next");
  });

  test("S5: a pipeline's second request fills the body of the first, and is not sent by itself", async () => {
    await using origin = await scriptedOrigin([mirror()]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    const inner = hidden(origin);
    await client.write(
      absolute(origin, "POST", `Content-Length: ${inner.length}\r\n`, "/outer") +
        inner +
        get(origin, "/third"),
    );
    expect((await client.response()).body.toString()).toBe("/outer");
    expect((await client.response()).body.toString()).toBe("/third");
    expect(origin.requests.map(({ startLine }) => startLine.split(" ")[1])).toEqual(["/outer", "/third"]);
  });
});

describe("S5: behind an answer that was no success, the stream is still understood:", () => {
  test.each([400, 401, 403, 404, 405, 411, 413, 429, 500, 501, 503])(
    "S5: %i of the origin to a whole request: the next on the same connection is answered by its own answer",
    async (status) => {
      await using origin = await scriptedOrigin([
        answer(`HTTP/1.1 ${status} x\r\nContent-Length: 2\r\n\r\nno`),
        mirror(),
      ]);
      await using proxy = await startProxy();
      using client = await proxy.client();
      expect((await client.ask(post(origin, hidden(origin)))).status).toBe(status);
      expect((await client.ask(get(origin, "/mine"))).body.toString()).toBe("/mine");
      expect(origin.requests).toHaveLength(2);
    },
  );

  test("S5: a refusal by the policy, with its body still on the way: the body is not read as a request", async () => {
    await using origin = await scriptedOrigin([mirror()]);
    await using proxy = await startProxy({
      policy: { destinations: [{ name: "closed", hosts: ["closed.test"], access: "deny" }] },
    });
    using client = await proxy.client();
    const inner = get(origin, "/hidden");
    await client.write(
      `POST http://closed.test/ HTTP/1.1\r\nHost: closed.test\r\nContent-Length: ${inner.length + 5}\r\n\r\n`,
    );
    const refused = await client.response();
    expect([refused.status, field(refused, "connection")]).toEqual([403, "close"]);
    await client.write(inner);
    await client.gone();
    expect(origin.connections).toHaveLength(0);
  });

  test("S5: a refusal by the policy to a whole request leaves the connection to the next", async () => {
    await using origin = await scriptedOrigin([mirror()]);
    await using proxy = await startProxy({
      policy: { destinations: [{ name: "closed", hosts: ["closed.test"], access: "deny" }] },
    });
    using client = await proxy.client();
    const inner = get(origin, "/hidden");
    await client.write(
      `POST http://closed.test/ HTTP/1.1\r\nHost: closed.test\r\nContent-Length: ${inner.length}\r\n\r\n${inner}${get(origin, "/mine")}`,
    );
    expect((await client.response()).status).toBe(403);
    expect((await client.response()).body.toString()).toBe("/mine");
    expect(origin.requests.map(({ startLine }) => startLine)).toEqual(["GET /mine HTTP/1.1"]);
  });
});

describe("S5: an upgrade or a tunnel that is none does not open the stream:", () => {
  test("S5: what follows an upgrade that the origin declines is a request of its own, judged as one", async () => {
    await using origin = await scriptedOrigin([mirror()]);
    await using proxy = await startProxy({
      policy: { destinations: [{ name: "closed", hosts: ["closed.test"], access: "deny" }] },
    });
    using client = await proxy.client();
    await client.write(
      get(origin, "/upgrade", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 777\r\n") +
        "GET http://closed.test/internal HTTP/1.1\r\nHost: closed.test\r\n\r\n",
    );
    expect((await client.response()).body.toString()).toBe("/upgrade");
    expect((await client.response()).status).toBe(403);
    expect(origin.requests).toHaveLength(1);
  });

  test("S5: h2c and HTTP2-Settings do not pass: nobody switches to a protocol that the proxy does not read", async () => {
    await using origin = await scriptedOrigin([mirror()]);
    await using proxy = await startProxy();
    await proxy.ask(
      get(
        origin,
        "/h2c",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
      ),
    );
    const [request] = origin.requests;
    expect(field(request!, "http2-settings")).toBeUndefined();
    expect(field(request!, "upgrade")).toBeUndefined();
  });

  test("S5: what follows a CONNECT that is refused is read by nobody", async () => {
    await using origin = await scriptedOrigin([mirror()]);
    await using proxy = await startProxy({
      policy: { destinations: [{ name: "closed", hosts: ["closed.test"], access: "deny" }] },
    });
    using client = await proxy.client();
    await client.write(
      `CONNECT closed.test:443 HTTP/1.1\r\nHost: closed.test:443\r\n\r\n${get(origin, "/hidden")}`,
    );
    expect((await client.response("CONNECT")).status).toBe(403);
    await client.gone();
    expect(origin.connections).toHaveLength(0);
  });

  test("S5: CONNECT with a body stated is refused, whichever way it is stated", async () => {
    for (const fields of ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"]) {
      await using origin = await scriptedOrigin([mirror()]);
      await using proxy = await startProxy();
      using client = await proxy.client();
      await client.write(`CONNECT ${origin.authority} HTTP/1.1\r\nHost: x\r\n${fields}\r\n${hidden(origin)}`);
      expect((await client.response()).status).toBe(400);
      await client.gone();
      expect(origin.connections).toHaveLength(0);
    }
  });
});

describe("S5: fields of one hop do not reach the origin:", () => {
  test.each([
    [
      "Connection nominates a secret",
      "Connection: X-Forwarded-For\r\nX-Forwarded-For: 1\r\n",
      "x-forwarded-for",
    ],
    ["Keep-Alive", "Keep-Alive: timeout=5\r\n", "keep-alive"],
    ["Proxy-Connection", "Proxy-Connection: keep-alive\r\n", "proxy-connection"],
    ["Proxy-Authorization", "Proxy-Authorization: Basic eDp5\r\n", "proxy-authorization"],
    ["TE other than trailers", "TE: gzip\r\nConnection: TE\r\n", "te"],
    ["Upgrade without Connection", "Upgrade: websocket\r\n", "upgrade"],
  ])("S5: %s", async (_, fields, name) => {
    await using origin = await scriptedOrigin([mirror()]);
    await using proxy = await startProxy();
    await proxy.ask(get(origin, "/", `${fields}X-Kept: 1\r\n`));
    expect(field(origin.requests[0]!, name)).toBeUndefined();
    expect(field(origin.requests[0]!, "x-kept")).toBe("1");
  });
});

describe("S5: a start line cannot carry a second one:", () => {
  test.each([
    [
      "a line end in the target",
      (o: Origin) => `GET http://${o.authority}/a\r\nX: y HTTP/1.1\r\nHost: x\r\n\r\n`,
    ],
    [
      "a bare LF in the target",
      (o: Origin) => `GET http://${o.authority}/a\nGET /hidden HTTP/1.1\r\nHost: x\r\n\r\n`,
    ],
    ["a bare CR in the target", (o: Origin) => `GET http://${o.authority}/a\rb HTTP/1.1\r\nHost: x\r\n\r\n`],
    [
      "a version in the target",
      (o: Origin) => `GET http://${o.authority}/ HTTP/1.1 /hidden HTTP/1.1\r\nHost: x\r\n\r\n`,
    ],
    ["a tab for a space", (o: Origin) => `GET\thttp://${o.authority}/ HTTP/1.1\r\nHost: x\r\n\r\n`],
    ["two spaces", (o: Origin) => `GET  http://${o.authority}/ HTTP/1.1\r\nHost: x\r\n\r\n`],
    ["a method with a line end", (o: Origin) => `GE\r\nT http://${o.authority}/ HTTP/1.1\r\nHost: x\r\n\r\n`],
    ["no version", (o: Origin) => `GET http://${o.authority}/\r\n\r\n`],
  ])("S5: %s", async (_, request) => {
    await using origin = await scriptedOrigin([mirror()]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(request(origin));
    expect((await client.response()).status).toBe(400);
    await client.gone();
    expect(origin.connections).toHaveLength(0);
  });
});
