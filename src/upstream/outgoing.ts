/** How a call is written to an upstream: its head and its framing, from what was understood of the request. Pure. */
import type { EgressRequest, FieldLines } from "../exchange.ts";
import {
  CHUNKED,
  formatAuthority,
  NO_BODY,
  type OutgoingFraming,
  writeRequestHead,
} from "../http1/write-head.ts";

/** The framing of the request's body. `Content-Length: 0` and none stay apart: a signature may cover it. */
export function outgoingFraming(request: EgressRequest): OutgoingFraming {
  const { body } = request;
  if (body.length === null) return CHUNKED;
  if (body.length === 0 && !request.hasLength) return NO_BODY;
  return { kind: "length", bytes: body.length };
}

/** The request head, the empty line included, as latin1. `mark` are field lines of the connection's own, or "". */
export function outgoingHead(request: EgressRequest, framing: OutgoingFraming, mark: FieldLines): string {
  const line = {
    method: request.method,
    path: request.path,
    authority: formatAuthority(request.host, request.port, request.scheme),
    upgrade: request.upgrade,
    expectContinue: request.expectContinue,
    teTrailers: request.teTrailers,
  };
  return writeRequestHead(line, mark === "" ? request.fields : request.fields + mark, framing);
}
