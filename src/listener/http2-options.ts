/** The bounds of an application's HTTP/2 connection, as `node:http2` takes them. Each is spelt out: Node's defaults have changed before. Pure. */
import type { ServerSessionOptions } from "node:http2";
import type { Limits } from "../config/types.ts";

/** Bytes of request body that one stream may send ahead of the upstream (SETTINGS_INITIAL_WINDOW_SIZE). */
const STREAM_WINDOW_BYTES = 256 * 1024;
/** Bytes that a connection may send before they are read off it; what is read waits in its stream's window. */
export const CONNECTION_WINDOW_BYTES = 1024 * 1024;
/** RFC 9113 §6.5.2: each field counts so much besides its name and value. */
const FIELD_OVERHEAD_BYTES = 32;
/** `:method`, `:scheme`, `:authority`, `:path`; what else comes as a pseudo-header is malformed anyway. */
const PSEUDO_COUNT = 4;
/**
 * How far a header list may go over the limits and still be read, so that it can be answered with 431. Overflow: the stream is
 * reset with ENHANCE_YOUR_CALM, unread.
 */
const READABLE_FACTOR = 2;

/** Node reads `maxOutstandingSettings` as well (`lib/internal/http2/util.js`); its types leave it out. */
interface SessionBounds extends ServerSessionOptions {
  readonly maxOutstandingSettings: number;
}

/** Options of a session under `limits`. */
export function sessionOptions(limits: Limits): SessionBounds {
  const pairsMax = limits.headerCountMax + PSEUDO_COUNT;
  return {
    settings: {
      // A request above is refused with REFUSED_STREAM.
      maxConcurrentStreams: limits.streamsMax,
      initialWindowSize: STREAM_WINDOW_BYTES,
      maxHeaderListSize: READABLE_FACTOR * (limits.headBytesMax + pairsMax * FIELD_OVERHEAD_BYTES),
      enablePush: false,
      enableConnectProtocol: false,
    },
    maxHeaderListPairs: READABLE_FACTOR * pairsMax,
    // Megabytes of heads, frames and answers that a session may hold. Overflow: new streams are refused.
    maxSessionMemory: 10,
    // Frames that are malformed, empty DATA among them. Overflow of this and of all that follow: GOAWAY, and the connection closes.
    maxSessionInvalidFrames: 100,
    // Streams refused for being too many, or too large.
    maxSessionRejectedStreams: 100,
    maxOutstandingPings: 10,
    maxOutstandingSettings: 10,
    // Entries in one SETTINGS frame.
    maxSettings: 32,
    // Streams that the application resets: a burst, then so many a second (CVE-2023-44487, "rapid reset").
    streamResetBurst: 1000,
    streamResetRate: 33,
    strictFieldWhitespaceValidation: true,
    // What an upstream says twice is said twice, as over HTTP/1.1.
    strictSingleValueFields: false,
  };
}
