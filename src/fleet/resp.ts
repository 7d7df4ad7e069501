/**
 * RESP2, which Redis and Valkey speak: a command out, replies in (redis.io, "Redis serialization protocol specification"). Pure; knows
 * no sockets.
 */

/** What a command comes to. An error of the server is a value here: it answers one command, not the connection. */
export type Reply = string | number | null | StoreRefusal | readonly Reply[];

/** The server's word that it will not do a command. */
export class StoreRefusal extends Error {}

/** The bytes are no RESP2: nothing that follows can be understood either. */
export class RespError extends Error {}

/** Bytes of a reply that is not complete yet. Overflow: an error; the store holds nothing as long as that. */
export const REPLY_BYTES_MAX = 1_048_576;

/** Arrays in arrays. */
const DEPTH_MAX = 4;

/** A command as the server reads it: an array of bulk strings. */
export function commandBytes(parts: readonly (string | number)[]): string {
  let text = `*${parts.length}\r\n`;
  for (const part of parts) {
    const value = String(part);
    text += `$${Buffer.byteLength(value)}\r\n${value}\r\n`;
  }
  return text;
}

/** Cuts replies out of a stream of bytes. */
export class ReplyReader {
  #rest: Buffer = Buffer.alloc(0);

  /**
   * Takes what has come and returns the replies that are complete by now.
   * @throws RespError
   */
  read(chunk: Buffer): Reply[] {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const replies: Reply[] = [];
    const cursor = { bytes, at: 0 };
    let done = 0;
    for (let reply = parse(cursor, 0); reply !== undefined; reply = parse(cursor, 0)) {
      replies.push(reply);
      done = cursor.at;
    }
    this.#rest = bytes.subarray(done);
    if (this.#rest.length > REPLY_BYTES_MAX) throw new RespError(`a reply is over ${REPLY_BYTES_MAX} bytes`);
    return replies;
  }
}

interface Cursor {
  readonly bytes: Buffer;
  at: number;
}

/** The reply at the cursor, which is behind it then; `undefined` when it is not complete. */
function parse(cursor: Cursor, depth: number): Reply | undefined {
  const end = cursor.bytes.indexOf("\r\n", cursor.at);
  if (end < 0) return undefined;
  const kind = cursor.bytes[cursor.at];
  const line = cursor.bytes.toString("utf8", cursor.at + 1, end);
  cursor.at = end + 2;
  switch (kind) {
    case 0x2b: // +
      return line;
    case 0x2d: // -
      return new StoreRefusal(line);
    case 0x3a: // :
      return integer(line);
    case 0x24: // $
      return bulk(cursor, integer(line));
    case 0x2a: // *
      return array(cursor, integer(line), depth + 1);
    default:
      throw new RespError("a reply begins with none of + - : $ *");
  }
}

function integer(line: string): number {
  if (!/^-?[0-9]{1,15}$/.test(line)) throw new RespError("a number is none");
  return Number(line);
}

function bulk(cursor: Cursor, length: number): string | null | undefined {
  if (length === -1) return null;
  if (length < 0 || length > REPLY_BYTES_MAX) throw new RespError(`a string has ${length} bytes`);
  const end = cursor.at + length;
  if (cursor.bytes.length < end + 2) return undefined;
  const text = cursor.bytes.toString("utf8", cursor.at, end);
  cursor.at = end + 2;
  return text;
}

function array(cursor: Cursor, length: number, depth: number): Reply[] | null | undefined {
  if (length === -1) return null;
  if (length < 0 || length > REPLY_BYTES_MAX || depth > DEPTH_MAX)
    throw new RespError("an array is too large");
  const items: Reply[] = [];
  for (let i = 0; i < length; i++) {
    const item = parse(cursor, depth);
    if (item === undefined) return undefined;
    items.push(item);
  }
  return items;
}
