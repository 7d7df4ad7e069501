/**
 * Origins that try to be heard twice: interim responses that are none, lengths that lie, answers before questions, bytes behind an
 * early answer. What counts is what the next application gets: its own answer or an error, never what was meant for, or planted by,
 * somebody else. The families with a static head are in `smuggling.test.ts`.
 */
import { describe, expect, test } from "vitest";
import { eventually } from "../kit/eventually.ts";
import { field } from "../kit/message.ts";
import { answer, apart, type Origin, ok, type Step, scriptedOrigin, step } from "../kit/origin.ts";
import { get, post, startProxy, type TestProxy } from "../kit/proxy.ts";

const EVIL = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";

/** What the next application and the one after it get: nothing of the evil one. */
async function expectNextClean(proxy: TestProxy, origin: Origin): Promise<void> {
  for (const path of ["/next", "/after"]) {
    const response = await proxy.get(origin, path);
    expect([path, response.status, response.body.toString()]).toEqual([path, 200, "good"]);
  }
}

/** Writes the pieces apart, then keeps the connection as if nothing were wrong. */
const inPieces = (...pieces: readonly string[]): Step =>
  step(async ({ peer }) => {
    for (const piece of pieces) {
      await peer.write(piece);
      await apart();
    }
    return true;
  });

