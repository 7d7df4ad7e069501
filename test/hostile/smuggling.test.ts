/**
 * Requests and responses that hide a second one. What counts is the other side of the proxy: nothing that can be read in two ways
 * may reach it, and nothing behind a refused message may be taken for a message.
 */
import { describe, expect, test } from "vitest";
import { field } from "../kit/message.ts";
import { answer, apart, type Origin, ok, scriptedOrigin, step } from "../kit/origin.ts";
import { get, post, startProxy } from "../kit/proxy.ts";

/** The request that an attacker wants to arrive unseen. */
const hidden = (origin: Origin): string => `GET /hidden HTTP/1.1\r\nHost: ${origin.authority}\r\n\r\n`;
const post1 = (origin: Origin, fields: string): string =>
  `POST http://${origin.authority}/ HTTP/1.1\r\nHost: ${origin.authority}\r\n${fields}\r\n`;

describe("S5: a request whose head can be read in two ways reaches nobody:", () => {
  test.each([
    ["CL.TE", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"],
    ["TE.CL", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "0\r\n\r\n"],
    ["TE.TE, the second unknown", "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", "0\r\n\r\n"],
    ["TE.TE, the first unknown", "Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"],
    ["TE twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"],
    ["TE as a list", "Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"],
    ["TE with a parameter", "Transfer-Encoding: chunked;a=b\r\n", "0\r\n\r\n"],
    ["TE with a vertical tab", "Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n"],
    ["TE with a no-break space", "Transfer-Encoding: \xa0chunked\r\n", "0\r\n\r\n"],
    ["TE with a tab behind it", "Transfer-Encoding: chunked\t\r\n", "0\r\n\r\n"],
    ["TE with a blank before the colon", "Transfer-Encoding : chunked\r\n", "0\r\n\r\n"],
    ["TE with a tab before the colon", "Transfer-Encoding\t: chunked\r\n", "0\r\n\r\n"],
    ["TE folded", "Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"],
    ["TE behind a bare CR", "X: y\rTransfer-Encoding: chunked\r\n", "0\r\n\r\n"],
    ["TE behind a bare LF", "X: y\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"],
    ["TE behind a NUL", "X: y\0Transfer-Encoding: chunked\r\n", "0\r\n\r\n"],
    ["TE in a folded field", "X: y\r\n Transfer-Encoding: chunked\r\n", "0\r\n\r\n"],
    ["TE of another coding", "Transfer-Encoding: gzip\r\n", "0\r\n\r\n"],
    ["TE of two codings", "Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"],
    ["CL.CL, different", "Content-Length: 0\r\nContent-Length: 44\r\n", ""],
    ["CL.CL, the same", "Content-Length: 0\r\nContent-Length: 0\r\n", ""],
    ["CL as a list", "Content-Length: 0, 44\r\n", ""],
    ["CL with a sign", "Content-Length: +0\r\n", ""],
    ["CL in hexadecimal", "Content-Length: 0x0\r\n", ""],
    ["CL with a no-break space", "Content-Length: \xa00\r\n", ""],
    ["CL with a blank before the colon", "Content-Length : 44\r\n", ""],
    ["CL without a value", "Content-Length:\r\n", ""],
    ["CL that overflows 64 bits", "Content-Length: 18446744073709551616\r\n", ""],
    ["a field name with a blank in front", " Content-Length: 44\r\n", ""],
    ["a field without a colon", "Content-Length\r\n", ""],
    ["a request line as a field", "GET /hidden HTTP/1.1\r\n", ""],
  ])("%s", async (_, fields, body) => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(post1(origin, fields) + body + hidden(origin));
    const response = await client.response();
    expect(response.status).toBeGreaterThanOrEqual(400);
    expect(field(response, "connection")).toBe("close");
    expect((await client.rest()).toString()).toBe("");
    expect(origin.connections).toHaveLength(0);
  });
});

