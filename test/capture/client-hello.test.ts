/** The first message of TLS: what real clients send, what is cut, and what two readers could read in two ways. */
import { once } from "node:events";
import { createServer } from "node:net";
import { connect } from "node:tls";
import { describe, expect, test } from "vitest";
import { CLIENT_HELLO_BYTES_MAX, readClientHello } from "../../src/capture/client-hello.ts";
import { CURL, CURL_ADDRESS, OPENSSL, OPENSSL_NAMELESS } from "./hellos.ts";

const u8 = (value: number): Buffer => Buffer.from([value]);
const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff]);
const u24 = (value: number): Buffer => Buffer.concat([u8(value >> 16), u16(value & 0xffff)]);
const vector8 = (...parts: Buffer[]): Buffer => {
  const body = Buffer.concat(parts);
  return Buffer.concat([u8(body.length), body]);
};
const vector16 = (...parts: Buffer[]): Buffer => {
  const body = Buffer.concat(parts);
  return Buffer.concat([u16(body.length), body]);
};

const extension = (type: number, ...content: Buffer[]): Buffer =>
  Buffer.concat([u16(type), vector16(...content)]);
const hostName = (name: string): Buffer => Buffer.concat([u8(0), vector16(Buffer.from(name, "latin1"))]);
const serverName = (...names: string[]): Buffer => extension(0, vector16(...names.map(hostName)));
const alpn = (...protocols: string[]): Buffer =>
  extension(16, vector16(...protocols.map((protocol) => vector8(Buffer.from(protocol, "latin1")))));

/** What may be put in place of a well-formed part. */
interface Parts {
  readonly type?: number;
  readonly version?: number;
  readonly sessionId?: Buffer;
  readonly suites?: Buffer;
  readonly compression?: Buffer;
  readonly extensions?: readonly Buffer[] | null;
  readonly behind?: Buffer;
}

/** A handshake message; without its parts the smallest hello that names nobody. */
function message({
  type = 1,
  version = 0x0303,
  sessionId = Buffer.alloc(0),
  suites = u16(0x1301),
  compression = u8(0),
  extensions = [],
  behind = Buffer.alloc(0),
}: Parts = {}): Buffer {
  const body = Buffer.concat([
    u16(version),
    Buffer.alloc(32, 7),
    vector8(sessionId),
    vector16(suites),
    vector8(compression),
    ...(extensions === null ? [] : [vector16(...extensions)]),
    behind,
  ]);
  return Buffer.concat([u8(type), u24(body.length), body]);
}

const record = (payload: Buffer): Buffer =>
  Buffer.concat([u8(0x16), u16(0x0301), u16(payload.length), payload]);
const hello = (...extensions: Buffer[]): Buffer => record(message({ extensions }));

/** `payload` in records of at most `bytes`. */
function records(payload: Buffer, bytes: number): Buffer {
  const cut: Buffer[] = [];
  for (let at = 0; at < payload.length; at += bytes) cut.push(record(payload.subarray(at, at + bytes)));
  return Buffer.concat(cut);
}

/** What `node:tls` sends first. */
async function nodeHello(options: { servername: string; ALPNProtocols: string[] }): Promise<Buffer> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = connect({
    port: (server.address() as { port: number }).port,
    host: "127.0.0.1",
    ...options,
  });
  client.on("error", () => {});
  const [socket] = await once(server, "connection");
  const [bytes] = await once(socket, "data");
  socket.destroy();
  client.destroy();
  server.close();
  return bytes;
}

describe("the hello of", () => {
  test.each([
    ["OpenSSL", OPENSSL, "api.example.test", ["h2", "http/1.1"]],
    ["OpenSSL without a name", OPENSSL_NAMELESS, "", []],
    ["curl", CURL, "shop.example.test", ["h2", "http/1.1"]],
    ["curl to an address", CURL_ADDRESS, "", ["http/1.1"]],
    ["the least client", record(message({ extensions: null })), "", []],
  ])("%s is read", (_client, bytes, name, protocols) => {
    expect(readClientHello(bytes)).toEqual({ kind: "hello", serverName: name, alpn: protocols });
  });

  test("Node is read", async () => {
    const bytes = await nodeHello({ servername: "Node.Example.test", ALPNProtocols: ["http/1.1"] });
    expect(readClientHello(bytes)).toEqual({
      kind: "hello",
      serverName: "node.example.test",
      alpn: ["http/1.1"],
    });
  });
});

describe("a hello that is cut", () => {
  const LARGEST = message({ extensions: [serverName("a.test"), extension(21, Buffer.alloc(16_322))] });

  test.each([
    ["OpenSSL's", OPENSSL],
    ["curl's", CURL],
    ["one in many records", records(message({ extensions: [serverName("a.test")] }), 4)],
    ["the longest", records(LARGEST, 1000)],
  ])("anywhere is waited for: %s", (_whose, bytes) => {
    const step = bytes.length > 4000 ? 97 : 1;
    for (let cut = 0; cut < bytes.length; cut += step) {
      expect([cut, readClientHello(bytes.subarray(0, cut))]).toEqual([cut, { kind: "partial" }]);
    }
    expect(readClientHello(bytes).kind).toBe("hello");
  });

  test("is never waited for beyond the bound", () => {
    expect(LARGEST.length).toBe(4 + 16 * 1024);
    expect(records(LARGEST, 1000).length).toBeLessThanOrEqual(CLIENT_HELLO_BYTES_MAX);
    const endless = records(Buffer.concat([u8(1), u24(16 * 1024), Buffer.alloc(17_000)]), 513);
    for (const bytes of [endless, Buffer.alloc(CLIENT_HELLO_BYTES_MAX + 1, record(u8(1)))]) {
      expect(readClientHello(bytes.subarray(0, CLIENT_HELLO_BYTES_MAX + 1)).kind).toBe("not_tls");
    }
  });
});

