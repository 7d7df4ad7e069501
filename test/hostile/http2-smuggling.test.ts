/**
 * A request of HTTP/2 that would be read as something else once it stands in HTTP/1.1 bytes ("downgrade smuggling"): each is sent
 * as exact frames to a local port in front of an origin that speaks HTTP/1.1, and what the origin did not receive is asserted.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { frameClient, getList, type Pair, postList } from "../kit/http2-client.ts";
import { FRAME, frame } from "../kit/http2-origin.ts";
import { type Origin, ok, scriptedOrigin } from "../kit/origin.ts";
import { startProxy, type TestProxy } from "../kit/proxy.ts";

const HOST = "app.test";
/** Stands in every hostile part, so that its arrival anywhere is seen. */
const MARK = "smuggled";
const REQUEST = `GET /${MARK} HTTP/1.1\r\nHost: ${MARK}\r\n\r\n`;

let origin: Origin;
let proxy: TestProxy;
let port: number;
beforeAll(async () => {
  origin = await scriptedOrigin([ok("fine")]);
  proxy = await startProxy({
    policy: {
      limits: { target_bytes: "1KiB" },
      destinations: [
        {
          name: "d",
          hosts: [HOST],
          local_port: 1024,
          http_version: "http1",
          upstream: { host: "127.0.0.1", port: origin.port },
        },
      ],
    },
  });
  port = proxy.localPorts.get("d")!;
});
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
});

/** Sends one list, then a good request on the next connection; returns how the first ended. */
async function sent(pairs: readonly Pair[], { body = null as string | null } = {}): Promise<string> {
  using client = await frameClient(port);
  await client.headers(1, pairs, body === null);
  if (body !== null) await client.data(1, body);
  const fate = await client.fate(1);
  await serves();
  return fate;
}

/** The listener still serves others, and what they ask is all that the origin sees of it. */
async function serves(): Promise<void> {
  using other = await frameClient(port);
  await other.headers(1, getList(HOST, "/other"));
  expect(await other.fate(1)).toBe("200");
}

const REFUSED = /^(?:400|421|reset 1|closed)$/;