describe("S5: a chunked body that can be read in two ways is cut off, and the origin can tell:", () => {
  test.each([
    ["a bare LF behind the size", "4\nabcd\r\n0\r\n\r\n"],
    ["a bare CR behind the size", "4\rabcd\r\n0\r\n\r\n"],
    ["a size that is too small", "3\r\nabcd\r\n0\r\n\r\n"],
    ["a size with a sign", "+4\r\nabcd\r\n0\r\n\r\n"],
    ["a size with a prefix", "0x4\r\nabcd\r\n0\r\n\r\n"],
    ["a size that overflows", "10000000000000004\r\nabcd\r\n0\r\n\r\n"],
    ["a blank behind the size", "4 \r\nabcd\r\n0\r\n\r\n"],
    ["a bare LF in an extension", "4;a\nb\r\nabcd\r\n0\r\n\r\n"],
    ["an open quote in an extension", '4;a="\r\nabcd\r\n0\r\n\r\n'],
    ["a bare LF behind the data", "4\r\nabcd\n0\r\n\r\n"],
    ["a bare LF at the end", "4\r\nabcd\r\n0\r\n\n"],
    ["a folded trailer", "4\r\nabcd\r\n0\r\nX: y\r\n z\r\n\r\n"],
    ["a trailer with a blank before its colon", "4\r\nabcd\r\n0\r\nX : y\r\n\r\n"],
  ])("%s", async (_, body) => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(`${post1(origin, "Transfer-Encoding: chunked\r\n")}2\r\nok\r\n`);
    await origin.connected(1);
    await origin.connections[0]!.seen("2\r\nok\r\n");
    await client.write(body + hidden(origin));
    const response = await client.response();
    expect([response.status, field(response, "outrider-error")]).toEqual([400, "BAD_REQUEST"]);
    expect((await client.rest()).toString()).toBe("");
    await origin.connections[0]!.gone();
    expect(origin.connections[0]!.received).not.toContain("0\r\n\r\n");
    expect(origin.received).not.toContain("hidden");
    expect(origin.requests).toHaveLength(0);
  });
});

describe("S5: what is read in one way only is written anew:", () => {
  test("a second request inside a body of stated length stays in the body", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy();
    await proxy.ask(post(origin, hidden(origin)));
    expect(origin.requests.map(({ startLine }) => startLine)).toEqual(["POST / HTTP/1.1"]);
  });

  test("a second request behind a GET with a body stays in the body", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy();
    const body = hidden(origin);
    await proxy.ask(
      `GET http://${origin.authority}/ HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    expect(origin.requests.map(({ startLine, body: got }) => [startLine, got.toString()])).toEqual([
      ["GET / HTTP/1.1", body],
    ]);
  });

  test("chunk extensions and forbidden trailers do not arrive", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy();
    await proxy.ask(
      `${post1(origin, "Transfer-Encoding: chunked\r\nTrailer: X-A\r\n")}4;evil="\x7e"\r\nabcd\r\n0\r\nX-A: 1\r\nContent-Length: 9\r\nHost: evil\r\nAuthorization: x\r\n\r\n`,
    );
    expect(origin.requests[0]!.framed).toBe("4\r\nabcd\r\n0\r\nX-A: 1\r\n\r\n");
  });

  test.each(["Content-Length", "Transfer-Encoding", "Host"])(
    "Connection: %s does not take the framing or the host away",
    async (name) => {
      await using origin = await scriptedOrigin([ok()]);
      await using proxy = await startProxy();
      await proxy.ask(post(origin, hidden(origin), `Connection: ${name}\r\n`));
      expect(origin.requests).toHaveLength(1);
      expect(field(origin.requests[0]!, "host")).toBe(origin.authority);
      expect(origin.requests[0]!.body.toString()).toBe(hidden(origin));
    },
  );

  test("names that differ from the framing's by an underscore frame nothing", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy();
    await proxy.ask(
      `GET http://${origin.authority}/ HTTP/1.1\r\nHost: a\r\nContent_Length: 5\r\nTransfer_Encoding: chunked\r\n\r\n`,
    );
    expect(origin.requests).toHaveLength(1);
  });

  test("what follows the last request of a connection is never read", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(get(origin, "/", "Connection: close\r\n") + get(origin, "/hidden"));
    await client.response();
    expect((await client.rest()).toString()).toBe("");
    expect(origin.requests).toHaveLength(1);
  });

  test("what follows a request that was answered early is never read", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write("HTTP/1.1 413 x\r\nContent-Length: 0\r\n\r\n");
        return false;
      }, "head"),
      ok(),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(
      `POST http://${origin.authority}/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf`,
    );
    expect((await client.response()).status).toBe(413);
    await client.write(get(origin, "/hidden").repeat(30));
    expect((await client.rest()).toString()).toBe("");
    expect(origin.requests).toHaveLength(1);
  });

  test("every character that ends a line somewhere is refused in a value that a policy could copy", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy();
    for (const character of ["\r", "\n", "\0", "\x0b", "\x0c", "\x1b", "\x7f"]) {
      const response = await proxy.ask(get(origin, "/", `X: a${character}Injected: b\r\n`));
      expect([character, response.status]).toEqual([character, 400]);
    }
    expect(origin.connections).toHaveLength(0);
  });
});

