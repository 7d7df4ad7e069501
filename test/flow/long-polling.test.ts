/** Long polling: calls that are answered when there is something to say, and not before. */
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { eventually, passUntil, signal } from "../kit/eventually.ts";
import { field } from "../kit/message.ts";
import { ok, type Step, scriptedOrigin, silence, step } from "../kit/origin.ts";
import { get, startProxy } from "../kit/proxy.ts";
import type { Client } from "../kit/raw-client.ts";

const okText = (body: string): string => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

/** Answers with `body` when it may. */
const heldAnswer = (body: string, held: Promise<void>): Step =>
  step(async ({ peer }) => {
    await held;
    await peer.write(okText(body));
    return true;
  });

describe("a poll", () => {
  test("that is held for less than idle_timeout gets its answer, and the next one goes over the same connections", async () => {
    const clock = new VirtualClock();
    const held = signal();
    await using origin = await scriptedOrigin([heldAnswer("news", held.given), ok("more")]);
    await using proxy = await startProxy({ clock });
    using client = await proxy.client();
    await client.write(get(origin, "/poll"));
    await origin.connected(1);
    await origin.connections[0]!.seen("\r\n\r\n");
    for (let second = 0; second < 55; second++) await clock.advance(1000);
    expect(client.received).toBe("");
    held.give();
    expect((await client.response()).body.toString()).toBe("news");
    expect((await client.ask(get(origin, "/poll"))).body.toString()).toBe("more");
    expect(origin.connections).toHaveLength(1);
  });

  test("that is held for hours gets its answer where the policy has no idle timeout", async () => {
    const clock = new VirtualClock();
    const held = signal();
    await using origin = await scriptedOrigin([heldAnswer("at last", held.given)]);
    await using proxy = await startProxy({ clock, policy: { defaults: { idle_timeout: "off" } } });
    using client = await proxy.client();
    await client.write(get(origin));
    await origin.connected(1);
    await origin.connections[0]!.seen("\r\n\r\n");
    for (let minute = 0; minute < 180; minute++) await clock.advance(60_000);
    held.give();
    expect((await client.response()).body.toString()).toBe("at last");
  });

  test("that is held for longer than idle_timeout is answered with 504 by the proxy", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([silence()]);
    await using proxy = await startProxy({ clock });
    using client = await proxy.client();
    await client.write(get(origin));
    await origin.connected(1);
    await origin.connections[0]!.seen("\r\n\r\n");
    const { value } = await passUntil(clock, client.response());
    expect([value.status, field(value, "outrider-error")]).toEqual([504, "UPSTREAM_TIMEOUT"]);
    await origin.connections[0]!.gone();
  });

  test("that its application gives up is given up at the origin, and its answer reaches nobody else", async () => {
    await using origin = await scriptedOrigin([silence(), ok("mine")]);
    await using proxy = await startProxy();
    const first = await proxy.client();
    await first.write(get(origin, "/abandoned"));
    await origin.connected(1);
    await origin.connections[0]!.seen("\r\n\r\n");
    first.reset();
    await origin.connections[0]!.gone();
    expect((await proxy.get(origin, "/mine")).body.toString()).toBe("mine");
    await eventually("both calls to be over", () => proxy.proxy.telemetry.metrics().openCalls === 0);
  });
});

test("a hundred held polls keep nobody waiting, and each gets its own answer", async () => {
  const held = signal();
  await using origin = await scriptedOrigin([
    step(async ({ peer, request }) => {
      const [, path] = request.startLine.split(" ");
      if (path !== "/now") await held.given;
      await peer.write(okText(path!));
      return true;
    }),
  ]);
  await using proxy = await startProxy();
  const pollers: Client[] = [];
  try {
    for (let at = 0; at < 100; at++) {
      const client = await proxy.client();
      pollers.push(client);
      await client.write(get(origin, `/poll/${at}`));
    }
    await eventually("all polls to be at the origin", () => origin.requests.length === 100);
    expect((await proxy.get(origin, "/now")).body.toString()).toBe("/now");
    held.give();
    for (const [at, client] of pollers.entries()) {
      expect((await client.response()).body.toString()).toBe(`/poll/${at}`);
    }
  } finally {
    for (const client of pollers) client.destroy();
  }
});
