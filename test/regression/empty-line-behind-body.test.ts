/**
 * Some programs send an empty line behind a body (RFC 9112 §2.2). It was taken for the beginning of a request: the idle connection got
 * an unasked 408 after `head_timeout`, or 503 in a drain, which the program could take for the answer to its next request.
 */
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { passUntil } from "../kit/eventually.ts";
import { ok, scriptedOrigin } from "../kit/origin.ts";
import { get, post, startProxy } from "../kit/proxy.ts";

describe.each([
  ["in one piece with it", true],
  ["after the answer", false],
])("an empty line behind a body, %s,", (_when, together) => {
  async function afterEmptyLine() {
    const clock = new VirtualClock();
    const origin = await scriptedOrigin([ok("first"), ok("second")]);
    const proxy = await startProxy({ clock });
    const client = await proxy.client();
    await client.write(post(origin, "abc") + (together ? "\r\n" : ""));
    expect((await client.response()).body.toString()).toBe("first");
    if (!together) await client.write("\r\n");
    await new Promise((resolve) => setTimeout(resolve, 20));
    return {
      clock,
      origin,
      proxy,
      client,
      async [Symbol.asyncDispose]() {
        client.destroy();
        await proxy[Symbol.asyncDispose]();
        await origin[Symbol.asyncDispose]();
      },
    };
  }

  test("does not begin a request that has to be ended in time", async () => {
    await using idle = await afterEmptyLine();
    for (let second = 0; second < 15; second++) await idle.clock.advance(1000);
    expect((await idle.client.ask(get(idle.origin))).body.toString()).toBe("second");
  });

  test("leaves the connection idle: it ends without an answer", async () => {
    await using idle = await afterEmptyLine();
    await passUntil(idle.clock, idle.client.gone());
    expect([idle.client.unread, idle.client.parting]).toEqual(["", "end"]);
  });

  test("leaves the connection idle for a drain", async () => {
    await using idle = await afterEmptyLine();
    void idle.proxy.lifecycle.drain(Number.POSITIVE_INFINITY);
    expect((await idle.client.rest()).toString()).toBe("");
  });

  test("and the application's end behind it are an end", async () => {
    await using idle = await afterEmptyLine();
    idle.client.halfClose();
    expect((await idle.client.rest()).toString()).toBe("");
  });
});

test("an empty line and the application's end that come with the request are an end behind its answer", async () => {
  await using origin = await scriptedOrigin([ok("only")]);
  await using proxy = await startProxy();
  using client = await proxy.client();
  const sent = client.write(`${post(origin, "abc")}\r\n`);
  client.halfClose();
  await sent;
  expect((await client.response()).body.toString()).toBe("only");
  expect((await client.rest()).toString()).toBe("");
});