describe("S5: a response that can be read in two ways is not passed on:", () => {
  test.each([
    ["CL.TE", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    ["CL.CL", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 4\r\n\r\nabcd"],
    ["CL as a list", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nab"],
    ["CL with a sign", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab"],
    [
      "TE.TE",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    ],
    ["TE not final", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"],
    ["TE in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    ["a bare LF in the head", "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n"],
    ["a bare CR in a value", "HTTP/1.1 200 OK\r\nX: y\rSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"],
    ["a folded field", "HTTP/1.1 200 OK\r\nX: y\r\n Set-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"],
    ["a NUL in a value", "HTTP/1.1 200 OK\r\nX: y\0\r\nContent-Length: 0\r\n\r\n"],
    ["a blank before a colon", "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n"],
    ["no status", "HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n"],
    ["HTTP/0.9", "<html>hello</html>\r\n\r\n"],
    ["HTTP/2", "HTTP/2 200\r\nContent-Length: 0\r\n\r\n"],
    ["another protocol", "SSH-2.0-OpenSSH\r\n\r\n"],
  ])("%s", async (_, bytes) => {
    await using origin = await scriptedOrigin([answer(bytes), ok("next")]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    const response = await client.ask(get(origin));
    expect([response.status, field(response, "outrider-error")]).toEqual([502, "UPSTREAM_INVALID"]);
    // The application's connection is sound; the origin's is not used again.
    expect((await client.ask(get(origin))).body.toString()).toBe("next");
    expect(origin.connections).toHaveLength(2);
  });
});

describe("S7: an answer that nobody asked for is given to nobody:", () => {
  const EVIL = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";

  test.each([
    ["a response of stated length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"],
    ["a chunked response", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"],
    ["a 204", "HTTP/1.1 204 No Content\r\n\r\n"],
    ["a 304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n"],
  ])("S7: extra bytes behind %s end its connection", async (_, response) => {
    await using origin = await scriptedOrigin([answer(response + EVIL), ok("good")]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.ask(get(origin));
    expect(await origin.connections[0]!.gone()).not.toBeNull();
    expect((await client.ask(get(origin))).body.toString()).toBe("good");
    expect(origin.connections).toHaveLength(2);
  });

  test("S7: a body behind the answer to HEAD ends its connection", async () => {
    await using origin = await scriptedOrigin([answer(EVIL), ok("good")]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.ask(`HEAD http://${origin.authority}/ HTTP/1.1\r\nHost: a\r\n\r\n`);
    expect((await client.ask(get(origin))).body.toString()).toBe("good");
    expect(origin.connections).toHaveLength(2);
  });

  test("S7: a pooled connection that becomes readable while idle is destroyed", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        await apart();
        await peer.write(EVIL);
        return true;
      }),
      ok("good"),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.ask(get(origin));
    await origin.connections[0]!.gone();
    expect(proxy.proxy.upstream.stats()).toMatchObject({ open: 0, idle: 0 });
    expect((await client.ask(get(origin))).body.toString()).toBe("good");
  });

  test("S7: an origin that speaks before it is asked has nothing to say", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write(EVIL);
        return true;
      }, "connect"),
      ok("good"),
    ]);
    await using proxy = await startProxy();
    // Whether the bytes come before or behind the request is a matter of luck: they may be its answer, never the next one's.
    await proxy.get(origin);
    expect((await proxy.get(origin)).body.toString()).toBe("good");
  });

  test("S7: a length that is smaller than the body leaves the rest to nobody", async () => {
    await using origin = await scriptedOrigin([
      answer(`HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n${EVIL}`),
      ok("good"),
    ]);
    await using proxy = await startProxy();
    using first = await proxy.client();
    using second = await proxy.client();
    expect((await first.ask(get(origin))).body.toString()).toBe("");
    expect((await second.ask(get(origin))).body.toString()).toBe("good");
  });

  test("S7: header injection by a response splits nothing: the application gets one message", async () => {
    await using origin = await scriptedOrigin([
      answer(
        `HTTP/1.1 200 OK\r\nX: a\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nSet-Cookie: evil=1\r\n\r\n`,
      ),
      ok("good"),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    const response = await client.ask(get(origin));
    expect(response.head).toBe("HTTP/1.1 200 OK\r\nX: a\r\nContent-Length: 0\r\n\r\n");
    await apart();
    expect(client.unread).toBe("");
  });
});
