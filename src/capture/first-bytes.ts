/**
 * What an application speaks inside a tunnel, by the first bytes that it sends. Node's `fetch` up to undici 8.6 (Node 22 and 24)
 * asks for a tunnel even for `http://` targets, so that a tunnel may hold plain requests, which the policy then governs like any
 * other; and grpc-js asks for one for plain HTTP/2. Pure.
 */
import { isMethod } from "../http1/request-head.ts";

/** `h2`: HTTP/2 with prior knowledge; `unknown`: too little has come to tell. */
export type Spoken = "http" | "h2" | "tls" | "other" | "unknown";

/** No method is longer (MKCALENDAR, UNSUBSCRIBE: 10 and 11 characters). */
const METHOD_LENGTH_MAX = 11;
/** The client's connection preface of HTTP/2 (RFC 9113 §3.4), as far as it looks like a request line. */
const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/** A TLS record that holds a handshake, and the major version of all records (RFC 8446 §5.1). */
const HANDSHAKE = 0x16;
const MAJOR_VERSION = 3;

/** Judges the bytes that have come so far. */
export function spokenBy(bytes: Buffer): Spoken {
  if (bytes[0] === HANDSHAKE && bytes.length === 1) return "unknown";
  if (bytes[0] === HANDSHAKE) return bytes[1] === MAJOR_VERSION ? "tls" : "other";
  const text = bytes.latin1Slice(0, Math.min(bytes.length, PREFACE.length));
  if (PREFACE.startsWith(text)) return text.length === PREFACE.length ? "h2" : "unknown";
  const blank = text.indexOf(" ");
  if (blank > 0) return isMethod(text.slice(0, blank)) ? "http" : "other";
  return text.length <= METHOD_LENGTH_MAX && /^[A-Z-]*$/.test(text) ? "unknown" : "other";
}

/** Whether a connection that was taken for HTTP/1.1 begins with the preface of HTTP/2, all of it. */
export function isPreface(bytes: Buffer): boolean {
  return bytes.length >= PREFACE.length && bytes.latin1Slice(0, PREFACE.length) === PREFACE;
}
