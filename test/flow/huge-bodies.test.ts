/**
 * Bodies that no memory holds, generated and hashed as they flow, through the built program in a process of its own (fault 22).
 * 256 MiB each way; with `OUTRIDER_HUGE_BODY_GIB=5` in the environment as many gibibytes, for runs that may take minutes.
 */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { type Program, startProgram } from "../kit/program.ts";
import { askOnce } from "../kit/raw-client.ts";
import { type BodySeen, MessageReader } from "../kit/reader.ts";

const MIB = 1024 * 1024;
const GIB = Number(process.env.OUTRIDER_HUGE_BODY_GIB ?? 0);
const BODY_BYTES = GIB > 0 ? GIB * 1024 * MIB : 256 * MIB;
/** A guard, never a measurement: some 10 MB/s on a machine that does something else too. */
const TEST_MS_MAX = 60_000 + BODY_BYTES / 10_000;
/** What the process may grow by while the bodies pass: what V8 lets pile up of pieces that have been passed on, and nothing of their size. */
const GROWTH_BYTES_MAX = 192 * MIB;
/** How often the process is looked at. */
const LOOK_MS = 20;

/** One period of the body; no power of two, so that a piece that is lost, doubled or moved changes the hash. */
const PIECE = Buffer.from(Array.from({ length: 262_139 }, (_, at) => (at * 31 + (at >> 8)) & 0xff));

/** The body's pieces, one after the other. */
function* pieces(): Generator<Buffer> {
  for (let left = BODY_BYTES; left > 0; left -= PIECE.length)
    yield PIECE.subarray(0, Math.min(left, PIECE.length));
}

/** What a receiver has to have seen of the body. */
const WHOLE = (() => {
  const hash = createHash("sha256");
  for (const piece of pieces()) hash.update(piece);
  return { bytes: BODY_BYTES, hash: hash.digest("hex"), trailers: "", end: "whole" } satisfies BodySeen;
})();

const LINUX = process.platform === "linux";

type Framing = "length" | "chunked";

const fieldOf = (framing: Framing): string =>
  framing === "chunked" ? "Transfer-Encoding: chunked\r\n" : `Content-Length: ${BODY_BYTES}\r\n`;

/** Writes the body no faster than it is taken, and its last piece not before `last`. */
async function writeBody(socket: Socket, framing: Framing, last: Promise<unknown>): Promise<void> {
  const chunked = framing === "chunked";
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  for (const piece of pieces()) {
    if (piece.length < PIECE.length) await last;
    if (chunked) socket.write(`${piece.length.toString(16)}\r\n`);
    const goesOn = socket.write(piece);
    if (chunked) socket.write("\r\n");
    if (!goesOn) {
      const drained = new Promise<void>((resolve) => socket.once("drain", resolve));
      await Promise.race([drained, closed]);
    }
    if (socket.destroyed) return;
  }
  if (chunked) socket.write("0\r\n\r\n");
}

interface HugeOrigin extends AsyncDisposable {
  readonly authority: string;
  /** What came of the request's body. */
  readonly took: Promise<BodySeen>;
}

/** Answers at once with the body, except to PUT, which it takes first and answers without one. */
async function hugeOrigin(framing: Framing): Promise<HugeOrigin> {
  const took = Promise.withResolvers<BodySeen>();
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, async (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    const reading = new MessageReader(socket).request();
    const { startLine } = await reading.head;
    reading.body.then(took.resolve);
    if (startLine.startsWith("PUT ")) {
      await reading.body;
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    } else {
      socket.write(`HTTP/1.1 200 OK\r\n${fieldOf(framing)}\r\n`);
      // An answer that is over before its request would end the request.
      await writeBody(socket, framing, reading.body);
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    authority: `127.0.0.1:${(server.address() as { port: number }).port}`,
    took: took.promise,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** One call to `origin`; with the body in the request unless `method` is GET. Resolves with what came of the answer's body. */
async function call(
  program: Program,
  origin: HugeOrigin,
  method: string,
  framing: Framing,
): Promise<BodySeen> {
  const socket = connect({ port: program.port, host: "127.0.0.1", noDelay: true });
  socket.on("error", () => {});
  await once(socket, "connect");
  try {
    const reading = new MessageReader(socket).response(method);
    const field = method === "GET" ? "" : fieldOf(framing);
    socket.write(`${method} http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\n${field}\r\n`);
    if (method !== "GET") await writeBody(socket, framing, Promise.resolve());
    return await reading.body;
  } finally {
    socket.destroy();
  }
}

/** Runs `act` and returns the most by which the process has grown meanwhile, in bytes. */
async function growthDuring(program: Program, act: () => Promise<void>): Promise<number> {
  const before = program.resident();
  let most = before;
  const watch = setInterval(() => {
    most = Math.max(most, program.resident());
  }, LOOK_MS);
  try {
    await act();
  } finally {
    clearInterval(watch);
  }
  return most - before;
}

describe.runIf(LINUX)("fault 22: (memory is read from /proc, which only Linux has)", () => {
  test.each<[string, string, Framing]>([
    ["GET", "a response with its length", "length"],
    ["GET", "a response in chunks", "chunked"],
    ["PUT", "a request with its length", "length"],
    ["PUT", "a request in chunks", "chunked"],
    ["POST", "both at the same time, with their length", "length"],
    ["POST", "both at the same time, in chunks", "chunked"],
  ])(
    "fault 22: %s of hundreds of megabytes or more: %s arrives to the byte, at constant memory",
    async (method, _, framing) => {
      await using origin = await hugeOrigin(framing);
      await using program = await startProgram();
      await askOnce(program.port, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
      const growth = await growthDuring(program, async () => {
        const answer = await call(program, origin, method, framing);
        expect(answer).toEqual(method === "PUT" ? { ...WHOLE, bytes: 0, hash: EMPTY_HASH } : WHOLE);
        if (method !== "GET") expect(await origin.took).toEqual(WHOLE);
      });
      expect(growth).toBeLessThan(GROWTH_BYTES_MAX);
    },
    TEST_MS_MAX,
  );
});

const EMPTY_HASH = createHash("sha256").digest("hex");
