/**
 * Protocol Buffers' wire format, as much of it as two messages need (protobuf.dev, "Encoding"): varints and length-delimited fields are
 * written and read, everything else is stepped over. Pure.
 */

const VARINT = 0;
const FIXED64 = 1;
const DELIMITED = 2;
const FIXED32 = 5;

/** Bytes of a varint at most (the same document). */
const VARINT_BYTES_MAX = 10;

/** The bytes are no message. */
export class ProtobufError extends Error {}

/** A length-delimited field: a string, bytes, or a message. */
export function delimited(field: number, content: string | Uint8Array): Uint8Array {
  const bytes = typeof content === "string" ? Buffer.from(content, "utf8") : content;
  return Buffer.concat([varint(field * 8 + DELIMITED), varint(bytes.length), bytes]);
}

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  bytes.push(rest);
  return Uint8Array.from(bytes);
}

/** One field of a message: a number for a varint, bytes for what is delimited. */
export interface ProtobufField {
  readonly number: number;
  readonly value: number | Uint8Array;
}

/**
 * The fields of a message that are varints or delimited, in order.
 * @throws ProtobufError
 */
export function fieldsIn(message: Uint8Array): ProtobufField[] {
  const fields: ProtobufField[] = [];
  let at = 0;

  /** Exact up to 2^53, which no number that is read here comes near; larger ones are only stepped over. */
  const readVarint = (): number => {
    let value = 0;
    for (let i = 0; i < VARINT_BYTES_MAX; i++) {
      const byte = message[at++];
      if (byte === undefined) throw new ProtobufError("it ends in the middle of a number");
      value += (byte & 0x7f) * 2 ** (7 * i);
      if (byte < 0x80) return value;
    }
    throw new ProtobufError("a number is longer than 10 bytes");
  };
  const take = (length: number): Uint8Array => {
    if (length > message.length - at) throw new ProtobufError("a field is longer than its message");
    at += length;
    return message.subarray(at - length, at);
  };

  while (at < message.length) {
    const tag = readVarint();
    const number = Math.floor(tag / 8);
    switch (tag % 8) {
      case VARINT:
        fields.push({ number, value: readVarint() });
        break;
      case DELIMITED:
        fields.push({ number, value: take(readVarint()) });
        break;
      case FIXED64:
        take(8);
        break;
      case FIXED32:
        take(4);
        break;
      default:
        throw new ProtobufError(`a field has the wire type ${tag % 8}`);
    }
  }
  return fields;
}
