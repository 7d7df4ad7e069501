/** A header list that the application sent → what it asks for, or the one error that refuses it. Pure. */
import { type Http2Target, http2TargetOf } from "../capture/http2-target.ts";
import type { ListenerRole } from "../capture/target.ts";
import type { Limits } from "../config/types.ts";
import { EgressError } from "../errors.ts";
import type { FieldLines } from "../exchange.ts";
import { fieldLinesOf } from "../http2/fields.ts";

/** A request's head, understood. */
export interface Http2Head {
  readonly target: Http2Target;
  readonly fields: FieldLines;
  /** Bytes of body; 0 for none; `null` when it ends with its stream and says no length. */
  readonly bodyLength: number | null;
  /** See `EgressRequest.hasLength`. */
  readonly hasLength: boolean;
  readonly expectContinue: boolean;
  readonly teTrailers: boolean;
}

/** A head that is refused, and what of its fields may be trusted to tell who asked. */
export interface Http2Refusal {
  readonly error: EgressError;
  readonly fields: FieldLines;
}

/**
 * Reads the head of a request.
 *
 * @param raw the list as it came: `[name, value, …]`
 * @param ended the stream ended with its head
 */
export function readHttp2Head(
  raw: readonly string[],
  ended: boolean,
  role: ListenerRole,
  limits: Limits,
): Http2Head | Http2Refusal {
  const list = fieldLinesOf(raw, limits);
  if (list.problem !== "") {
    const error = new EgressError(list.tooLarge ? "HEAD_TOO_LARGE" : "BAD_REQUEST", list.problem);
    return { error, fields: "" };
  }
  const refuse = (error: EgressError): Http2Refusal => ({ error, fields: list.fields });
  const target = http2TargetOf(list, role, limits.targetBytesMax);
  if (target instanceof EgressError) return refuse(target);
  const { contentLength, expect } = list;
  if (expect !== "" && expect !== "100-continue") {
    return refuse(new EgressError("EXPECTATION_FAILED", "unknown expectation"));
  }
  if (ended && contentLength > 0) {
    return refuse(new EgressError("BAD_REQUEST", "a content-length, and no content"));
  }
  if (!ended && contentLength < 0 && target.method === "HEAD") {
    // Node ends our side of such a stream at once, so that a reset could not be told from the end of the body.
    return refuse(new EgressError("BAD_REQUEST", "HEAD with content of unknown length"));
  }
  const bodyLength = ended ? 0 : contentLength >= 0 ? contentLength : null;
  return {
    target,
    fields: list.fields,
    bodyLength,
    hasLength: contentLength >= 0,
    // RFC 9110 §10.1.1: meaningless without a body.
    expectContinue: expect !== "" && bodyLength !== 0,
    teTrailers: list.teTrailers,
  };
}
