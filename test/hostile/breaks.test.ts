/** Breaks look like breaks on the other side, in both directions. */
import { describe, expect, test } from "vitest";
import { answer, answerAndClose, reset, scriptedOrigin, step } from "../kit/origin.ts";
import { get, startProxy } from "../kit/proxy.ts";
import { eventually } from "../platform/conformance/kit/emulate.ts";

const HEAD = "HTTP/1.1 200 OK\r\n";
const CHUNKED = `${HEAD}Transfer-Encoding: chunked\r\n\r\n`;

describe("S8: a response that breaks off is never a clean end:", () => {
  test.each([
    ["inside a stated length, by an end", answerAndClose(`${HEAD}Content-Length: 10\r\n\r\nhello`)],
    ["inside a stated length, by a reset", reset(`${HEAD}Content-Length: 100000\r\n\r\nhello`)],
    ["inside a chunk, by an end", answerAndClose(`${CHUNKED}a\r\nhello`)],
    ["between two chunks, by an end", answerAndClose(`${CHUNKED}5\r\nhello\r\n`)],
    ["inside the trailers, by an end", answerAndClose(`${CHUNKED}5\r\nhello\r\n0\r\nX: y\r\n`)],
    ["between two chunks, by a reset", reset(`${CHUNKED}5\r\nhello\r\n`)],
    ["by a chunk that is malformed", answer(`${CHUNKED}5\r\nhello\r\nzz\r\n`)],
    ["before the end of the connection, by a reset", reset(`${HEAD}Connection: close\r\n\r\nhello`)],
  ])("%s", async (_what, script) => {
    await using origin = await scriptedOrigin([script]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(get(origin));
    expect(await client.closed()).toBe("reset");
    expect(client.received).not.toMatch(/\r\n0\r\n(?:.*\r\n)*\r\n$/);
  });
});

test("S8: a request that breaks off reaches the upstream as a break", async () => {
  const { promise, resolve } = Promise.withResolvers<string>();
  await using origin = await scriptedOrigin([
    step(async ({ peer }) => {
      resolve(await peer.gone());
      return false;
    }, "head"),
  ]);
  await using proxy = await startProxy();
  using client = await proxy.client();
  await client.write(`POST ${get(origin, "/", "Transfer-Encoding: chunked\r\n").slice(4)}5\r\nhello\r\n`);
  await eventually(() => (origin.received.includes("hello") ? true : undefined));
  client.reset();
  await promise;
  expect(origin.received).not.toMatch(/\r\n0\r\n\r\n$/);
});
