/** A message that broke off must never look like one that ended (RFC 9112 §8): silent truncation is the commonest defect of proxies. */
import { describe, expect, test } from "vitest";
import { apart, type Origin, type OriginTurn, type Step, scriptedOrigin, step } from "../kit/origin.ts";
import { get, startProxy } from "../kit/proxy.ts";

/** Sends `bytes`, waits until the application has had some of it, then leaves. */
const breaksOff = (bytes: string, how: "end" | "reset"): Step =>
  step(async ({ peer }: OriginTurn) => {
    await peer.write(bytes);
    await apart();
    if (how === "end") peer.halfClose();
    else peer.reset();
    return false;
  });

const getAs = (version: "1.0" | "1.1", origin: Origin): string =>
  version === "1.1" ? get(origin) : `GET http://${origin.authority}/ HTTP/1.0\r\n\r\n`;

const FRAMINGS = [
  ["a stated length", "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhalf"],
  ["chunks, inside a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100\r\nhalf"],
  ["chunks, between two", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"],
  ["chunks, inside a size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n1"],
  [
    "chunks, before the empty line",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
  ],
  [
    "chunks, inside the trailers",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nX: y\r\n",
  ],
] as const;

describe("S8: a response that breaks off is broken off for the application:", () => {
  for (const how of ["end", "reset"] as const) {
    for (const version of ["1.1", "1.0"] as const) {
      test.each(FRAMINGS)(`%s, by ${how}, to HTTP/${version}`, async (_, bytes) => {
        await using origin = await scriptedOrigin([breaksOff(bytes, how)]);
        await using proxy = await startProxy();
        using client = await proxy.client();
        await client.write(getAs(version, origin));
        await client.until("\r\n\r\n");
        await client.seen("half");
        expect(await client.gone()).toBe("reset");
        expect(client.received).not.toMatch(/\r\n0\r\n\r\n$/);
      });
    }
  }

  test("one that ends with its connection, by a reset", async () => {
    for (const version of ["1.1", "1.0"] as const) {
      await using origin = await scriptedOrigin([breaksOff("HTTP/1.1 200 OK\r\n\r\nhalf", "reset")]);
      await using proxy = await startProxy();
      using client = await proxy.client();
      await client.write(getAs(version, origin));
      await client.seen("half");
      expect([version, await client.gone()]).toEqual([version, "reset"]);
      expect(client.received).not.toMatch(/\r\n0\r\n\r\n$/);
    }
  });

  test("one whose chunks turn out to be invalid", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
        await apart();
        await peer.write("oops\r\n0\r\n\r\n");
        return false;
      }),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(get(origin));
    await client.seen("half");
    expect(await client.gone()).toBe("reset");
    expect(client.received).not.toMatch(/\r\n0\r\n\r\n$/);
  });
});

describe("S8: a head that breaks off is an error, never an empty answer:", () => {
  test.each([
    ["inside the status line", "HTTP/1.1 20"],
    ["inside a field", "HTTP/1.1 200 OK\r\nContent-Le"],
    ["before the empty line", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"],
    ["behind an interim response", "HTTP/1.1 103 Early Hints\r\n\r\n"],
    ["before its first byte", ""],
  ])("%s", async (_, bytes) => {
    for (const how of ["end", "reset"] as const) {
      await using origin = await scriptedOrigin([breaksOff(bytes, how)]);
      await using proxy = await startProxy();
      expect([how, (await proxy.get(origin)).status]).toEqual([how, 502]);
      // Broken answers are not asked for again.
      expect(origin.requests).toHaveLength(1);
    }
  });
});

describe("S8: a request that breaks off is broken off for the origin:", () => {
  test.each([
    ["a stated length", "Content-Length: 1000\r\n\r\nhalf"],
    ["chunks, inside a chunk", "Transfer-Encoding: chunked\r\n\r\n100\r\nhalf"],
    ["chunks, between two", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"],
    ["chunks, before the empty line", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n"],
  ])("%s", async (_, rest) => {
    for (const how of ["end", "reset"] as const) {
      await using origin = await scriptedOrigin([step(() => false, "head")]);
      await using proxy = await startProxy();
      using client = await proxy.client();
      await client.write(`POST http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\n${rest}`);
      await origin.connected(1);
      await origin.connections[0]!.seen("half");
      if (how === "end") client.halfClose();
      else client.reset();
      await origin.connections[0]!.gone();
      expect(origin.received).not.toMatch(/\r\n0\r\n\r\n$/);
    }
  });
});

test("S8: the last bytes of an answer reach an application that takes its time, though the connection is to be closed", async () => {
  // More than the kernel's buffers hold, so that some of it is still ours when the answer is over for the origin.
  const size = 12 * 1024 * 1024;
  await using origin = await scriptedOrigin([
    step(async ({ peer }) => {
      await peer.write(`HTTP/1.1 200 OK\r\n\r\n${"x".repeat(size)}`);
      peer.halfClose();
      return false;
    }),
  ]);
  await using proxy = await startProxy();
  using client = await proxy.client();
  client.pause();
  // HTTP/1.0: nothing but the end of the connection tells that the body is whole.
  await client.write(`GET http://${origin.authority}/ HTTP/1.0\r\n\r\n`);
  await origin.connected(1);
  // Longer than a connection that is being closed is waited for once everything has been taken.
  await new Promise((resolve) => setTimeout(resolve, 2500));
  client.resume();
  const response = await client.response();
  expect(response.body.length).toBe(size);
});
