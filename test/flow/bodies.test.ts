/** Bodies in both directions: every framing, byte-exact, as they come, and never faster than they are taken. */
import { createHash, randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { field } from "../kit/message.ts";
import { answer, answerAndClose, apart, drip, type Origin, ok, scriptedOrigin, step } from "../kit/origin.ts";
import { get, post, startProxy } from "../kit/proxy.ts";

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const MEGABYTE = 1024 * 1024;

const chunkedPost = (origin: Origin, fields = ""): string =>
  `POST http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\n${fields}Transfer-Encoding: chunked\r\n\r\n`;

describe("a request body", () => {
  test.each([1, 100, 16_384, 16_385, 200_000])("of %i bytes with its length", async (size) => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy();
    const body = randomBytes(size).toString("latin1");
    await proxy.ask(post(origin, body));
    expect(field(origin.requests[0]!, "content-length")).toBe(String(size));
    expect(origin.requests[0]!.body.toString("latin1")).toBe(body);
  });

  test("in chunks: extensions are dropped, trailers are passed on, and the announcement with them", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy();
    await proxy.ask(
      `${chunkedPost(origin, "Trailer: X-Sum\r\n")}3;a=b\r\nabc\r\n003\r\ndef\r\n0;x\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\n`,
    );
    const [request] = origin.requests;
    expect(request!.body.toString()).toBe("abcdef");
    expect(request!.trailers).toBe("X-Sum: 1\r\n");
    expect(field(request!, "trailer")).toBe("X-Sum");
    expect(request!.framed).not.toContain(";");
  });

  test("is passed on while it is still coming", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        // The whole exchange happens while the client has not ended its body.
        await peer.until("first");
        await peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n");
        await peer.until("0\r\n\r\n");
        await peer.write("0\r\n\r\n");
        return false;
      }, "head"),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(`${chunkedPost(origin)}5\r\nfirst\r\n`);
    await client.until("2\r\nhi\r\n");
    await client.write("0\r\n\r\n");
    await client.until("0\r\n\r\n");
  });

  test("waits for an origin that does not take it, and arrives whole in the end", async () => {
    const size = 16 * MEGABYTE;
    let released = (): void => {};
    const release = new Promise<void>((resolve) => (released = resolve));
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        peer.pause();
        await release;
        peer.resume();
        const body = await peer.take(size);
        await peer.write(`HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n${sha256(body)}`);
        return true;
      }, "head"),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    const body = randomBytes(size);
    await client.write(
      `POST http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\nContent-Length: ${size}\r\n\r\n`,
    );
    const written = client.write(body);
    // The kernel's buffers take some megabytes, the proxy its few kilobytes, and then the client has to wait.
    await stalled(() => client.socket.bytesWritten - client.socket.writableLength);
    expect(client.socket.writableLength).toBeGreaterThan(0);
    released();
    await written;
    expect((await client.response()).body.toString()).toBe(sha256(body));
  });
});

describe("a response body", () => {
  test.each([0, 1, 16_384, 16_385, 300_000])("of %i bytes with its length", async (size) => {
    const body = randomBytes(size).toString("latin1");
    await using origin = await scriptedOrigin([ok(body)]);
    await using proxy = await startProxy();
    const response = await proxy.get(origin);
    expect(field(response, "content-length")).toBe(String(size));
    expect(response.body.toString("latin1")).toBe(body);
  });

  test("in chunks: extensions are dropped, trailers are passed on", async () => {
    await using origin = await scriptedOrigin([
      drip(
        "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n3;a=",
        "b\r\nab",
        "c\r\n0",
        "0\r\nX-Sum: 1\r",
        "\nSet-Cookie: evil=1\r\n\r\n",
      ),
    ]);
    await using proxy = await startProxy();
    const response = await proxy.get(origin, "/");
    expect(response.body.toString()).toBe("abc");
    expect(response.trailers).toBe("X-Sum: 1\r\n");
    expect(field(response, "transfer-encoding")).toBe("chunked");
    expect(response.framed).toBe("2\r\nab\r\n1\r\nc\r\n0\r\nX-Sum: 1\r\n\r\n");
  });

  test("that ends with its connection becomes chunks", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write("HTTP/1.1 200 OK\r\n\r\nabc");
        await apart();
        await peer.write("def");
        peer.halfClose();
        return false;
      }),
      ok("next"),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    const response = await client.ask(get(origin));
    expect(field(response, "transfer-encoding")).toBe("chunked");
    expect(response.body.toString()).toBe("abcdef");
    expect((await client.ask(get(origin))).body.toString()).toBe("next");
  });

  test("that ends with its connection may be empty", async () => {
    await using origin = await scriptedOrigin([answerAndClose("HTTP/1.1 200 OK\r\n\r\n")]);
    await using proxy = await startProxy();
    expect((await proxy.get(origin)).body.length).toBe(0);
  });

  test("of ten thousand one-byte chunks arrives whole, in far fewer chunks", async () => {
    await using origin = await scriptedOrigin([
      answer(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${"1\r\nx\r\n".repeat(10_000)}0\r\n\r\n`),
    ]);
    await using proxy = await startProxy();
    const response = await proxy.get(origin);
    expect(response.body.toString()).toBe("x".repeat(10_000));
    expect(response.framed.split("\r\n").length).toBeLessThan(200);
  });

  test("reaches the application piece by piece, as it comes", async () => {
    let more = (): void => {};
    const wanted = new Promise<void>((resolve) => (more = resolve));
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
        await wanted;
        await peer.write("data: 2\n\n");
        peer.halfClose();
        return false;
      }),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(get(origin));
    await client.until("data: 1\n\n");
    more();
    await client.until("data: 2\n\n");
  });

  test("waits for an application that does not take it, and arrives whole in the end", async () => {
    const size = 16 * MEGABYTE;
    const body = randomBytes(size);
    let sender = { bytesWritten: 0, writableLength: 0 };
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        sender = peer.socket;
        await peer.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
        await peer.write(body);
        return true;
      }),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    client.pause();
    await client.write(get(origin));
    await stalled(() => sender.bytesWritten - sender.writableLength);
    expect(sender.writableLength).toBeGreaterThan(0);
    client.resume();
    const response = await client.response();
    expect(sha256(response.body)).toBe(sha256(body));
  });
});

test("both bodies of an exchange flow at the same time", async () => {
  const size = 4 * MEGABYTE;
  await using origin = await scriptedOrigin([
    step(async ({ peer }) => {
      await peer.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
      for (let left = size; left > 0; ) {
        const piece = await peer.take(Math.min(left, 65_536));
        left -= piece.length;
        await peer.write(piece);
      }
      return false;
    }, "head"),
  ]);
  await using proxy = await startProxy();
  using client = await proxy.client();
  const body = randomBytes(size);
  const [response] = await Promise.all([
    client.response(),
    client.write(
      Buffer.concat([
        Buffer.from(
          `POST http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\nContent-Length: ${size}\r\n\r\n`,
        ),
        body,
      ]),
    ),
  ]);
  expect(sha256(response.body)).toBe(sha256(body));
});

/** Resolves when `count` has moved and then not moved for a while: everything between is full. */
async function stalled(count: () => number): Promise<void> {
  for (let last = -1, still = 0; still < 10; ) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    still = count() === last && last > 0 ? still + 1 : 0;
    last = count();
  }
}
