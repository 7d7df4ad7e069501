/**
 * As much of HTTP/2's wire format as the load generator needs: frames (RFC 9113 section 4.1) and header blocks without
 * compression (RFC 7541). Pure. Written by hand so that the generator costs a few µs for each request: `node:http2` as
 * a client costs as much as the subject that is measured.
 */

/** What a client sends first (RFC 9113 section 3.4). */
export const clientPreface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

/** Types of frames (RFC 9113 section 6). */
export const frameType = {
  data: 0,
  headers: 1,
  resetStream: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
} as const;

/** Flags of frames; 0x1 means ACK on SETTINGS and PING. */
export const frameFlag = { endStream: 0x1, ack: 0x1, endHeaders: 0x4, padded: 0x8 } as const;

/** Settings (RFC 9113 section 6.5.2). */
export const setting = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
} as const;

/** Bytes of a frame's own head. */
export const frameHeadBytes = 9;

/** A longer payload than a peer may send unasked (SETTINGS_MAX_FRAME_SIZE's initial value). */
const payloadBytesMax = 16_384;

/** One frame. */
export function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.alloc(frameHeadBytes + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(stream, 5);
  bytes.set(payload, frameHeadBytes);
  return bytes;
}

/** A SETTINGS frame of pairs of identifier and value. */
export function settingsFrame(pairs: readonly (readonly [number, number])[]): Buffer {
  const payload = Buffer.alloc(pairs.length * 6);
  pairs.forEach(([identifier, value], at) => {
    payload.writeUInt16BE(identifier, at * 6);
    payload.writeUInt32BE(value, at * 6 + 2);
  });
  return frame(frameType.settings, 0, 0, payload);
}

/** The value of a setting in a SETTINGS payload; undefined when it is not named. */
export function settingIn(payload: Buffer, identifier: number): number | undefined {
  for (let at = 0; at + 6 <= payload.length; at += 6) {
    if (payload.readUInt16BE(at) === identifier) return payload.readUInt32BE(at + 2);
  }
  return undefined;
}

/** A WINDOW_UPDATE frame. */
export function windowUpdate(stream: number, bytes: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(bytes);
  return frame(frameType.windowUpdate, 0, stream, payload);
}

/**
 * A header block of literal fields without indexing and without Huffman coding (RFC 7541 section 6.2.2), so that the same
 * bytes serve every request. Names must be in lower case; a name or value has 65 000 bytes at most, else a RangeError is thrown.
 */
export function headerBlock(fields: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), literal(name), literal(value)]));
}

/** A string literal: its length as an integer with a prefix of 7 bits (RFC 7541 sections 5.1 and 5.2). */
function literal(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  if (bytes.length > 65_000) throw new RangeError(`headerBlock: ${bytes.length} bytes in one literal`);
  const length: number[] = [];
  let rest = bytes.length;
  if (rest < 127) length.push(rest);
  else {
    length.push(127);
    for (rest -= 127; rest >= 128; rest >>= 7) length.push((rest & 127) | 128);
    length.push(rest);
  }
  return Buffer.concat([Buffer.from(length), bytes]);
}

/**
 * Whether a header block begins with `:status: 200`: the indexed field 8 of the static table, behind an update of the
 * dynamic table's size if there is one (RFC 7541 sections 6.1, 6.3 and appendix A). Pseudo-fields come first by RFC 9113.
 */
export function beginsWithStatus200(block: Buffer): boolean {
  let at = 0;
  while (at < block.length && (block[at]! & 0xe0) === 0x20) {
    if ((block[at++]! & 0x1f) === 0x1f) while (block[at++]! & 0x80);
  }
  return block[at] === 0x88;
}

/** The fields of an HTTP/1.1 request as those of an HTTP/2 request: the pseudo-fields first, no field of the connection. */
export function fieldsOfRequest(text: string, scheme: "http" | "https"): [string, string][] {
  const [requestLine, ...lines] = text.slice(0, text.indexOf("\r\n\r\n")).split("\r\n");
  const [method, path] = requestLine!.split(" ");
  const fields = lines.map((line): [string, string] => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  });
  const authority = fields.find(([name]) => name === "host")?.[1] ?? "";
  return [
    [":method", method!],
    [":scheme", scheme],
    [":authority", authority],
    [":path", path!],
    ...fields.filter(([name]) => name !== "host"),
  ];
}

/** Takes one frame. `payload` is valid during the call only. */
export type FrameTaker = (type: number, flags: number, stream: number, payload: Buffer) => void;

/** Cuts a stream of bytes into frames. */
export class FrameReader {
  #pending: Buffer = Buffer.alloc(0);

  /** Hands over each frame that is complete, and keeps a copy of the rest. Throws an Error at a frame that is too long. */
  read(bytes: Buffer, take: FrameTaker): void {
    const all = this.#pending.length === 0 ? bytes : Buffer.concat([this.#pending, bytes]);
    let at = 0;
    while (all.length - at >= frameHeadBytes) {
      const length = all.readUIntBE(at, 3);
      if (all.latin1Slice(at, at + 5) === "HTTP/")
        throw new Error("expected HTTP/2, got an answer in HTTP/1");
      if (length > payloadBytesMax) throw new Error(`a frame of ${length} bytes, more than was agreed`);
      const end = at + frameHeadBytes + length;
      if (end > all.length) break;
      const stream = all.readUInt32BE(at + 5) & 0x7fffffff;
      take(all[at + 3]!, all[at + 4]!, stream, all.subarray(at + frameHeadBytes, end));
      at = end;
    }
    this.#pending = at === all.length ? Buffer.alloc(0) : Buffer.from(all.subarray(at));
  }
}
