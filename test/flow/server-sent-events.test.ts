/** Server-sent events: an answer that never ends, whose pieces matter one by one (HTML Standard §9.2). */
import { once } from "node:events";
import { EventSource, ProxyAgent } from "undici";
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { eventually, signal } from "../kit/eventually.ts";
import { field } from "../kit/message.ts";
import { type Origin, ok, type Step, scriptedOrigin, step } from "../kit/origin.ts";
import { get, startProxy } from "../kit/proxy.ts";

const HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n";
const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;

/** Sends each event only when the one before it has arrived, so that nobody can wait for more before handing one on. */
const oneByOne = (events: readonly string[], arrived: readonly { given: Promise<void> }[]): Step =>
  step(async ({ peer }) => {
    await peer.write(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`);
    for (const [at, event] of events.entries()) {
      await peer.write(chunk(event));
      await arrived[at]!.given;
    }
    return false;
  });

describe("an event stream", () => {
  const events = ["data: one\n\n", ": a comment keeps it alive\n\n", 'id: 2\nevent: e\ndata: {"a":1}\n\n'];

  test("in chunks arrives event by event, each before the next is sent", async () => {
    const arrived = events.map(() => signal());
    await using origin = await scriptedOrigin([oneByOne(events, arrived)]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(get(origin, "/", "Accept: text/event-stream\r\n"));
    await client.until("\r\n\r\n");
    for (const [at, event] of events.entries()) {
      await client.until(chunk(event));
      arrived[at]!.give();
    }
    expect(client.parting).toBeNull();
  });

  test("that ends with its connection arrives the same, and its end is the end", async () => {
    const arrived = events.map(() => signal());
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write(`${HEAD}\r\n`);
        for (const [at, event] of events.entries()) {
          await peer.write(event);
          await arrived[at]!.given;
        }
        peer.halfClose();
        return false;
      }),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(get(origin));
    await client.until("\r\n\r\n");
    for (const [at, event] of events.entries()) {
      await client.until(chunk(event));
      arrived[at]!.give();
    }
    expect(await client.until("0\r\n\r\n")).toBe("0\r\n\r\n");
  });

  test("inside a tunnel for clear text arrives event by event too", async () => {
    const arrived = events.map(() => signal());
    await using origin = await scriptedOrigin([oneByOne(events, arrived)]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.ask(`CONNECT ${origin.authority} HTTP/1.1\r\nHost: ${origin.authority}\r\n\r\n`);
    await client.write(`GET / HTTP/1.1\r\nHost: ${origin.authority}\r\n\r\n`);
    await client.until("\r\n\r\n");
    for (const [at, event] of events.entries()) {
      await client.until(chunk(event));
      arrived[at]!.give();
    }
    expect(client.parting).toBeNull();
  });

  test("whose comments keep coming lives for hours under the default idle timeout", async () => {
    const clock = new VirtualClock();
    const beats = Array.from({ length: 200 }, () => signal());
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write(`${HEAD}\r\n`);
        for (const beat of beats) {
          await beat.given;
          await peer.write(":\n\n");
        }
        return false;
      }),
    ]);
    await using proxy = await startProxy({ clock });
    using client = await proxy.client();
    await client.write(get(origin));
    await client.until("\r\n\r\n");
    for (const beat of beats) {
      await clock.advance(45_000);
      beat.give();
      await client.until(":\n\n");
    }
    expect(clock.now()).toBeGreaterThan(2 * 3600_000);
  });

  test("that its application leaves is left at the origin too, and harms nobody else", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write(`${HEAD}\r\ndata: 1\n\n`);
        return false;
      }),
      ok("next"),
    ]);
    await using proxy = await startProxy();
    const client = await proxy.client();
    await client.write(get(origin));
    await client.seen("data: 1");
    client.reset();
    await origin.connections[0]!.gone();
    await eventually("the call to be over", () => proxy.proxy.telemetry.metrics().openCalls === 0);
    expect((await proxy.get(origin)).body.toString()).toBe("next");
  });
});

test("an EventSource gets its events, connects again when the stream breaks, and says where it was", async () => {
  const lastIds: (string | undefined)[] = [];
  const stream = (events: string): Step =>
    step(async ({ peer, request }) => {
      lastIds.push(field(request, "last-event-id"));
      await peer.write(`${HEAD}Transfer-Encoding: chunked\r\n\r\n${chunk(`retry: 1\n${events}`)}`);
      // The first stream breaks off behind its event; the second one stays.
      if (lastIds.length === 1) setTimeout(() => peer.halfClose(), 50);
      return false;
    });
  await using origin: Origin = await scriptedOrigin([
    stream("id: a\ndata: first\n\n"),
    stream("id: b\ndata: second\n\n"),
  ]);
  await using proxy = await startProxy();
  const dispatcher = new ProxyAgent(`http://127.0.0.1:${proxy.port}`);
  const source = new EventSource(`http://${origin.authority}/events`, { node: { dispatcher } });
  try {
    const [first] = (await once(source, "message")) as [MessageEvent];
    expect(first.data).toBe("first");
    const [second] = (await once(source, "message")) as [MessageEvent];
    expect(second.data).toBe("second");
    expect(lastIds).toEqual([undefined, "a"]);
  } finally {
    source.close();
    await dispatcher.destroy();
  }
});
