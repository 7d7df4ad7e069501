/**
 * Reads a request's body without ever holding more than its limit.
 *
 * Owns the limit, the drain beyond it and the difference between a body that ended and one that was cut.
 */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";

/** How a body ended. `sizeBytes` counts what was seen, or what Content-Length promised when reading stopped early. */
export type BodyRead =
  | { readonly kind: "complete"; readonly body: Buffer; readonly trailers: NodeJS.Dict<string> }
  | { readonly kind: "too-large"; readonly sizeBytes: number }
  | { readonly kind: "truncated" };

/** Bytes read and thrown away beyond a limit, so that an honest client gets its answer; then reading stops for good. */
const DRAIN_BYTES_MAX = 64 * 1024 * 1024;

const reading = new WeakSet<Socket>();

/** Whether a body is being read from `socket` right now. */
export function isReadingBody(socket: Socket): boolean {
  return reading.has(socket);
}

/** Reads the whole body of `request`, keeping at most `limitBytes`. Never rejects. */
export function readBody(request: IncomingMessage, limitBytes: number): Promise<BodyRead> {
  const { promise, resolve } = Promise.withResolvers<BodyRead>();
  const { socket } = request;
  let chunks: Buffer[] = [];
  let sizeBytes = 0;
  const finish = (read: BodyRead) => {
    reading.delete(socket);
    resolve(read);
  };
  reading.add(socket);
  request.on("data", (chunk: Buffer) => {
    sizeBytes += chunk.length;
    if (sizeBytes <= limitBytes) chunks.push(chunk);
    else chunks = [];
    if (sizeBytes > limitBytes + DRAIN_BYTES_MAX) {
      request.pause();
      finish({
        kind: "too-large",
        sizeBytes: Math.max(sizeBytes, Number(request.headers["content-length"] ?? 0)),
      });
    }
  });
  request.on("end", () => {
    if (sizeBytes > limitBytes) finish({ kind: "too-large", sizeBytes });
    else finish({ kind: "complete", body: Buffer.concat(chunks), trailers: request.trailers });
  });
  request.on("error", () => finish({ kind: "truncated" }));
  request.on("close", () => finish({ kind: "truncated" }));
  return promise;
}