describe("is no TLS:", () => {
  const twice = hostName("b.test");
  test.each<[string, Buffer, string]>([
    ["a request", Buffer.from("GET / HTTP/1.1\r\n"), "no handshake record"],
    ["one wrong byte", u8(0x15), "no handshake record"],
    ["SSL 2", Buffer.from([0x80, 0x2e, 1, 3, 1]), "no handshake record"],
    ["another version of the record", Buffer.from([0x16, 2]), "no record version of TLS"],
    ["an empty record", Buffer.from([0x16, 3, 1, 0, 0]), "record length out of range"],
    ["a record too long", Buffer.from([0x16, 3, 1, 0x40, 1]), "record length out of range"],
    ["another message", record(message({ type: 2 })), "the first message is no ClientHello"],
    ["a message too long", record(Buffer.from([1, 0, 0x40, 1])), "a hello of more than 16384 bytes"],
    ["too many records", records(message(), 1), "a hello in more than 32 records"],
    [
      "a record of another kind in between",
      Buffer.concat([record(message().subarray(0, 9)), Buffer.from([0x17])]),
      "no handshake record",
    ],
    [
      "something behind it in its record",
      record(Buffer.concat([message(), u8(1)])),
      "bytes behind the hello",
    ],
    ["another version", record(message({ version: 0x0200 })), "no version of TLS"],
    ["a long session id", record(message({ sessionId: Buffer.alloc(33) })), "session id too long"],
    ["no cipher suite", record(message({ suites: Buffer.alloc(0) })), "malformed list of cipher suites"],
    ["half a cipher suite", record(message({ suites: Buffer.alloc(3) })), "malformed list of cipher suites"],
    ["no compression", record(message({ compression: Buffer.alloc(0) })), "no compression method"],
    ["bytes behind the extensions", record(message({ behind: u8(0) })), "bytes behind the last element"],
    ["a name in two extensions", hello(serverName("a.test"), serverName("a.test")), "extension 0 twice"],
    ["any extension twice", hello(extension(99), extension(99)), "extension 99 twice"],
    ["two names", hello(extension(0, vector16(hostName("a.test"), twice))), "more than one server name"],
    ["a name of another kind", hello(extension(0, vector16(u8(1), vector16(u8(65))))), "unknown kind"],
    ["no name in the extension for it", hello(extension(0)), "a length goes past the end"],
    ["an empty list of names", hello(extension(0, u16(0))), "a length goes past the end"],
    ["bytes behind the list of names", hello(extension(0, vector16(hostName("a")), u8(0))), "bytes behind"],
    ["an extension past the end", hello(Buffer.from([0, 0, 0, 9, 0])), "a length goes past the end"],
    ["an empty list of protocols", hello(extension(16, u16(0))), "empty ALPN"],
    ["an empty protocol", hello(alpn("")), "empty protocol in ALPN"],
  ])("%s", (_what, bytes, why) => {
    const read = readClientHello(bytes);
    expect(read).toMatchObject({ kind: "not_tls", why: expect.stringContaining(why) });
  });

  test.each([
    ["empty", ""],
    ["with a NUL that hides its end", "good.test\0.evil.test"],
    ["with a trailing dot", "a.test."],
    ["with an empty label", "a..test"],
    ["with a port", "a.test:443"],
    ["with a blank", "a b.test"],
    ["in other letters", "ä.test"],
    ["with a long label", `${"a".repeat(64)}.test`],
    ["that is too long", `${"a.".repeat(127)}aa`],
    ["with a wildcard", "*.test"],
  ])("a name %s", (_what, name) => {
    expect(readClientHello(hello(serverName(name)))).toEqual({
      kind: "not_tls",
      why: "server name is no host name",
    });
  });

  test.each(["127.0.0.1", "127.1", "2130706433", "0x7f000001", "a.0x7f"])(
    "the address %s as a name",
    (name) => {
      expect(readClientHello(hello(serverName(name)))).toEqual({
        kind: "not_tls",
        why: "server name is an address",
      });
    },
  );
});

test("names are compared in lower case, protocols as they are", () => {
  expect(readClientHello(hello(serverName("A_b-C.TEST"), alpn("H2", "x")))).toEqual({
    kind: "hello",
    serverName: "a_b-c.test",
    alpn: ["H2", "x"],
  });
});

describe("hellos that were changed at random", () => {
  /** mulberry32: the same bytes on every machine. */
  function random(seed: number): () => number {
    let state = seed;
    return () => {
      state = (state + 0x6d2b79f5) | 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
  }

  test("are read or refused, never thrown at, and always in the same way", () => {
    const next = random(20_261_125);
    const kinds = { partial: 0, hello: 0, not_tls: 0 };
    for (let round = 0; round < 20_000; round++) {
      const bytes = Buffer.from([OPENSSL, CURL, OPENSSL_NAMELESS, CURL_ADDRESS][round % 4]!);
      for (let change = 0; change <= next() * 4; change++)
        bytes[Math.floor(next() * bytes.length)] = next() * 256;
      const cut = bytes.subarray(0, next() < 0.2 ? next() * bytes.length : bytes.length);
      const read = readClientHello(cut);
      kinds[read.kind] += 1;
      if (read.kind === "hello") expect(read.serverName).toMatch(/^[a-z0-9._-]*$/);
      // More bytes never change what was certain.
      if (read.kind !== "partial") expect(readClientHello(Buffer.concat([cut, u8(0)]))).toEqual(read);
    }
    for (const count of Object.values(kinds)) expect(count).toBeGreaterThan(1000);
  });
});
