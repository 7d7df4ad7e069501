/**
 * Keeps the native half of an HTTP/2 session alive until its streams are gone. Node 24 counts a half-received header block as memory of
 * the session although the stream holds it, and asserts that nothing is left when the session is collected: a peer that begins a
 * head, breaks it off and leaves ends the process whenever the garbage collector takes the session before the stream
 * (`Http2Session::~Http2Session` in src/node_http2.cc). Does not import `node:http2`.
 */
import { executionAsyncResource } from "node:async_hooks";

/** Holds each native session strongly until the witness registered with it has been collected. Nothing is to be done then. */
const witnesses = new FinalizationRegistry<object>(() => {});

/**
 * The native half of the session whose event is being handled; it has no other way out of Node. Only inside a listener of
 * `remoteSettings`, which comes before any header block can. `null` when Node no longer tells.
 */
export function nativeSession(): object | null {
  const resource = executionAsyncResource();
  return resource.constructor?.name === "Http2Session" ? resource : null;
}

/**
 * Lets `session` live until `witness` has been collected: a stream that may hold a part of a header block, or, for streams that Node
 * never showed, any object that is garbage at once, which is collected together with them.
 */
export function outlive(session: object | null, witness: object): void {
  if (session !== null) witnesses.register(witness, session);
}
