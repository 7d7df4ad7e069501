/** Bodies pass piece by piece and no faster than they are taken, in both directions. */
import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { settled, signal } from "../kit/eventually.ts";
import { answer, type Step, scriptedOrigin, step } from "../kit/origin.ts";
import { get, post, startProxy } from "../kit/proxy.ts";

const MIB = 1024 * 1024;
/** Buffers of the system hold some 20 MiB over the two connections at most: what passes this was held by the proxy. */
const HELD_BYTES_MAX = 48 * MIB;

/** Bytes that repeat with no power of two, so that a piece that is lost, doubled or moved changes the hash. */
function pattern(bytes: number): Buffer {
  const period = Buffer.from(Array.from({ length: 65_521 }, (_, at) => (at * 31 + (at >> 8)) & 0xff));
  return Buffer.alloc(bytes, period);
}

const hash = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

const inChunks = (bytes: Buffer, chunkBytes: number): Buffer => {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    const chunk = bytes.subarray(at, at + chunkBytes);
    pieces.push(Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from("\r\n"));
  }
  return Buffer.concat([...pieces, Buffer.from("0\r\n\r\n")]);
};

test("an answer that begins while the request is still being sent flows beside it", async () => {
  await using origin = await scriptedOrigin([
    step(async ({ peer }) => {
      await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n");
      for (let piece = 0; piece < 3; piece++) await peer.write(await peer.take(4));
      return true;
    }, "head"),
  ]);
  await using proxy = await startProxy();
  using client = await proxy.client();
  const request = post(origin, "oneAtwoBtriC");
  await client.write(request.slice(0, -12));
  await client.until("\r\n\r\n");
  for (const piece of ["oneA", "twoB", "triC"]) {
    await client.write(piece);
    expect((await client.take(4)).toString()).toBe(piece);
  }
});

const large = pattern(8 * MIB + 12_345);

test.each<[string, Step, boolean]>([
  ["with its length", wholeAnswer(`Content-Length: ${large.length}`, large), false],
  ["in large chunks", wholeAnswer("Transfer-Encoding: chunked", inChunks(large, 300_001)), true],
  ["in small chunks", wholeAnswer("Transfer-Encoding: chunked", inChunks(large, 1009)), true],
])("a large response %s arrives byte for byte", async (_how, script, chunked) => {
  await using origin = await scriptedOrigin([script]);
  await using proxy = await startProxy();
  const received = await proxy.get(origin);
  expect(received.fields.some(([name]) => name === "Transfer-Encoding")).toBe(chunked);
  expect([received.body.length, hash(received.body)]).toEqual([large.length, hash(large)]);
});

function wholeAnswer(framing: string, framed: Buffer): Step {
  return step(async ({ peer }) => {
    await peer.write(`HTTP/1.1 200 OK\r\n${framing}\r\n\r\n`);
    await peer.write(framed);
    return true;
  });
}

test.each<[string, string, Buffer]>([
  ["with its length", `Content-Length: ${large.length}`, large],
  ["in chunks", "Transfer-Encoding: chunked", inChunks(large, 70_001)],
])("a large request %s arrives byte for byte", async (_how, framing, framed) => {
  await using origin = await scriptedOrigin([answer("HTTP/1.1 204 No Content\r\n\r\n")]);
  await using proxy = await startProxy();
  using client = await proxy.client();
  const sent = client.write(
    Buffer.concat([
      Buffer.from(`PUT http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\n${framing}\r\n\r\n`),
      framed,
    ]),
  );
  expect((await client.response()).status).toBe(204);
  await sent;
  expect(hash(origin.requests[0]!.body)).toBe(hash(large));
});

test("a slow reader slows the origin down and loses nothing", async () => {
  const body = pattern(64 * MIB);
  await using origin = await scriptedOrigin([wholeAnswer(`Content-Length: ${body.length}`, body)]);
  await using proxy = await startProxy();
  using client = await proxy.client();
  await client.write(get(origin));
  await client.until("\r\n\r\n");
  client.pause();
  const { socket } = origin.connections[0]!;
  const leftOrigin = await settled(() => socket.bytesWritten - socket.writableLength);
  expect(leftOrigin).toBeLessThan(HELD_BYTES_MAX);
  expect(socket.writableLength).toBeGreaterThan(0);
  client.resume();
  expect(hash(await client.take(body.length))).toBe(hash(body));
});

test("an origin that reads slowly slows the application down and loses nothing", async () => {
  const body = pattern(64 * MIB);
  const goOn = signal();
  await using origin = await scriptedOrigin([
    step(async ({ peer }) => {
      peer.pause();
      await goOn.given;
      peer.resume();
      const got = hash(await peer.take(body.length));
      await peer.write(`HTTP/1.1 200 OK\r\nContent-Length: ${got.length}\r\n\r\n${got}`);
      return true;
    }, "head"),
  ]);
  await using proxy = await startProxy();
  using client = await proxy.client();
  const answered = client.response();
  await client.write(
    `PUT http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n`,
  );
  const sent = client.write(body);
  await origin.connected(1);
  const { socket } = client;
  expect(await settled(() => socket.bytesWritten - socket.writableLength)).toBeLessThan(HELD_BYTES_MAX);
  expect(socket.writableLength).toBeGreaterThan(0);
  goOn.give();
  await sent;
  expect((await answered).body.toString()).toBe(hash(body));
});

test("who takes no answers gets no further ones: a pipeline waits", async () => {
  const body = "x".repeat(MIB);
  await using origin = await scriptedOrigin([
    answer(`HTTP/1.1 200 OK\r\nContent-Length: ${MIB}\r\n\r\n${body}`),
  ]);
  await using proxy = await startProxy();
  using client = await proxy.client();
  client.pause();
  await client.write(get(origin).repeat(64));
  const served = await settled(() => origin.requests.length);
  expect(served).toBeLessThan(HELD_BYTES_MAX / MIB);
  client.resume();
  for (let call = 0; call < 64; call++) expect((await client.response()).body.length).toBe(MIB);
});
