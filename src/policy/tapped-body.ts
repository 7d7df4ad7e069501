/**
 * A body that somebody looks at while it passes, and may break off. Owns the bytes' way from the live body into the one that is handed
 * on; holds nothing back and keeps nothing.
 */
import { Body, type BodySink } from "../body.ts";
import type { EgressError } from "../errors.ts";
import type { FieldLines } from "../exchange.ts";

/** Who looks. */
export interface BodyTap {
  /** A piece is about to pass; an error breaks the body off in front of it. The bytes must not be changed. */
  piece(bytes: Uint8Array): EgressError | null;
  /** Once: `null` with the trailers after the last byte, else why the body broke off or was not wanted any more. */
  ended(error: EgressError | null, trailers: FieldLines): void;
}

/** `live`, looked at by `tap`. Takes `live` over: nobody else may pipe it. It is not read before the new body is. */
export function tappedBody(live: Body, tap: BodyTap): Body {
  let piped = false;

  const sink: BodySink = {
    write: (bytes) => {
      // What was held in the live body comes in one go, whatever has become of this one.
      if (body.over) return true;
      const broken = tap.piece(bytes);
      if (broken === null) return body.push(bytes);
      live.cancel(broken);
      body.fail(broken);
      tap.ended(broken, "");
      return true;
    },
    end: (trailers) => {
      if (body.over) return;
      tap.ended(null, trailers);
      body.end(trailers);
    },
    abort: (error) => {
      if (body.over) return;
      tap.ended(error, "");
      body.fail(error);
    },
  };
  const body: Body = new Body(live.length, {
    pause: () => {},
    resume: () => {
      if (piped) return live.resume();
      piped = true;
      live.pipe(sink);
    },
    cancel: (error) => {
      tap.ended(error, "");
      live.cancel(error);
    },
  });
  return body;
}