describe("S6: a request of HTTP/2 never reaches HTTP/1.1 as another", () => {
  test("a good one arrives as it was meant", async () => {
    using client = await frameClient(port);
    await client.headers(1, postList(HOST, "/good", ["x-a", "1"], ["content-length", "4"]), false);
    await client.data(1, "body");
    expect(await client.fate(1)).toBe("200");
    const received = origin.requests.at(-1)!;
    expect(received.startLine).toBe("POST /good HTTP/1.1");
    expect(received.fields).toEqual([
      ["Host", `${HOST}:${origin.port}`],
      ["x-a", "1"],
      ["Content-Length", "4"],
    ]);
    expect(received.body.toString()).toBe("body");
  });

  /** One field that cannot be one: nghttp2 drops it, or resets the stream. */
  const fields: readonly (readonly [what: string, list: Pair[]])[] = [
    ["CR LF in a value", getList(HOST, "/", ["x-a", `1\r\n${MARK}: 2`])],
    ["a whole request in a value", getList(HOST, "/", ["x-a", `1\r\n\r\n${REQUEST}`])],
    ["LF in a value", getList(HOST, "/", ["x-a", `1\n${MARK}: 2`])],
    ["CR in a value", getList(HOST, "/", ["x-a", `1\r${MARK}: 2`])],
    ["NUL in a value", getList(HOST, "/", ["x-a", `1\0${MARK}`])],
    ["CR LF in a name", getList(HOST, "/", [`x-a: 1\r\n${MARK}`, "2"])],
    ["a colon in a name", getList(HOST, "/", [`x-a:${MARK}`, "2"])],
    ["a blank in a name", getList(HOST, "/", [`x-a ${MARK}`, "2"])],
    ["a blank behind a name", getList(HOST, "/", [`${MARK} `, "chunked"])],
    ["an upper-case name", getList(HOST, "/", [`X-${MARK.toUpperCase()}`, "2"])],
    ["a name in bytes over 0x7f", getList(HOST, "/", [`x-\xe4${MARK}`, "2"])],
    ["an empty name", getList(HOST, "/", ["", MARK])],
  ];

  test.each(fields)("%s", async (_what, list) => {
    expect(await sent(list)).toMatch(/^(?:400|reset 1|closed|200)$/);
    expect(origin.received.toLowerCase()).not.toContain(MARK);
  });

  const requests: readonly (readonly [what: string, list: Pair[]])[] = [
    ["transfer-encoding", postList(HOST, "/", ["transfer-encoding", "chunked"], [`x-${MARK}`, "1"])],
    ["connection", getList(HOST, "/", ["connection", MARK], [`x-${MARK}`, "1"])],
    ["keep-alive", getList(HOST, "/", ["keep-alive", MARK], [`x-${MARK}`, "1"])],
    ["proxy-connection", getList(HOST, "/", ["proxy-connection", MARK], [`x-${MARK}`, "1"])],
    ["upgrade", getList(HOST, "/", ["upgrade", MARK], [`x-${MARK}`, "1"])],
    ["te other than trailers", getList(HOST, "/", ["te", "chunked"], [`x-${MARK}`, "1"])],
    ["two :path", [...getList(HOST, "/"), [":path", `/${MARK}`]]],
    ["two :method", [...getList(HOST, `/${MARK}`), [":method", "POST"]]],
    ["two :authority", [...getList(HOST, `/${MARK}`), [":authority", "b.test"]]],
    ["two :scheme", [...getList(HOST, `/${MARK}`), [":scheme", "https"]]],
    ["a pseudo-header behind fields", [["x-a", "1"], ...getList(HOST, `/${MARK}`)]],
    ["an unknown pseudo-header", [[":evil", MARK], ...getList(HOST, `/${MARK}`)]],
    [":status", [[":status", "200"], ...getList(HOST, `/${MARK}`)]],
    ["no :method", getList(HOST, `/${MARK}`).slice(1)],
    ["no :scheme", getList(HOST, `/${MARK}`).filter(([name]) => name !== ":scheme")],
    ["no :path", getList(HOST, "/", [`x-${MARK}`, "1"]).filter(([name]) => name !== ":path")],
    ["an empty :path", getList(HOST, "", [`x-${MARK}`, "1"])],
    ["a :path without a slash", getList(HOST, MARK)],
    ["an absolute :path", getList(HOST, `http://${MARK}/`)],
    ["a blank in :path", getList(HOST, `/ HTTP/1.1 ${MARK}`)],
    ["CR LF in :path", getList(HOST, `/ HTTP/1.1\r\n\r\n${REQUEST}`)],
    ["a tab in :path", getList(HOST, `/\t${MARK}`)],
    ["a fragment in :path", getList(HOST, `/a#${MARK}`)],
    ["a request line in :method", [[":method", `GET /${MARK} HTTP/1.1\r\nx:`], ...getList(HOST).slice(1)]],
    ["a blank in :method", [[":method", `GET /${MARK}`], ...getList(HOST).slice(1)]],
    ["CR LF in :authority", getList(`${HOST}\r\n${MARK}: 1`)],
    ["user info in :authority", getList(`${MARK}@${HOST}`, `/${MARK}`)],
    ["a path in :authority", getList(`${HOST}/${MARK}`)],
    [
      "a URL in :scheme",
      [[":method", "GET"], [":scheme", `http://${MARK}/?`], ...getList(HOST, `/${MARK}`).slice(2)],
    ],
    ["no :authority and no host", getList(HOST, `/${MARK}`).filter(([name]) => name !== ":authority")],
    ["host that differs from :authority", getList(HOST, `/${MARK}`, ["host", "b.test"])],
    ["two host", getList(HOST, `/${MARK}`, ["host", HOST], ["host", HOST])],
    [
      "CONNECT",
      [
        [":method", "CONNECT"],
        [":authority", `${MARK}:443`],
      ],
    ],
    [
      "extended CONNECT",
      [[":method", "CONNECT"], [":protocol", "websocket"], ...getList(HOST, `/${MARK}`).slice(1)],
    ],
    ["content-length without content", getList(HOST, `/${MARK}`, ["content-length", "5"])],
    ["two content-length", postList(HOST, `/${MARK}`, ["content-length", "0"], ["content-length", "5"])],
    ["a content-length list", postList(HOST, `/${MARK}`, ["content-length", "0, 0"])],
    ["a signed content-length", postList(HOST, `/${MARK}`, ["content-length", "+0"])],
    ["a hexadecimal content-length", postList(HOST, `/${MARK}`, ["content-length", "0x0"])],
  ];

  test.each(requests)("%s: refused as a whole", async (_what, list) => {
    const before = origin.requests.length;
    expect(await sent(list)).toMatch(REFUSED);
    expect(origin.requests.slice(before).map(({ startLine }) => startLine)).toEqual(["GET /other HTTP/1.1"]);
    expect(origin.received.toLowerCase()).not.toContain(MARK);
  });

  test("cookie crumbs become one line", async () => {
    await sent(getList(HOST, "/crumbs", ["cookie", "a=1"], ["cookie", "b=2"]));
    const received = origin.requests.find(({ startLine }) => startLine.includes("/crumbs"))!;
    expect(received.fields.filter(([name]) => name === "cookie")).toEqual([["cookie", "a=1; b=2"]]);
  });

  test.each([
    ["less content than content-length", "10", "1234", true],
    ["more content than content-length", "2", `1234${MARK}`, true],
    ["more content than content-length, unfinished", "2", `1234${MARK}`, false],
  ])("%s: the origin gets no whole request", async (_what, length, content, ends) => {
    const before = origin.requests.length;
    using client = await frameClient(port);
    await client.headers(1, postList(HOST, "/length", ["content-length", length]), false);
    await client.data(1, content, ends);
    expect(await client.fate(1)).toMatch(REFUSED);
    await serves();
    expect(origin.requests.slice(before).map(({ startLine }) => startLine)).toEqual(["GET /other HTTP/1.1"]);
    expect(origin.received).not.toContain(MARK);
  });

  test("an open stream that is reset with NO_ERROR is no whole request", async () => {
    const before = origin.requests.length;
    using client = await frameClient(port);
    await client.headers(1, postList(HOST, "/cut"), false);
    await client.data(1, "half of it", false);
    const cut = (): string =>
      origin.connections.map((peer) => peer.received).find((text) => text.includes("/cut")) ?? "";
    await client.until("the first half at the origin", () => cut().includes("half of it"));
    await client.write(frame(FRAME.rst, 0, 1, Buffer.alloc(4)));
    await serves();
    expect(cut()).not.toContain("0\r\n\r\n");
    expect(origin.requests.slice(before).map(({ startLine }) => startLine)).toEqual(["GET /other HTTP/1.1"]);
  });

  test.each([
    ["a pseudo-header in trailers", [":path", `/${MARK}`]],
    ["connection in trailers", ["connection", MARK]],
    ["CR LF in trailers", ["x-a", `1\r\n${MARK}: 1`]],
  ] as [string, Pair][])("%s never reaches the origin", async (_what, pair) => {
    using client = await frameClient(port);
    await client.headers(1, postList(HOST, "/trailers", ["te", "trailers"]), false);
    await client.data(1, "x", false);
    await client.headers(1, [pair]);
    expect(await client.fate(1)).toMatch(/^(?:400|reset 1|closed|200)$/);
    await serves();
    expect(origin.received).not.toContain(MARK);
  });

  test("fields that mean something to the framing are dropped from trailers", async () => {
    using client = await frameClient(port);
    await client.headers(1, postList(HOST, "/good-trailers", ["te", "trailers"]), false);
    await client.data(1, "x", false);
    await client.headers(1, [
      ["x-sum", "1"],
      ["authorization", MARK],
      ["host", MARK],
    ]);
    expect(await client.fate(1)).toBe("200");
    const received = origin.requests.find(({ startLine }) => startLine.includes("/good-trailers"))!;
    expect(received.trailers.toLowerCase()).toBe("x-sum: 1\r\n");
    expect(origin.received).not.toContain(MARK);
  });

  test("a head that is too large is answered with 431, a target that is too long with 414", async () => {
    const many = Array.from({ length: 140 }, (_, at): Pair => [`x-${MARK}-${at}`, "1"]);
    expect(await sent(getList(HOST, "/", ...many))).toBe("431");
    expect(await sent(getList(HOST, "/", [`x-${MARK}`, "a".repeat(16 * 1024)]))).toBe("431");
    expect(await sent(getList(HOST, `/${MARK}${"a".repeat(1024)}`))).toBe("414");
    expect(origin.received).not.toContain(MARK);
  });

  test("a head of far more than the limits is not even read", async () => {
    using client = await frameClient(port);
    // Our SETTINGS are in force once they are acknowledged.
    await client.roundTrip();
    await client.headers(
      1,
      getList(
        HOST,
        `/${MARK}`,
        ...Array.from({ length: 4 }, (_, at): Pair => [`x-${at}`, "a".repeat(15_000)]),
      ),
    );
    expect(await client.fate(1)).toMatch(/^(?:reset 11|closed)$/);
    await serves();
    expect(origin.received).not.toContain(MARK);
  });

  test("an expectation other than 100-continue is answered with 417", async () => {
    expect(await sent(getList(HOST, `/${MARK}`, ["expect", "magic"]))).toBe("417");
    expect(origin.received).not.toContain(MARK);
  });

  test("HEAD with content of unknown length is refused", async () => {
    const head = postList(HOST, `/${MARK}`).with(0, [":method", "HEAD"]);
    expect(await sent(head, { body: "x" })).toMatch(REFUSED);
    expect(origin.received).not.toContain(MARK);
  });
});
