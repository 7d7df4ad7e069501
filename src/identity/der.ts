/**
 * Writes ASN.1 values in DER (ITU-T X.690 §8, §10): the few types that X.509 (RFC 5280) and PKCS#12 (RFC 7292) need.
 *
 * Owns tags, lengths and primitive contents. What a certificate consists of is in `certificate.ts`; nothing here reads DER. Values are
 * kept in parts and joined once, by `bytesOf`: a trust store nests some 150 certificates nine deep.
 */

/** An encoded value: its parts, in order, and their bytes in all. */
export interface Der {
  readonly parts: readonly Uint8Array[];
  readonly length: number;
}

/** Universal tags (X.680 §8.6), `0x20` set where the content is made of other values. */
const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** The first year that UTCTime cannot express (RFC 5280 §4.1.2.5). */
const GENERALIZED_FROM_YEAR = 2050;

/** A value as the bytes that are sent, signed or stored. */
export function bytesOf({ parts, length }: Der): Buffer {
  return Buffer.concat(parts, length);
}

/** Bytes that are DER already. */
export function encoded(bytes: Uint8Array): Der {
  return { parts: [bytes], length: bytes.length };
}

/** Tag, length in its shortest form (X.690 §10.1), content. */
function value(tag: number, length: number, content: readonly Uint8Array[]): Der {
  // Up to 127 the length itself; beyond, the number of the octets that hold it, and those.
  const octets: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) octets.unshift(rest % 256);
  const head = Buffer.from(length < 0x80 ? [tag, length] : [tag, 0x80 | octets.length, ...octets]);
  return { parts: [head, ...content], length: head.length + length };
}

const primitive = (tag: number, content: Uint8Array): Der => value(tag, content.length, [content]);

function constructed(tag: number, members: readonly Der[]): Der {
  const length = members.reduce((sum, member) => sum + member.length, 0);
  return value(
    tag,
    length,
    members.flatMap(({ parts }) => parts),
  );
}

/** SEQUENCE. */
export function sequence(...members: readonly Der[]): Der {
  return constructed(TAG.sequence, members);
}

/** SET, in DER's order: by the members' bytes (X.690 §11.6). */
export function set(...members: readonly Der[]): Der {
  return constructed(TAG.set, members.map(bytesOf).sort(Buffer.compare).map(encoded));
}

/** BOOLEAN. DER leaves out a member that has its default value; that is for the caller to do. */
export function boolean(truth: boolean): Der {
  return primitive(TAG.boolean, Buffer.from([truth ? 0xff : 0]));
}

/** INTEGER of 0 to 127. */
export function smallInteger(number: number): Der {
  if (!Number.isInteger(number) || number < 0 || number > 0x7f)
    throw new RangeError(`${number} is no small integer: 0 to 127`);
  return primitive(TAG.integer, Buffer.from([number]));
}

/** INTEGER whose magnitude is `bytes`, big endian: never negative, in its shortest form. */
export function positiveInteger(bytes: Uint8Array): Der {
  const first = bytes.findIndex((byte) => byte !== 0);
  if (first === -1) return smallInteger(0);
  const magnitude = bytes.subarray(first);
  // A leading bit of 1 would mean a negative number.
  return primitive(TAG.integer, magnitude[0]! < 0x80 ? magnitude : Buffer.from([0, ...magnitude]));
}

/** OBJECT IDENTIFIER from its dotted form, for instance `2.5.29.17`. */
export function oid(dotted: string): Der {
  const [first, second, ...rest] = dotted.split(".").map(Number);
  return primitive(TAG.oid, Buffer.from([first! * 40 + second!, ...rest].flatMap(base128)));
}

/** Big endian, 7 bits a byte, the top bit set on all but the last. */
function base128(number: number): number[] {
  const bytes = [number % 128];
  for (let rest = Math.floor(number / 128); rest > 0; rest = Math.floor(rest / 128))
    bytes.unshift(0x80 | (rest % 128));
  return bytes;
}

/** NULL. */
export function nothing(): Der {
  return primitive(TAG.null, Buffer.alloc(0));
}

/** OCTET STRING of bytes. */
export function octetString(bytes: Uint8Array): Der {
  return primitive(TAG.octetString, bytes);
}

/** OCTET STRING that holds a value. */
export function octetStringOf({ parts, length }: Der): Der {
  return value(TAG.octetString, length, parts);
}

/** BIT STRING of whole bytes. */
export function bitString(bytes: Uint8Array): Der {
  return value(TAG.bitString, 1 + bytes.length, [Buffer.from([0]), bytes]);
}

/**
 * BIT STRING of named bits (X.690 §11.2.2: no trailing zeros). Bit 0 is the first.
 * @param bits at least one, each 0 to 7
 */
export function namedBits(...bits: readonly number[]): Der {
  const unused = 7 - Math.max(...bits);
  return primitive(TAG.bitString, Buffer.from([unused, bits.reduce((byte, bit) => byte | (0x80 >> bit), 0)]));
}

/** UTF8String. */
export function utf8String(text: string): Der {
  return primitive(TAG.utf8String, Buffer.from(text, "utf8"));
}

/** UTCTime, or GeneralizedTime from 2050 on, to the second (RFC 5280 §4.1.2.5). */
export function time(epochMs: number): Der {
  const at = new Date(epochMs);
  const digits = `${at
    .toISOString()
    .slice(0, 19)
    .replace(/[^0-9]/g, "")}Z`;
  return at.getUTCFullYear() < GENERALIZED_FROM_YEAR
    ? primitive(TAG.utcTime, Buffer.from(digits.slice(2), "latin1"))
    : primitive(TAG.generalizedTime, Buffer.from(digits, "latin1"));
}

/** `[number] EXPLICIT`: wraps a value. */
export function explicit(number: number, member: Der): Der {
  return constructed(0xa0 | number, [member]);
}

/** `[number] IMPLICIT` of a primitive type: its content under another tag. */
export function implicit(number: number, content: Uint8Array): Der {
  return primitive(0x80 | number, content);
}