describe("S7: an interim response that is none", () => {
  test.each([
    [
      "100 with a length and a body",
      `HTTP/1.1 100 Continue\r\nContent-Length: ${EVIL.length}\r\n\r\n${EVIL}`,
    ],
    ["103 with chunks", `HTTP/1.1 103 x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n`],
    ["102 with both", `HTTP/1.1 102 x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\nevil`],
    ["100 that is folded", "HTTP/1.1 100 Continue\r\nX: a\r\n b\r\n\r\n"],
    ["100 with a bare LF", "HTTP/1.1 100 Continue\nX: a\r\n\r\n"],
    [
      "101 that nobody asked for",
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    ],
    ["a status below 100", "HTTP/1.1 099 x\r\n\r\n"],
  ])("S7: %s leaves nothing for the next application", async (_, bytes) => {
    const final = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfinal";
    await using origin = await scriptedOrigin([answer(bytes + final), ok("good")]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    const response = await client.ask(get(origin));
    // Either it is refused, or what follows the interim head is read as what it is.
    if (response.status === 200) expect(["final", "evil"]).toContain(response.body.toString());
    else expect([response.status, field(response, "outrider-error")]).toEqual([502, "UPSTREAM_INVALID"]);
    await expectNextClean(proxy, origin);
  });

  test("S7: 100 behind the final answer is nobody's", async () => {
    await using origin = await scriptedOrigin([
      inPieces("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 100 Continue\r\n\r\n"),
      ok("good"),
    ]);
    await using proxy = await startProxy();
    await proxy.get(origin);
    await origin.connections[0]!.gone();
    await expectNextClean(proxy, origin);
  });

  test("S7: fields of an interim response do not join those of the final one", async () => {
    await using origin = await scriptedOrigin([
      answer(
        "HTTP/1.1 103 x\r\nSet-Cookie: evil=1\r\nContent-Type: text/evil\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
      ),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(get(origin));
    await client.anyResponse();
    expect((await client.anyResponse()).head).toBe("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
  });
});

describe("S7: a body that is longer than it says", () => {
  test.each([
    ["in one piece", [`HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok${EVIL}`]],
    ["in two", ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", EVIL]],
    ["from inside the body", ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", `k${EVIL}`]],
    [
      "behind the last chunk",
      ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", `0\r\n\r\n${EVIL}`],
    ],
    [
      "behind trailers",
      [`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n${EVIL}`],
    ],
    ["by one byte", ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokH"]],
    ["by an empty line", ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n"]],
  ])("S7: %s: its connection ends, and the rest is nobody's", async (_, pieces) => {
    await using origin = await scriptedOrigin([inPieces(...pieces), ok("good")]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    expect((await client.ask(get(origin))).body.toString()).toBe("ok");
    await origin.connections[0]!.gone();
    await expectNextClean(proxy, origin);
    expect(client.received).not.toContain("evil");
  });

  test("S7: 204, 304 and the answer to HEAD have none, whatever they say", async () => {
    for (const [method, head] of [
      ["GET", `HTTP/1.1 204 No Content\r\nContent-Length: ${EVIL.length}\r\n\r\n`],
      ["GET", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"],
      ["GET", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"],
      ["HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"],
      ["HEAD", `HTTP/1.1 200 OK\r\nContent-Length: ${EVIL.length}\r\n\r\n`],
    ] as const) {
      await using origin = await scriptedOrigin([answer(head + EVIL), ok("good")]);
      await using proxy = await startProxy();
      using client = await proxy.client();
      await client.ask(`${method} http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\n\r\n`);
      await origin.connections[0]!.gone();
      await expectNextClean(proxy, origin);
      expect([head, client.received.includes("evil")]).toEqual([head, false]);
    }
  });
});

describe("S7: an answer that comes before the request is over", () => {
  test("S7: and more answers behind it: the first is delivered, the rest is nobody's", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write(`HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly${EVIL}${EVIL}`);
        return false;
      }, "head"),
      ok("good"),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(post(origin, "x".repeat(100)).slice(0, -50));
    const response = await client.response();
    expect([response.body.toString(), field(response, "connection")]).toEqual(["early", "close"]);
    await client.write(`${"x".repeat(50)}${get(origin, "/hidden")}`);
    await client.gone();
    expect(client.received).not.toContain("evil");
    expect(origin.received).not.toContain("hidden");
    await expectNextClean(proxy, origin);
  });

  test("S7: a connection that speaks before its first question is not believed", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        return true;
      }),
      step(({ peer }) => {
        peer.socket.once("data", () => {});
        return true;
      }, "connect"),
      ok("good"),
    ]);
    await using proxy = await startProxy();
    expect((await proxy.get(origin)).body.toString()).toBe("ok");
    // The pooled connection becomes readable while it is idle.
    await origin.connections[0]!.write(EVIL);
    await origin.connections[0]!.gone();
    expect(proxy.proxy.upstream.stats()).toMatchObject({ open: 0, idle: 0 });
  });
});

describe("S7: a connection that an origin ends behind an error", () => {
  test.each([400, 408, 413, 421, 500, 503])(
    "S7: %i with Connection: close is not used again, and its last words are nobody's",
    async (status) => {
      await using origin = await scriptedOrigin([
        answer(`HTTP/1.1 ${status} x\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbad${EVIL}`),
        ok("good"),
      ]);
      await using proxy = await startProxy();
      using client = await proxy.client();
      const response = await client.ask(get(origin));
      expect([response.status, response.body.toString()]).toEqual([status, "bad"]);
      await origin.connections[0]!.gone();
      await expectNextClean(proxy, origin);
    },
  );
});

describe("S5: what an origin writes into a field", () => {
  test.each([
    ["a line end", "X: a\r\nSet-Cookie: evil=1"],
    ["a bare CR", "X: a\rSet-Cookie: evil=1"],
    ["a bare LF", "X: a\nSet-Cookie: evil=1"],
    ["a NUL", "X: a\0b"],
    ["a vertical tab", "X: a\x0bb"],
  ])("S5: %s cannot make another out of it", async (_, fields) => {
    await using origin = await scriptedOrigin([
      answer(`HTTP/1.1 200 OK\r\n${fields}\r\nContent-Length: 2\r\n\r\nok`),
    ]);
    await using proxy = await startProxy();
    const response = await proxy.get(origin);
    // A line end makes two fields on the wire, and two they are for everybody; the others are refused.
    if (fields.includes("\r\n")) expect(field(response, "set-cookie")).toBe("evil=1");
    else expect([response.status, field(response, "outrider-error")]).toEqual([502, "UPSTREAM_INVALID"]);
  });

  test("S5: fields of its hop, and those that it calls so, do not reach the application", async () => {
    const hop =
      "Keep-Alive: timeout=9\r\nProxy-Connection: close\r\nProxy-Authenticate: Basic\r\nTE: trailers\r\nUpgrade: h2c\r\nConnection: X-Evil, Upgrade\r\nX-Evil: 1\r\nX-Kept: 1\r\n";
    await using origin = await scriptedOrigin([ok("ok", hop)]);
    await using proxy = await startProxy();
    const names = (await proxy.get(origin)).fields.map(([name]) => name.toLowerCase());
    for (const name of ["keep-alive", "proxy-connection", "te", "upgrade", "connection", "x-evil"]) {
      expect(names).not.toContain(name);
    }
    expect(names).toContain("x-kept");
  });
});

test("S8: a response that is cut behind a chunk is not healed by the next one on another connection", async () => {
  await using origin = await scriptedOrigin([
    step(async ({ peer }) => {
      await peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
      await apart();
      peer.halfClose();
      return false;
    }),
    ok("good"),
  ]);
  await using proxy = await startProxy();
  using client = await proxy.client();
  await client.write(get(origin) + get(origin, "/pipelined"));
  expect(await client.gone()).toBe("reset");
  expect(client.received).not.toContain("good");
  expect(client.received).not.toMatch(/0\r\n\r\n$/);
  await eventually("the call to be over", () => proxy.proxy.telemetry.metrics().openCalls === 0);
  await expectNextClean(proxy, origin);
});
