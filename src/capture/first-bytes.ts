/**
 * What an application speaks inside a tunnel, by the first bytes that it sends. Node's `fetch` up to undici 8.6 (Node 22 and 24)
 * asks for a tunnel even for `http://` targets, so that a tunnel may hold plain requests, which the policy then governs like any
 * other. Pure.
 */
import { isMethod } from "../http1/request-head.ts";

/** `unknown`: too little has come to tell. */
export type Spoken = "http" | "other" | "unknown";

/** No method is longer (MKCALENDAR, UNSUBSCRIBE: 10 and 11 characters). */
const METHOD_LENGTH_MAX = 11;

/** Judges the bytes that have come so far. Anything but a known method and a blank is `other`: TLS begins with 0x16. */
export function spokenBy(bytes: Buffer): Spoken {
  const text = bytes.latin1Slice(0, Math.min(bytes.length, METHOD_LENGTH_MAX + 1));
  const blank = text.indexOf(" ");
  if (blank > 0) return isMethod(text.slice(0, blank)) ? "http" : "other";
  return text.length <= METHOD_LENGTH_MAX && /^[A-Z-]*$/.test(text) ? "unknown" : "other";
}
