/** Two connections that are joined: nothing of one gets into another, and a side that takes nothing holds the other back. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { adopt, adoptConnected, READ_BYTES, readingOf, sharedBuffer } from "../../src/listener/adopt.ts";
import { type Splice, type SpliceResult, splice } from "../../src/listener/splice.ts";
import { eventually, settled } from "../kit/eventually.ts";
import { type Client, rawClient } from "../kit/raw-client.ts";

/** A connection, and our end of it. */
async function connection(): Promise<{ far: Client; near: Socket }> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const accepted = once(server, "connection");
  const far = await rawClient((server.address() as { port: number }).port);
  const [near] = (await accepted) as [Socket];
  server.close();
  return { far, near };
}

/** An application and an upstream that are joined, adopted both. */
async function joined(): Promise<{
  application: Client;
  upstream: Client;
  near: Socket;
  joint: Splice;
  done: Promise<SpliceResult>;
}> {
  const [left, right] = [await connection(), await connection()];
  const near = adopt(left.near, 64 * 1024, () => true);
  const other = adoptConnected(right.near, 64 * 1024, []);
  const { promise: done, resolve } = Promise.withResolvers<SpliceResult>();
  const joint = splice(near, other, { up: 0, down: 0, done: resolve });
  return { application: left.far, upstream: right.far, near, joint, done };
}

test("a side that takes nothing holds the other back with no more than a read waiting", async () => {
  const { application, upstream, joint, done } = await joined();
  upstream.pause();
  const bytes = randomBytes(20_000_000);
  const written = application.write(bytes);
  await settled(() => application.socket.bytesWritten - application.socket.writableLength);
  expect(application.socket.writableLength).toBeGreaterThan(0);
  expect(joint.bufferedBytes).toBeGreaterThan(0);
  expect(joint.bufferedBytes).toBeLessThanOrEqual(2 * READ_BYTES);
  upstream.resume();
  expect((await upstream.take(bytes.length)).equals(bytes)).toBe(true);
  await written;
  application.halfClose();
  upstream.halfClose();
  expect(await done).toEqual({ bytesUp: bytes.length, bytesDown: 0, error: null });
});

test("a connection has a buffer of its own only while it is busy", async () => {
  const { application, upstream, near, done } = await joined();
  const reading = readingOf(near)!;
  expect(reading.buffer).toBe(sharedBuffer());
  // The proxy reads slower than this is written, so that some reads are large.
  upstream.pause();
  const written = application.write(Buffer.alloc(8_000_000));
  await eventually("a large read", () => reading.buffer !== sharedBuffer());
  upstream.resume();
  await upstream.take(8_000_000);
  await written;
  await application.write("small");
  await upstream.until("small");
  await application.write("smaller");
  await upstream.until("smaller");
  expect(reading.buffer).toBe(sharedBuffer());
  application.reset();
  expect((await done).error?.code).toBe("CLIENT_GONE");
});

describe("a connection that we made", () => {
  test("gives what it has said already, and goes on behind it", async () => {
    const { far, near } = await connection();
    near.resume();
    near.pause();
    near.read(0);
    await far.write("early");
    await eventually("the bytes to be read", () => near.readableLength === 5);
    const ahead: Uint8Array[] = [];
    const read: string[] = [];
    const adopted = adoptConnected(near, 1024, ahead) as Socket;
    readingOf(adopted)!.receive = (bytes) => read.push(bytes.toString()) > 0;
    adopted.resume();
    await far.write(" late");
    await eventually("the rest", () => read.join("") === " late");
    expect(Buffer.concat(ahead).toString()).toBe("early");
    adopted.destroy();
    far.destroy();
  });

  test("whose end has been read already stays as it is, so that its end is told", async () => {
    const { far, near } = await connection();
    near.read(0);
    await far.write("all");
    far.halfClose();
    await eventually("the end to be read", () => near.readableLength === 3);
    // Node tells of it only when the bytes before it have been taken.
    const state = (near as unknown as { _readableState: { ended: boolean } })._readableState;
    await eventually("the end to be read too", () => state.ended);
    const ahead: Uint8Array[] = [];
    expect(adoptConnected(near, 1024, ahead)).toBe(near);
    expect(ahead).toEqual([]);
    near.destroy();
    far.destroy();
  });
});
