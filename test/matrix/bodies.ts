/** The bodies of the matrix, framed for the wire: whole, or as much as is sent before somebody leaves. */
import { createHash } from "node:crypto";

const BYTES_MAX = 1024 * 1024;
/** Periods without a power of two, so that a piece that is lost, doubled or moved changes the hash; another for each direction. */
const pattern = (period: number): Buffer =>
  Buffer.alloc(
    BYTES_MAX,
    Buffer.from(Array.from({ length: period }, (_, at) => (at * 31 + (at >> 8)) & 0xff)),
  );
const PAYLOADS = { request: pattern(65_521), response: pattern(32_749) } as const;
/** Less than one read brings, and no divisor of a size. */
const CHUNK_BYTES = 10_007;

/** Whose body. */
export type Direction = keyof typeof PAYLOADS;

/** The body of `size` bytes that goes in `direction`. */
export const payload = (direction: Direction, size: number): Buffer => PAYLOADS[direction].subarray(0, size);

/** SHA-256 of the first `size` bytes of `direction`'s body, hexadecimal. */
export const hashOf = (direction: Direction, size: number): string =>
  createHash("sha256").update(payload(direction, size)).digest("hex");

/** `size` bytes as their framing has them on the wire; with `part`, only the first half, and no end. */
export function framed(direction: Direction, framing: string, size: number, part: boolean): Buffer {
  if (framing === "none") return Buffer.alloc(0);
  const bytes = payload(direction, part ? size >> 1 : size);
  if (framing !== "chunked") return bytes;
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    const chunk = bytes.subarray(at, at + CHUNK_BYTES);
    pieces.push(Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from("\r\n"));
  }
  if (!part) pieces.push(Buffer.from("0\r\n\r\n"));
  return Buffer.concat(pieces);
}

/** The field that states `framing`, with its line's end; "" where the framing has none. */
export function framingField(framing: string, size: number): string {
  if (framing === "length") return `Content-Length: ${size}\r\n`;
  return framing === "chunked" ? "Transfer-Encoding: chunked\r\n" : "";
}
