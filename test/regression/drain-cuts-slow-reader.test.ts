/**
 * A drain reset connections whose answers it took for over: one that had begun before the drain left its connection waiting for a
 * further request, and one whose last byte had been handed to the socket did not count as a call in flight. An application that
 * read slowly lost the end of its answer, long before the drain's deadline.
 */
import { expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { eventually, passUntil, settled } from "../kit/eventually.ts";
import { answer, scriptedOrigin } from "../kit/origin.ts";
import { get, startProxy } from "../kit/proxy.ts";

/** More than the system's buffers hold between the origin and a client that does not read. */
const BODY_BYTES = 32 * 1024 * 1024;

/** What a client of a draining proxy reads late, piece by piece; `deadlineMs` after the drain began. */
async function drainWhileUnread(deadlineMs: number, takes: boolean) {
  const clock = new VirtualClock();
  await using origin = await scriptedOrigin([
    answer(`HTTP/1.1 200 OK\r\nContent-Length: ${BODY_BYTES}\r\n\r\n${"x".repeat(BODY_BYTES)}`),
  ]);
  await using proxy = await startProxy({ clock });
  using client = await proxy.client();
  await client.write(get(origin));
  await client.until("\r\n\r\n");
  client.pause();
  const { socket } = origin.connections[0]!;
  await settled(() => socket.bytesWritten - socket.writableLength);
  const drained = proxy.lifecycle.drain(clock.now() + deadlineMs);
  if (!takes) {
    const { elapsedMs } = await passUntil(clock, drained);
    client.resume();
    return { elapsedMs, parting: await client.gone(), unread: await client.rest() };
  }
  // Reads until all that is left is in the proxy's socket, waits there, and reads on.
  client.resume();
  await eventually("the origin's last byte to leave", () => socket.writableLength === 0);
  client.pause();
  await settled(() => proxy.proxy.upstream.stats().idle);
  await clock.advance(100);
  client.resume();
  const unread = await client.take(BODY_BYTES);
  const { elapsedMs } = await passUntil(clock, drained);
  return { elapsedMs, parting: await client.gone(), unread };
}

test("an answer that is being taken slowly is taken to its end", async () => {
  const { parting, unread } = await drainWhileUnread(60_000, true);
  expect([parting, unread.length]).toEqual(["end", BODY_BYTES]);
});

test("an answer that nobody takes holds the drain to its deadline and no longer, and breaks off", async () => {
  const { elapsedMs, parting, unread } = await drainWhileUnread(5000, false);
  expect(elapsedMs).toBeGreaterThanOrEqual(5000);
  expect(parting).toBe("reset");
  expect(unread.length).toBeLessThan(BODY_BYTES);
});
